"""The learning curve of a training, which is the same however often the training was stopped."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.run import write_json
from ..core.task import Metrics

KIND = "nastk learning curve"
_POINTS = 200  # at most
_SECONDS_BETWEEN = 10.0


@dataclass(kw_only=True)
class Curve:
    """Mean losses over stretches of updates, and what was measured on held-out items.

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


def note_held_out(notes: dict[str, Any], step: int, metrics: Metrics) -> None:
    """Remember what was measured on the architecture split behind the update `step`."""
    values = [metrics["architecture_loss_nats"], metrics["architecture_top1_percent"]]
    notes.setdefault("held_out", []).append([step + 1, *values])
