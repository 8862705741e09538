"""Factors on channels that follow from mixtures, each one node of the graph that autograd keeps.

Sums and products of such short vectors cost nothing, but every node of a graph does: a supernet
of twenty blocks would spend a tenth of its step on some hundred of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.precision import without_autocast

# C channels, N candidates, M candidates of another choice


def blend(base_C: Tensor, mixtures: Sequence[Tensor], tables: Sequence[Tensor]) -> Tensor:
    """Return base + sum of probs @ table, [C].

    Args:
        base_C: [C], a constant.
        mixtures: probs [N] of each choice.
        tables: [N, C] for each choice, constants.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> blend(torch.zeros(2), [torch.tensor([0.25, 0.75])], [rows])
        tensor([1.0000, 0.7500])
    """
    if torch.compiler.is_compiling():
        return _blended(base_C, mixtures, tables)
    y: Tensor = _Blend.apply(base_C, tuple(tables), *mixtures)  # type: ignore[no-untyped-call]
    return y


def keep_and_share(
    probs_N: Tensor, keeps_N: Tensor, shares_M: Tensor, masks_MC: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how much of a branch and of each channel of its shortcut passes.

    With keep = probs . keeps and mask = shares @ masks they are keep [] and
    keep * mask + 1 - keep [C]: a block that is skipped has its whole shortcut.

    Args:
        probs_N: [N] mixture of what decides about the block.
        keeps_N: [N] 1 where it runs, 0 where it is skipped.
        shares_M: [M] mixture of what decides about the shortcut.
        masks_MC: [M, C] 1 for the channels that each candidate gives the shortcut.
    """
    if torch.compiler.is_compiling():
        return _kept_and_shared(probs_N, keeps_N, shares_M, masks_MC)
    y: tuple[Tensor, Tensor] = _KeepAndShare.apply(  # type: ignore[no-untyped-call]
        probs_N, shares_M, keeps_N, masks_MC
    )
    return y


def _blended(base: Tensor, mixtures: Sequence[Tensor], tables: Sequence[Tensor]) -> Tensor:
    with without_autocast(base.device.type):
        for probs, table in zip(mixtures, tables, strict=True):
            base = torch.addmv(base, table.t(), probs)
    return base


def _kept_and_shared(
    probs: Tensor, keeps: Tensor, shares: Tensor, masks: Tensor
) -> tuple[Tensor, Tensor]:
    with without_autocast(masks.device.type):
        keep = torch.dot(probs, keeps)
        return keep, torch.lerp(torch.ones_like(masks[0]), shares @ masks, keep)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, tables: tuple[Tensor, ...], *mixtures: Tensor) -> Tensor:
        ctx.tables = tables
        return _blended(base, mixtures, tables)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[2:]
        pairs = zip(ctx.tables, needs, strict=True)
        with without_autocast(grad.device.type):
            return None, None, *(table @ grad if need else None for table, need in pairs)


class _KeepAndShare(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, probs: Tensor, shares: Tensor, keeps: Tensor, masks: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(probs, shares, keeps, masks)
        return _kept_and_shared(probs, keeps, shares, masks)

    @staticmethod
    def backward(
        ctx: Any, d_keep: Tensor, d_share: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        probs, shares, keeps, masks = ctx.saved_tensors
        with without_autocast(masks.device.type):
            d_keep = d_keep + torch.dot(d_share, shares @ masks - 1)
            d_shares = (masks @ d_share) * torch.dot(probs, keeps)
        return d_keep * keeps, d_shares if ctx.needs_input_grad[1] else None, None, None
