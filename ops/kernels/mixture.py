"""The sum of candidate kernels and its gradients, compiled where that can be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .cpu import folding

# O output channels, I input channels of a group, K kernel size, N candidates


def fold(kernels: Sequence[Tensor], probs: Tensor, columns_I: Tensor | None) -> Tensor:
    """Return the sum [O, I, K, K] of kernels [O, I, K_n, K_n] under a mixture [N] or [O, N].

    Args:
        kernels: N of them, centred in the largest.
        probs: their weights.
        columns_I: factor on every input channel, or None for ones.
    """
    if folding.supports(kernels, probs, columns_I):
        return folding.fold(kernels, probs, columns_I)
    largest = max(kernels, key=lambda kernel: kernel.shape[-1])
    folded = torch.zeros_like(largest, memory_format=torch.contiguous_format)
    for n, kernel in enumerate(kernels):
        centre(folded, kernel.shape[-1]).addcmul_(kernel, _weight(probs, n).to(kernel))
    return folded if columns_I is None else folded.mul_(columns_I.reshape(1, -1, 1, 1))


def fold_backward(
    kernels: Sequence[Tensor],
    probs: Tensor,
    columns_I: Tensor | None,
    grad: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a mixture, of the factors and of every kernel, where needed.

    The arguments are those of `fold`, and `grad` [O, I, K, K] of what it returned.
    """
    if columns_I is None:
        d_probs, *shares = split_mixture(grad, kernels, probs, (needs[0], *needs[2:]))
        return d_probs, None, *shares
    if folding.supports(kernels, probs, columns_I):
        return folding.fold_backward(kernels, probs, columns_I, grad, needs)
    d_columns = None
    if needs[1]:
        d_columns = torch.einsum("oihw,oihw->i", grad, fold(kernels, probs, None))
    masked = grad * columns_I.reshape(1, -1, 1, 1)
    d_probs, *shares = split_mixture(masked, kernels, probs, (needs[0], *needs[2:]))
    return d_probs, d_columns, *shares


def _weight(probs: Tensor, n: int) -> Tensor:
    return probs[n] if probs.dim() == 1 else probs[:, n].reshape(-1, 1, 1, 1)


def split_mixture(
    grad: Tensor, kernels: Sequence[Tensor], probs: Tensor, needs: Sequence[bool] | None = None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a mixture and of its kernels, where needed.

    Args:
        grad: [O, I, K, K] gradient of the sum.
        kernels: N tensors [O, I, K_n, K_n], centred in the largest.
        probs: [N] or [O, N].
        needs: for probs and every kernel whether its gradient is wanted; all by default.
    """
    needs = (True,) * (len(kernels) + 1) if needs is None else needs
    if folding.supports(kernels, probs, None) and grad.dtype == torch.float32:
        d_probs, _, *shares = folding.fold_backward(
            kernels, probs, None, grad, (needs[0], False, *needs[1:])
        )
        return d_probs, *shares
    crops = [centre(grad, kernel.shape[-1]) for kernel in kernels]
    rows = probs.to(grad).expand(grad.shape[0], -1).unbind(1)
    triples = zip(crops, rows, kernels, strict=True)
    parts = [
        (crop * row.reshape(-1, 1, 1, 1)).to(kernel) if need else None
        for (crop, row, kernel), need in zip(triples, needs[1:], strict=True)
    ]
    if not needs[0]:
        return None, *parts
    pairs = zip(crops, kernels, strict=True)
    product_ON = torch.stack([(crop * kernel.to(crop)).sum((1, 2, 3)) for crop, kernel in pairs], 1)
    return (product_ON.sum(0) if probs.dim() == 1 else product_ON).to(probs), *parts


def centre(kernel: Tensor, size: int) -> Tensor:
    """Return the middle [..., size, size] of a kernel."""
    margin = (kernel.shape[-1] - size) // 2
    return kernel[..., margin : margin + size, margin : margin + size]
