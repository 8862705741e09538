"""A task whose labels count another list of the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...training.batch import Draw
from .classification import Classification


class Relabelled(Classification):
    """Names the classes of a task as trained weights number them.

    Args:
        task: the data.
        classes: names in the wanted order, those of the task among them.
    """

    def __init__(self, task: Classification, classes: Sequence[str]) -> None:
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

    def images(self, split: str, items: Sequence[int], draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Return images of the task, their labels renumbered."""
        x, labels = self.task.images(split, items, draw)
        return x, self._labels[labels]

    def describe(self) -> dict[str, Any]:
        """Return what the task says, with the classes in the order of these labels."""
        return self.task.describe() | {"num_classes": self.num_classes, "classes": self.classes}
