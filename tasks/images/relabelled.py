"""A task whose labels count another list of the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...core.task import Task


class Relabelled(Task):
    """Names the classes of a task as trained weights number them.

    Args:
        task: the data.
        classes: names in the wanted order, those of the task among them.
    """

    def __init__(self, task: Task, classes: Sequence[str]) -> None:
        self.task, self.classes, self.num_classes = task, list(classes), len(classes)
        self.preprocessing, self.is_demonstration = task.preprocessing, task.is_demonstration
        self._labels = torch.tensor([self.classes.index(name) for name in task.class_names])

    @property
    def skipped(self) -> frozenset[str]:  # type: ignore[override]
        """Names of the items that could not be read so far."""
        return self.task.skipped

    def size(self, split: str) -> int:
        """Return the number of items of a split."""
        return self.task.size(split)

    def batch(
        self, split: str, *, seed: int, step: int, batch_size: int, rand_augment: float = 0
    ) -> tuple[Tensor, Tensor]:
        """Return the batch of the task, its labels renumbered."""
        x, labels = self.task.batch(
            split, seed=seed, step=step, batch_size=batch_size, rand_augment=rand_augment
        )
        return x, self._labels[labels]

    def ordered(self, split: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return items of the task, their labels renumbered."""
        x, labels = self.task.ordered(split, start, stop)
        return x, self._labels[labels]

    def describe(self) -> dict[str, Any]:
        """Return what the task says, with the classes in the order of these labels."""
        return self.task.describe() | {"num_classes": self.num_classes, "classes": self.classes}
