"""Plain convolutions of torch.nn, as built networks and extracted layers use them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def plain_conv2d(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Return `nn.Conv2d` with "same" padding, initialised normal(0, sqrt(2 / fan out))."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias)
    initialise(conv.weight, groups)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def plain_depthwise_conv2d(
    count: int, kernels: tuple[int, ...], stride: int, dilation: int
) -> nn.Module:
    """Return a depthwise convolution whose groups of channels have these kernel sizes.

    Args:
        count: number of channels, shared equally by the groups that are present.
        kernels: kernel size of each group, 0 where it is absent; groups are ordered by size.
        stride: of the output.
        dilation: distance of the taps.

    Raises:
        ValueError: if the channels do not split equally.
    """
    present = sorted(size for size in kernels if size)
    if not present or count % len(present):
        raise ValueError(f"{count} channels do not split into {len(present)} groups of one kernel")
    if len(set(present)) == 1:
        return plain_conv2d(count, count, present[0], stride, dilation, count, False)
    share = count // len(present)
    sizes = sorted(set(present))
    shares = [share * present.count(size) for size in sizes]
    return mixed_depthwise_conv2d(shares, sizes, stride=stride, dilation=dilation)


def mixed_depthwise_conv2d(
    shares: Sequence[int], kernels: Sequence[int], *, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """Return a depthwise convolution whose neighbouring channels have different kernel sizes.

    Args:
        shares: number of channels of each part.
        kernels: kernel size of each part.
        stride: of the output.
        dilation: distance of the taps.
    """
    convs = [
        plain_conv2d(count, count, kernel, stride, dilation, count, False)
        for count, kernel in zip(shares, kernels, strict=True)
    ]
    return convs[0] if len(convs) == 1 else MixedConv2d(convs)


class MixedConv2d(nn.Module):
    """Depthwise convolutions of several kernel sizes, each on its share of the channels."""

    def __init__(self, convs: list[nn.Conv2d]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.shares = [conv.in_channels for conv in convs]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each share and put the results side by side."""
        parts = torch.split(x, self.shares, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)


def initialise(weight: Tensor, groups: int) -> Tensor:
    """Fill a weight with normal(0, sqrt(2 / fan out)) and return it."""
    if weight.is_meta:  # nothing to fill, and torch takes long to find that out
        return weight
    fan_out = weight.shape[0] // groups * weight.shape[-1] ** 2
    return nn.init.normal_(weight, 0.0, math.sqrt(2.0 / fan_out))
