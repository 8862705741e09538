"""Candidate kernels are summed into one kernel before they touch the feature."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .constants import remembered
from .definition import fold_kernels_definition
from .kernels.mixture import fold, fold_backward

# O output channels, I input channels of a group, K kernel size, N candidates

_MASKS: dict[Hashable, Tensor] = {}


def fold_kernels(
    kernels: Sequence[Tensor], probs: Tensor, columns_I: Tensor | None = None
) -> Tensor:
    r"""Sum candidate kernels into the single kernel that touches the feature.

    Convolution is linear in its kernel, so mixing kernels equals mixing features:

        sum_n p_n (W_n * x) = (sum_n p_n pad(W_n)) * x

    The right side makes one feature instead of N. This is the meta kernel of arXiv:1912.04749,
    here with optional weights for each output channel (groups of channels that decide for
    themselves) and for each input channel (absent channels of the feature that comes in).
    No padded kernel is kept for the backward pass.

    Args:
        kernels: N tensors [O, I, K_n, K_n], every K_n odd. Smaller ones are centred.
        probs: [N], or [O, N], mixture weights. They need not sum to one.
        columns_I: [I] factor on every input channel, or None for ones.

    Returns:
        [O, I, K, K] with K the largest K_n.

    Raises:
        ValueError: if a K_n is even, because it has no centre.

    Example:
        >>> small, large = torch.ones(8, 1, 3, 3), torch.ones(8, 1, 5, 5)
        >>> fold_kernels([small, large], torch.tensor([0.25, 0.75]))[0, 0, 2]
        tensor([0.7500, 1.0000, 1.0000, 1.0000, 0.7500])
    """
    sizes = [kernel.shape[-1] for kernel in kernels]
    if even := [size for size in sizes if size % 2 == 0]:
        raise ValueError(f"kernel sizes must be odd to share a centre, got {even} among {sizes}")
    if torch.compiler.is_compiling():  # the compiler fuses what it can see
        return fold_kernels_definition(kernels, probs, columns_I)
    if not torch.is_grad_enabled():
        return fold(kernels, probs, columns_I)
    folded: Tensor = _Fold.apply(probs, columns_I, *kernels)  # type: ignore[no-untyped-call]
    return folded


def fold_nested(kernel: Tensor, sizes: Sequence[int], probs: Tensor) -> Tensor:
    """Sum the centre crops of one kernel, whose sizes are the candidates (Single-Path NAS).

    Args:
        kernel: [O, I, K, K], the largest candidate, which contains the others.
        sizes: the N candidate sizes, odd.
        probs: [N], or [O, N], mixture weights.

    Returns:
        [O, I, K, K], every ring of taps scaled by the weight of the candidates that reach it.
    """
    largest = kernel.shape[-1]
    key = ("rings", *sizes, largest, probs.dtype, probs.device)
    masks = remembered(key, lambda: ring_masks(sizes, largest).to(probs), _MASKS)
    rings = probs @ masks.flatten(1)
    return kernel * rings.reshape(-1, 1, kernel.shape[-1], kernel.shape[-1])


def ring_masks(sizes: Sequence[int], largest: int) -> Tensor:
    """Return [N, K, K]: one where a centred kernel of each size has its taps, else zero."""
    offsets = (torch.arange(largest) - largest // 2).abs()
    reach = torch.maximum(offsets[:, None], offsets[None, :])
    return torch.stack([(reach <= size // 2).float() for size in sizes])


class _Fold(torch.autograd.Function):
    """The fold with its hand-written backward: K crops and K inner products, kernel-sized."""

    @staticmethod
    def forward(ctx: Any, probs: Tensor, columns: Tensor | None, *kernels: Tensor) -> Tensor:
        ctx.save_for_backward(probs, columns, *kernels)
        return fold(kernels, probs, columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        probs, columns, *kernels = ctx.saved_tensors
        return fold_backward(kernels, probs, columns, grad, ctx.needs_input_grad)
