"""A task is data, loss and metrics; strategies and evaluators see it through this interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from .preprocessing import Preprocessing

Metrics = dict[str, float]
"""A flat dict of floats; every name ends in its unit or is a count."""

SPLITS = ("weights", "architecture", "train", "test")


class Task(ABC):
    """Data with three disjoint splits, loss and metrics.

    `weights` and `architecture` are cut by source item from `train`, which is both; `test` is
    read by the final evaluation only. Batches are pure functions of (seed, step).
    """

    kind: ClassVar[str] = "classification"

    num_classes: int
    classes: Sequence[str] | None = None
    """Names of the classes in the order of their labels, None where the data have no names."""
    preprocessing: Preprocessing | None = None
    """How pixels become the network's input; None where they come ready, as nobody can say.

    That of trained weights may be set, which the data are then to test.
    """
    is_demonstration: bool = False
    skipped: frozenset[str] = frozenset()
    """Names of the items that could not be read so far."""

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of their labels: their numbers where none are given."""
        return [str(name) for name in self.classes or range(self.num_classes)]

    @property
    def num_skipped(self) -> int:
        """Number of different items that could not be read so far."""
        return len(self.skipped)

    @abstractmethod
    def size(self, split: str) -> int:
        """Return the number of items of a split."""

    @abstractmethod
    def batch(
        self, split: str, *, seed: int, step: int, batch_size: int, rand_augment: float = 0
    ) -> tuple[Tensor, Tensor]:
        """Return the augmented training batch of a step: [B, 3, R, R] and [B] labels.

        Args:
            split: a name in `SPLITS`.
            seed: of the order of items and of their augmentation.
            step: number of the batch.
            batch_size: number of items, fewer where the split is smaller.
            rand_augment: strength of RandAugment on top of the task's own augmentation, up to 10;
                0 leaves it out.

        Raises:
            ValueError: if no item of the whole split can be read.
        """

    @abstractmethod
    def ordered(self, split: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return items `start` to `stop` of a split as they are, for evaluation.

        Items that cannot be read are left out, so there may be fewer, or none.

        Raises:
            ValueError: if no item of the whole split can be read.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what was read and what was left out; it goes into the record of a run.

        `name`, `origin`, `licence`, `resolution`, `num_classes`, `split_sizes` (split to number of
        items), `train_sha256`; `is_grey`: whether the images are grey, None if that is unknown;
        `left_out`: reason to number of what lay with the data and is not used, for example
        `{".txt": 2}`; `num_test_in_train`: images of the test part that train too, None or missing
        where nobody has counted; `num_test_looked_at`: of how many, all if missing; `classes` where
        they have names.
        """
