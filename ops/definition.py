"""The slow and plain version of every folded operator, against which the fast ones are tested."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# B batch, C channels, H height, W width, O output channels, I input channels, N candidates


def fold_kernels_definition(
    kernels: Sequence[Tensor], probs: Tensor, columns_I: Tensor | None = None
) -> Tensor:
    """Sum padded candidate kernels by plain autograd.

    Args:
        kernels: N tensors [O, I, K_n, K_n], every K_n odd.
        probs: [N] or [O, N] mixture weights.
        columns_I: [I] factor on every input column, or None.

    Returns:
        [O, I, K, K] with K the largest K_n.
    """
    largest = max(kernel.shape[-1] for kernel in kernels)
    total = torch.zeros(())
    for n, kernel in enumerate(kernels):
        margin = (largest - kernel.shape[-1]) // 2
        weight = probs[n] if probs.dim() == 1 else probs[:, n].reshape(-1, 1, 1, 1)
        total = total + weight * F.pad(kernel, [margin] * 4)
    return total if columns_I is None else total * columns_I.reshape(1, -1, 1, 1)


def mixed_conv2d_features(
    x_BCHW: Tensor,
    kernels: Sequence[Tensor],
    probs: Tensor,
    *,
    columns_I: Tensor | None = None,
    bias: Tensor | None = None,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Run every candidate kernel on the feature and sum the weighted features.

    This is what DARTS does at an edge; it stores the feature of each candidate.

    Args:
        x_BCHW: [B, C, H, W] input.
        kernels: N tensors [O, C / groups, K_n, K_n], every K_n odd.
        probs: [N] or [O, N] mixture weights.
        columns_I: [C] factor on every input channel, or None.
        bias: [O] added once.
        stride: of every candidate.
        dilation: of every candidate.
        groups: of every candidate.

    Returns:
        [B, O, H', W'].
    """
    if columns_I is not None:
        x_BCHW = x_BCHW * columns_I.reshape(1, -1, 1, 1)
    total = None
    for n, kernel in enumerate(kernels):
        padding = dilation * (kernel.shape[-1] - 1) // 2
        y = F.conv2d(x_BCHW, kernel, None, stride, padding, dilation, groups)
        weight = probs[n] if probs.dim() == 1 else probs[:, n].reshape(1, -1, 1, 1)
        total = weight * y if total is None else total + weight * y
    assert total is not None
    return total if bias is None else total + bias.reshape(1, -1, 1, 1)
