"""Blocks shared by the spaces: sandglass (arXiv:2007.02269) and inverted residual."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from ..core.choice import Choice
from ..ops import Chain, Step, batch_norm, conv2d, depthwise_conv2d, grouped, residual
from ..ops.meta_convolution import Kernel
from ..ops.width import AnyWidth


def round_channels(value: float, divisor: int) -> int:
    """Round to a multiple of `divisor`, never more than 10 % down (MobileNet family)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def scaled_channels(channels: int, scale: float) -> int:
    """Return the channels of a proxy: times `scale`, rounded up to an even number."""
    return channels if scale == 1 else max(2, 2 * math.ceil(channels * scale / 2 - 1e-9))


def bottleneck_width(in_channels: int, out_channels: int, reduction: int) -> int:
    """Return the width of a sandglass bottleneck (released code of arXiv:2007.02269).

    floor(M / t), and never below a sixth of the output channels (rounded to 16).
    """
    hidden = in_channels // reduction
    if hidden < out_channels / 6:
        hidden = round_channels(math.ceil(out_channels / 6), 16)
    return hidden


def sandglass(
    in_channels: AnyWidth,
    out_channels: AnyWidth,
    hidden: AnyWidth,
    *,
    stride: int = 1,
    first_kernel: Kernel | None = 3,
    last_kernel: Kernel | None = 3,
    act: Callable[[], nn.Module] = nn.ReLU6,
) -> Chain:
    """Return the body of a sandglass block: depthwise, reduce, expand, depthwise.

    Either depthwise convolution may be missing (None), as in the released MobileNeXt where the
    channels change. The stride sits in the last one; the reduced feature is linear.
    """
    steps = []
    if first_kernel is not None:
        conv = depthwise_conv2d(in_channels, first_kernel)
        steps.append(Step(conv, batch_norm(in_channels), act()))
    steps.append(Step(conv2d(in_channels, hidden, 1), batch_norm(hidden)))
    steps.append(Step(conv2d(hidden, out_channels, 1), batch_norm(out_channels), act()))
    if last_kernel is not None:
        conv = depthwise_conv2d(out_channels, last_kernel, stride=stride)
        steps.append(Step(conv, batch_norm(out_channels)))
    return Chain(steps)


def inverted_residual(
    in_channels: int,
    out_channels: int,
    group: int,
    kernels: tuple[int | Choice, ...],
    *,
    stride: int = 1,
    expand: bool = True,
    act: Callable[[], nn.Module] = nn.ReLU6,
) -> nn.Module:
    """Return an MBConv block whose hidden channels are groups with a kernel size each.

    Args:
        in_channels: of the block.
        out_channels: of the block; the shortcut exists where they equal the input's at stride 1.
        group: hidden channels of one group.
        kernels: kernel size of each group, 0 where the group is absent.
        stride: of the depthwise convolution.
        expand: whether a pointwise convolution makes the hidden feature.
        act: activation behind the first two convolutions.
    """
    hidden = grouped(group, kernels)
    steps = []
    if expand:
        steps.append(Step(conv2d(in_channels, hidden, 1), batch_norm(hidden), act()))
    depthwise = depthwise_conv2d(hidden, kernels, stride=stride)
    steps.append(Step(depthwise, batch_norm(hidden), act()))
    steps.append(Step(conv2d(hidden, out_channels, 1), batch_norm(out_channels)))
    chain = Chain(steps)
    if stride == 1 and in_channels == out_channels:
        return residual(chain, in_channels)
    return chain


class Head(nn.Module):
    """Global average pool, dropout and a linear layer."""

    def __init__(self, classifier: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, classes] from a feature [B, C, H, W]."""
        logits: Tensor = self.classifier(self.dropout(self.pool(x).flatten(1)))
        return logits
