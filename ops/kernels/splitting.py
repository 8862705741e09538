"""The gradient of a sum of candidate kernels, split into those of the candidates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import folding

# O output channels, I input channels of a group, K kernel size, N candidates


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
