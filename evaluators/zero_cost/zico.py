"""A proxy that compares gradients between batches: large and steady ones train fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ...training.batch import Batch
from ...training.task import Objective
from .score import ZeroCost, loss_gradients

# N batches, W weights of a layer


def zico(network: nn.Module, batches: Sequence[Batch], objective: Objective) -> float:
    r"""Return the inverse coefficient of variation of the gradients, in logarithms over layers.

        sum_l log( sum_{w in l} E|g_w| / sqrt(Var|g_w|) )

    g_w is the gradient of the mean loss of one batch, E and Var are over batches, l runs
    over convolutions and linear layers (arXiv:2301.11300, section 3, the definition of ZiCo). Var
    is the variance of the population. As in the released code, weights whose gradient does not
    vary are left out, and so is a layer of such weights.

    Args:
        network: untrained; in training mode its BatchNorms use the statistics of each batch.
        batches: at least two.
        objective: the loss of a batch.
    """
    per_batch = [loss_gradients(network, batch, objective) for batch in batches]
    total = 0.0
    for gradients in zip(*per_batch, strict=True):
        sizes_NW = torch.stack([gradient.flatten() for gradient in gradients]).abs().double()
        mean_W, deviation_W = sizes_NW.mean(0), sizes_NW.std(0, unbiased=False)
        varies = deviation_W > 0
        if bool(varies.any()):
            total += float((mean_W[varies] / deviation_W[varies]).sum().log())
    return total


@dataclass(frozen=True, kw_only=True)
class ZiCo(ZeroCost):
    """The steadiness of gradients between batches, see `zico`."""

    name: ClassVar[str] = "zico"
    objective: ClassVar[str] = "zico_score"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_batches < 2:
            raise ValueError("zico compares batches and needs at least 2, got 1")

    def score(self, network: nn.Module, batches: Sequence[Batch], objective: Objective) -> float:
        """Return the score of all batches together."""
        return zico(network, batches, objective)
