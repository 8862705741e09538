"""What a network is called with, and where a batch to train on gets its random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..core import streams

# B batch


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Where a training batch gets its random numbers, and how strongly it is augmented.

    Attributes:
        seed: of the training.
        epoch: passes over the split before this one.
        position: number of the batch in the epoch.
        step: number of the batch in the training.
        amounts: of a recipe, see `nastk.training.recipe.Recipe.amounts`; a task reads those that
            it knows, and one that is missing is 0.
    """

    seed: int
    epoch: int
    position: int
    step: int
    amounts: Mapping[str, float] = field(default_factory=dict)

    def of_batch(self, stream: int) -> np.random.Generator:
        """Return the generator of one purpose of this batch.

        Args:
            stream: number of the purpose, each of a task another one below 100; those above are
                in `nastk.core.streams`.
        """
        return streams.of_batch(stream, self.seed, self.epoch, self.position)

    def of_item(self, item: int, stream: int) -> np.random.Generator:
        """Return the generator of one purpose of one item in this epoch, whatever its batch.

        Args:
            item: its number in the split.
            stream: as for `of_batch`.
        """
        return streams.of_item(stream, self.seed, self.epoch, item)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a network is called with, and what objective and meter read beside.

    Attributes:
        inputs: positional arguments of the network, each [B, ...].
        targets: tensors [B, ...] by name: labels, masks, heat maps...
    """

    inputs: tuple[Tensor, ...]
    targets: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors in a fixed order: what a recorded step copies into its buffers."""
        return (*self.inputs, *(self.targets[name] for name in sorted(self.targets)))

    def like(self, tensors: Sequence[Tensor]) -> Batch:
        """Return a batch of the same names with other tensors, in the order of `tensors`.

        Raises:
            ValueError: if there are more or fewer.
        """
        n = len(self.inputs)
        targets = dict(zip(sorted(self.targets), tensors[n:], strict=True))
        return Batch(inputs=tuple(tensors[:n]), targets=targets)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; features of four dimensions with their channels last."""

        def moved(x: Tensor) -> Tensor:
            is_feature = x.dim() == 4 and x.is_floating_point()
            x = x.contiguous(memory_format=torch.channels_last) if is_feature else x
            return x.to(device)

        return self.like([moved(x) for x in self.tensors])
