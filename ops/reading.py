"""What the single-feature operator needs to know of a convolution, read from its module."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .kernels.route import Geometry
from .meta_convolution import MetaConv2d
from .parts import Conv

# C channels


def input_mask(module: nn.Module) -> Tensor | None:
    """Return the soft factor [C] on the input channels of a convolution, None for ones."""
    return module.input_mask() if isinstance(module, MetaConv2d) else None


def read_conv(module: nn.Module, *, is_masked: bool = False) -> Conv | None:
    """Return what the single-feature operator needs of a convolution, None if it cannot run it.

    Args:
        is_masked: whether its input has been multiplied with its `input_mask` already.
    """
    if isinstance(module, MetaConv2d):
        return module.folded(is_masked=is_masked)
    if type(module) is not nn.Conv2d or module.padding_mode != "zeros":
        return None
    squares = [module.kernel_size, module.stride, module.padding, module.dilation]
    if any(isinstance(pair, str) or pair[0] != pair[1] for pair in squares):
        return None
    stride, padding, dilation = (cast(int, pair[0]) for pair in squares[1:])
    geometry = Geometry(stride=stride, padding=padding, dilation=dilation, groups=module.groups)
    return Conv(weight=module.weight, bias=module.bias, geometry=geometry)
