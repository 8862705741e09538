"""Convolutions whose kernel sizes and channel counts may be choices."""

from __future__ import annotations

from typing import cast

from torch import nn

from .meta_convolution import Kernel, Kernels, MetaConv2d, kernel_values
from .plain import plain_conv2d, plain_depthwise_conv2d
from .width import AnyWidth, Width, is_plain


def conv2d(
    in_channels: AnyWidth,
    out_channels: AnyWidth,
    kernel: Kernel,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    shared: bool = False,
) -> nn.Module:
    """Return a convolution with "same" padding: `nn.Conv2d`, or its meta operator.

    Args:
        in_channels: channels of the input; a choice is folded into the weights' columns.
        out_channels: channels of the output; what consumes it folds a choice.
        kernel: odd kernel size, or a choice of them.
        stride: of the output.
        dilation: distance of the taps.
        groups: channels are mixed within so many groups; needs fixed channel counts.
        bias: whether to add one number to each output channel.
        shared: candidates are centre crops of the largest kernel instead of independent weights.

    Raises:
        ValueError: if a kernel size is even, or `groups` meets a choice of channels.
    """
    if groups > 1 and not is_plain(in_channels, out_channels):
        raise ValueError(
            "a grouped convolution needs fixed channel counts; use groups=1, "
            "or depthwise_conv2d for one group a channel"
        )
    _check_kernels((kernel,), allow_absent=False)
    if is_plain(in_channels, out_channels, kernel):
        channels = (cast(int, in_channels), cast(int, out_channels))
        return plain_conv2d(*channels, cast(int, kernel), stride, dilation, groups, bias)
    return MetaConv2d(in_channels, out_channels, kernel, stride, dilation, groups, bias, shared)


def depthwise_conv2d(
    channels: AnyWidth,
    kernel: Kernels,
    *,
    stride: int = 1,
    dilation: int = 1,
    shared: bool = False,
) -> nn.Module:
    """Return a depthwise convolution with "same" padding, without bias.

    Args:
        channels: number of channels; a choice of them passes through.
        kernel: odd kernel size or a choice, or a tuple with one for each group of channels. In a
            tuple 0 means that the group is absent, and `channels` must be `grouped(...)` of it.
        stride: of the output.
        dilation: distance of the taps.
        shared: candidates are centre crops of the largest kernel instead of independent weights.
    """
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    _check_kernels(sizes, allow_absent=isinstance(kernel, tuple))
    if isinstance(kernel, tuple) and not is_plain(kernel) and not isinstance(channels, Width):
        raise ValueError(
            "kernels that groups decide for themselves need grouped(size, kernels) as "
            "channels, in every operator of that feature"
        )
    if not is_plain(channels, kernel):
        return MetaConv2d(channels, channels, kernel, stride, dilation, 0, False, shared)
    return plain_depthwise_conv2d(
        cast(int, channels), cast(tuple[int, ...], sizes), stride, dilation
    )


def _check_kernels(kernels: tuple[Kernel, ...], allow_absent: bool) -> None:
    for entry in kernels:
        for size in kernel_values(entry):
            if size == 0 and not allow_absent:
                raise ValueError(
                    "kernel size 0 (absence) needs a width that can vanish: give a tuple of "
                    "kernels to depthwise_conv2d, and grouped(size, kernels) as its channels"
                )
            if size and (size < 0 or size % 2 == 0):
                raise ValueError(f"kernel sizes must be odd to share a centre, got {size}")
