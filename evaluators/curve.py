"""The learning curve of a training, which is the same however often the training was stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import read_json
from ..core.run import write_json
from ..core.task import Metrics

KIND = "nastk learning curve"
_POINTS = 200  # at most
_MOST = 1000  # that are believed
_LISTS = (
    "steps",
    "train_loss_nats",
    "held_out_steps",
    "held_out_loss_nats",
    "held_out_top1_percent",
)
_SECONDS_BETWEEN = 10.0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean losses over stretches of updates, and what was measured on held-out items.

    Attributes:
        total: updates of the training, done or to come.
        steps_an_epoch: updates that see each item once.
        steps: updates that were done at each point.
        train_loss_nats: mean loss of the updates since the point before; nan where it is lost.
        held_out_steps: updates that were done at each measurement on held-out items.
        held_out_loss_nats: there, nan where it is not finite.
        held_out_top1_percent: there.
    """

    total: int
    steps_an_epoch: int
    steps: tuple[int, ...]
    train_loss_nats: tuple[float, ...]
    held_out_steps: tuple[int, ...]
    held_out_loss_nats: tuple[float, ...]
    held_out_top1_percent: tuple[float, ...]


def read_curve(file: Path) -> Curve:
    """Return the curve in a file, whoever may have written it.

    Raises:
        ValueError: naming the file, if it holds none.
    """
    content = read_json(file)
    values: dict[str, Any] = {}
    for name in ("total", "steps_an_epoch"):
        values[name] = _numbers(file, [content[name]], is_whole=True)[0]
    for prefix in ("", "held_out_"):
        names = [name for name in _LISTS if name.startswith("held") == bool(prefix)]
        for name in names:
            values[name] = _numbers(file, content[name], is_whole=name.endswith("steps"))
        if len({len(values[name]) for name in names}) > 1:
            raise ValueError(f"{file} is damaged: its lists differ in length")
        steps = values[names[0]]
        if list(steps) != sorted(set(steps)) or max(steps, default=1) > values["total"]:
            raise ValueError(f"{file} is damaged: its steps do not count up to its total")
    return Curve(**values)


def _numbers(file: Path, values: Any, *, is_whole: bool) -> tuple[Any, ...]:
    kind = int if is_whole else int | float | None
    is_list = isinstance(values, list) and len(values) <= _MOST
    if not is_list or not all(
        isinstance(v, kind) and not isinstance(v, bool) and (not is_whole or 0 < v < 2**53)
        for v in values
    ):
        raise ValueError(f"{file} is damaged: it is no {KIND}")
    return tuple(values) if is_whole else tuple(math.nan if v is None else float(v) for v in values)


@dataclass(kw_only=True)
class CurveWriter:
    """Takes in the losses of a training and writes its curve.

    What has been seen stands in the notes of the training's loop, and thus in its checkpoints.

    Attributes:
        file: where the curve is written, at most every ten seconds.
        total: updates of the training.
        steps_an_epoch: updates that see each item once.
    """

    file: Path
    total: int
    steps_an_epoch: int
    _written: float = field(default_factory=time.monotonic)

    def add(self, notes: dict[str, Any], step: int, loss: float) -> None:
        """Take in the loss of the update `step`, which counts from 0."""
        stretch = notes.setdefault("stretch", [0.0, 0])
        stretch[0] += loss
        stretch[1] += 1
        if (step + 1) % math.ceil(self.total / _POINTS) == 0 or step + 1 == self.total:
            notes.setdefault("curve", []).append([step + 1, stretch[0] / stretch[1]])
            stretch[:] = [0.0, 0]
            if time.monotonic() - self._written >= _SECONDS_BETWEEN:
                self.write(notes)

    def write(self, notes: dict[str, Any]) -> None:
        """Write the curve so far; a training that began before there were curves has none."""
        self._written = time.monotonic()
        points, held_out = notes.get("curve", []), notes.get("held_out", [])
        if not points:
            return
        content = {
            "kind": KIND,
            "total": self.total,
            "steps_an_epoch": self.steps_an_epoch,
            "steps": [step for step, _ in points],
            "train_loss_nats": [loss for _, loss in points],
            "held_out_steps": [step for step, _, _ in held_out],
            "held_out_loss_nats": [loss for _, loss, _ in held_out],
            "held_out_top1_percent": [percent for _, _, percent in held_out],
        }
        write_json(self.file, content)


def check_notes(notes: Mapping[str, Any]) -> None:
    """Refuse notes of a checkpoint that are none of a training.

    Raises:
        ValueError: naming the first that is none.
    """
    for name, length in {"curve": 2, "held_out": 3}.items():
        rows = notes.get(name, [])
        if not isinstance(rows, list) or not all(_is_row(row, length) for row in rows):
            raise ValueError(f"the notes of its {name} are no rows of {length} numbers")
    if not _is_row(notes.get("stretch", [0.0, 0]), 2):
        raise ValueError("the notes of its stretch are no two numbers")
    for name in ("running_loss", "best_loss"):
        if isinstance(notes.get(name, 0.0), list | tuple):
            raise ValueError(f"the note of its {name} is no number")


def _is_row(row: Any, length: int) -> bool:
    is_row = isinstance(row, list | tuple) and len(row) == length
    return is_row and not any(isinstance(value, list | tuple) for value in row)


def note_held_out(notes: dict[str, Any], step: int, metrics: Metrics) -> None:
    """Remember what was measured on the architecture split behind the update `step`."""
    values = [metrics["architecture_loss_nats"], metrics["architecture_top1_percent"]]
    notes.setdefault("held_out", []).append([step + 1, *values])
