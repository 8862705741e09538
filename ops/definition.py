"""The slow and plain version of every folded operator, against which the fast ones are tested."""

from collections.abc import Callable, Sequence

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


def norm_act_definition(z_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor, act: str) -> Tensor:
    """Return act(scale * z + shift), channel by channel.

    Args:
        z_BCHW: [B, C, H, W].
        scale_C: [C].
        shift_C: [C].
        act: a name among `ACTIVATIONS`.
    """
    pre = z_BCHW * scale_C.reshape(1, -1, 1, 1) + shift_C.reshape(1, -1, 1, 1)
    return ACTIVATIONS[act](pre)


def depthwise_conv2d_definition(
    x_BCHW: Tensor,
    weight: Tensor,
    stride: int = 1,
    scale_C: Tensor | None = None,
    shift_C: Tensor | None = None,
    act: str = "identity",
) -> Tensor:
    """Return the "same" padded depthwise convolution of act(scale * x + shift).

    Args:
        x_BCHW: [B, C, H, W].
        weight: [C, 1, K, K], K odd.
        stride: of the output.
        scale_C: [C], or None for x as it is.
        shift_C: [C], given with `scale_C`.
        act: a name among `ACTIVATIONS`.
    """
    if scale_C is not None and shift_C is not None:
        x_BCHW = norm_act_definition(x_BCHW, scale_C, shift_C, act)
    return F.conv2d(x_BCHW, weight, None, stride, weight.shape[-1] // 2, 1, weight.shape[0])


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
}

ACTIVATION_GRADS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.ones_like,
    "relu": lambda x: (x > 0).to(x),
    "relu6": lambda x: ((x > 0) & (x < 6)).to(x),
    "silu": lambda x: x.sigmoid() * (1 + x * (1 - x.sigmoid())),
}
