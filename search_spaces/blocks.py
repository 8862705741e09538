"""Blocks shared by the spaces: sandglass (arXiv:2007.02269) and inverted residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..core.choice import Choice
from ..ops import (
    Chain,
    ConvNormAct,
    batch_norm,
    conv2d,
    depthwise_conv2d,
    either,
    grouped,
    residual,
)
from ..ops.meta_convolution import Kernel
from ..ops.width import AnyWidth

MOST_FACTOR = 1_000
"""On channel counts."""


def check_factors(owner: str, **factors: float) -> None:
    """Refuse factors on channel counts that leave no network.

    Raises:
        ValueError: if one is not above 0, or more than anybody can build.
    """
    for name, factor in factors.items():
        if not 0 < factor <= MOST_FACTOR:
            raise ValueError(
                f"{owner} takes a {name} above 0 and at most {MOST_FACTOR:,}, got {factor}"
            )


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
    groups: int = 1,
    norm: Callable[[AnyWidth], nn.Module] = batch_norm,
) -> Chain:
    """Return the body of a sandglass block: depthwise, reduce, expand, depthwise.

    Either depthwise convolution may be missing (None), as in the released MobileNeXt where the
    channels change. The stride sits in the last one; the reduced feature is linear. The pointwise
    convolutions mix channels within `groups`.
    """
    steps = []
    if first_kernel is not None:
        conv = depthwise_conv2d(in_channels, first_kernel)
        steps.append(ConvNormAct(conv, norm(in_channels), act()))
    steps.append(ConvNormAct(conv2d(in_channels, hidden, 1, groups=groups), norm(hidden)))
    steps.append(
        ConvNormAct(conv2d(hidden, out_channels, 1, groups=groups), norm(out_channels), act())
    )
    if last_kernel is not None:
        conv = depthwise_conv2d(out_channels, last_kernel, stride=stride)
        steps.append(ConvNormAct(conv, norm(out_channels)))
    return Chain(steps)


ACTS: Mapping[str, Callable[[], nn.Module]] = {
    "hard_swish": nn.Hardswish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "swish": nn.SiLU,
}


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate that sees the mean of all channels (arXiv:1709.01507)."""

    def __init__(
        self,
        channels: AnyWidth,
        squeezed: int,
        act: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.reduce = conv2d(channels, squeezed, 1, bias=True)
        self.act = act()
        self.expand = conv2d(squeezed, channels, 1, bias=True)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled feature [B, C, H, W]."""
        mean = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.expand(self.act(self.reduce(mean))))


def inverted_residual(
    in_channels: int,
    hidden: AnyWidth,
    out_channels: int,
    depthwise: nn.Module,
    *,
    has_shortcut: bool,
    expand: bool = True,
    act: Callable[[], nn.Module] = nn.ReLU6,
    squeeze: nn.Module | None = None,
    eps: float = 1e-5,
) -> nn.Module:
    """Return an inverted residual block (arXiv:1801.04381), also known as MBConv.

    Args:
        in_channels: of the block.
        hidden: channels of the wide feature, an int or a width that choices decide.
        out_channels: of the block.
        depthwise: convolution of the wide feature, which carries the stride.
        has_shortcut: whether the input is added; needs equal channels and stride 1.
        expand: whether a pointwise convolution makes the wide feature.
        act: activation behind the first two convolutions.
        squeeze: squeeze-excitation of the wide feature, behind the depthwise convolution.
        eps: of the normalisations.
    """
    steps: list[nn.Module] = []
    if expand:
        steps.append(
            ConvNormAct(conv2d(in_channels, hidden, 1), batch_norm(hidden, eps=eps), act())
        )
    steps.append(ConvNormAct(depthwise, batch_norm(hidden, eps=eps), act()))
    if squeeze is not None:
        steps.append(squeeze)
    steps.append(ConvNormAct(conv2d(hidden, out_channels, 1), batch_norm(out_channels, eps=eps)))
    chain = Chain(steps)
    return residual(chain, in_channels) if has_shortcut else chain


def optional_bottleneck(
    operation: Choice | str,
    kernels: Mapping[str, tuple[int, ...]],
    group: int,
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    act: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Module:
    """Return an inverted bottleneck or an identity, whichever an operation means.

    Where the shape changes the identity is a 1x1 convolution with a norm. The bottlenecks of a
    choice fold: their kernels are summed, and a narrow one is the first groups of a wide one.

    Args:
        operation: one of the names in `kernels`, or a choice among them.
        kernels: by operation the kernel size of every group of wide channels, 0 where the group is
            absent; an operation without any group is the identity.
        group: channels of a group.
        in_channels: of the layer.
        out_channels: of the layer.
        stride: of the layer.
        act: activation behind the first two convolutions.
    """
    tables = [
        {name: groups[number] for name, groups in kernels.items()}
        for number in range(len(next(iter(kernels.values()))))
    ]
    keep = _mapped(operation, {name: int(any(groups)) for name, groups in kernels.items()})

    def branch() -> nn.Module:
        sizes = tuple(_mapped(operation, table) for table in tables)
        hidden = grouped(group, sizes)
        depthwise = depthwise_conv2d(hidden, sizes, stride=stride)
        return inverted_residual(
            in_channels, hidden, out_channels, depthwise, has_shortcut=False, act=act
        )

    if stride == 1 and in_channels == out_channels:
        return residual(branch, in_channels, keep=keep)
    return either(
        keep,
        branch,
        lambda: nn.Sequential(
            conv2d(in_channels, out_channels, 1, stride=stride), batch_norm(out_channels)
        ),
    )


def _mapped(operation: Choice | str, table: Mapping[str, int]) -> Any:
    """Return what an operation means to an operator."""
    return operation.map(table.__getitem__) if isinstance(operation, Choice) else table[operation]


class Head(nn.Module):
    """Global average pool, maybe one more 1x1 convolution, dropout and a linear layer."""

    def __init__(
        self, classifier: nn.Module, dropout: float = 0.0, conv: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Identity() if conv is None else conv
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, classes] from a feature [B, C, H, W]."""
        logits: Tensor = self.classifier(self.dropout(self.conv(self.pool(x)).flatten(1)))
        return logits
