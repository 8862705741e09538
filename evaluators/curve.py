"""The learning curve of a training, which is the same however often the training was stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import read_json
from ..core.run import write_json
from ..training.task import Metrics, Task

KIND = "nastk learning curve"
_POINTS = 200  # at most
_MOST = 1000  # that are believed
_HELD = "held_out_"
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
        held_out: there by name of the metric, the first of the task first, nan where it is not
            finite; in the file `held_out_METRIC`.
    """

    total: int
    steps_an_epoch: int
    steps: tuple[int, ...]
    train_loss_nats: tuple[float, ...]
    held_out_steps: tuple[int, ...]
    held_out: Mapping[str, tuple[float, ...]]

    @property
    def lists(self) -> dict[str, tuple[float, ...]]:
        """All lists by their keys in the file."""
        own = {key: value for key, value in vars(self).items() if isinstance(value, tuple)}
        return own | {_HELD + name: values for name, values in self.held_out.items()}


def read_curve(file: Path) -> Curve:
    """Return the curve in a file, whoever may have written it.

    Raises:
        ValueError: naming the file, if it holds none.
    """
    content = read_json(file)
    values: dict[str, Any] = {}
    for name in ("total", "steps_an_epoch"):
        values[name] = _numbers(file, [content[name]], is_whole=True)[0]
    held = [key for key in content if key.startswith(_HELD) and key != f"{_HELD}steps"]
    for names in (["steps", "train_loss_nats"], [f"{_HELD}steps", *held]):
        for name in names:
            values[name] = _numbers(file, content[name], is_whole=name.endswith("steps"))
        if len({len(values[name]) for name in names}) > 1:
            raise ValueError(f"{file} is damaged: its lists differ in length")
        steps = values[names[0]]
        if list(steps) != sorted(set(steps)) or max(steps, default=1) > values["total"]:
            raise ValueError(f"{file} is damaged: its steps do not count up to its total")
    measured = {name.removeprefix(_HELD): values.pop(name) for name in held}
    return Curve(**values, held_out=measured)


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
        metrics: names of those measured on held-out items, in the order of the task.
    """

    file: Path
    total: int
    steps_an_epoch: int
    metrics: Sequence[str]
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
            f"{_HELD}steps": [row[0] for row in held_out],
            **{
                _HELD + name: [row[n] for row in held_out] for n, name in enumerate(self.metrics, 1)
            },
        }
        write_json(self.file, content)


def check_notes(notes: Mapping[str, Any], num_metrics: int) -> None:
    """Refuse notes of a checkpoint that are none of a training.

    Args:
        notes: as a checkpoint holds them.
        num_metrics: of the task.

    Raises:
        ValueError: naming the first that is none.
    """
    for name, length in {"curve": 2, "held_out": 1 + num_metrics}.items():
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


def note_held_out(notes: dict[str, Any], step: int, task: Task, metrics: Metrics) -> None:
    """Remember what was measured on the architecture split behind the update `step`."""
    values = [metrics[f"architecture_{metric.name}"] for metric in task.metrics]
    notes.setdefault("held_out", []).append([step + 1, *values])
