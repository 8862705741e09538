"""The two memory layouts of a feature: channels fastest, or columns fastest."""

from collections.abc import Sequence

import torch
from torch import Tensor

# B batch, C channels, H height, W width


def is_channels_last(x_BCHW: Tensor) -> bool:
    """Tell whether kernels should treat the feature as channels_last (its channel stride is 1).

    Example:
        >>> is_channels_last(torch.zeros(1, 8, 4, 4))
        False
        >>> is_channels_last(torch.zeros(1, 8, 4, 4).to(memory_format=torch.channels_last))
        True
    """
    return x_BCHW.stride(1) == 1 and not x_BCHW.is_contiguous()


def dense(x_BCHW: Tensor, channels_last: bool) -> Tensor:
    """Return the feature without gaps in the given layout, itself where it already is."""
    return x_BCHW.contiguous(memory_format=_format(channels_last))


def empty(like: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    """Return an uninitialised tensor of the dtype and device of `like` in the given layout."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=_format(channels_last)
    )


def exactly(y: Tensor, like: Tensor) -> Tensor:
    """Return y in the layout of `like`, with the strides of a new tensor of that layout.

    Axes of length 1 leave strides open, and an operator must return those that it promised.
    """
    channels_last = is_channels_last(like)
    promised = torch.empty(y.shape, device="meta", memory_format=_format(channels_last)).stride()
    return y if y.stride() == promised else empty(y, y.shape, channels_last).copy_(y)


def sum_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of sums over a feature: float32, or float64 for a float64 feature."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def wide(x: Tensor) -> Tensor:
    """Return x in the dtype of its sums."""
    return x.to(sum_dtype(x))


def _format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def output_size(size: int, stride: int) -> int:
    """Return the rows or columns behind a "same" padded convolution with an odd kernel.

    Example:
        >>> output_size(7, 2)
        4
    """
    return (size - 1) // stride + 1
