"""Weights averaged over the updates of a training, which are tested instead of the last ones."""

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move averaged weights, and statistics alike, towards those that an update has left.

    The decay rises to its value from 0.1 at the first update, so that no average keeps what the
    weights were before they learned.

    Args:
        average: a copy of the network.
        network: behind the update.
        decay: share of the average that stays.
        step: number of the update, from 0 on.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    for mean, value in pairs:
        if mean.is_floating_point():
            mean.lerp_(value, share)
        else:
            mean.copy_(value)
