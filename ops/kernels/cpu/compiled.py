"""Typed front of the compiled kernels: checks tensors, so that callers cannot break memory.

Every function wants float32 tensors on the CPU that are dense in channels-last or contiguous
layout; `supports` tells before. There is no fallback here: callers choose torch where `available`
or `supports` says no. Results do not depend on the number of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .arguments import (
    ACTIVATIONS,
    Fused,
    address,
    channels_last,
    check_shape,
    checked_library,
    depthwise_weights,
    empty_feature,
    fused_arguments,
    output_shape,
    supports,
    thread_count,
)
from .library import find

# B batch, C channels, H height, W width, K kernel size

__all__ = [
    "ACTIVATIONS",
    "Fused",
    "available",
    "depthwise_backward_data",
    "depthwise_backward_weight",
    "depthwise_forward",
    "isa",
    "isas",
    "prefers",
    "supports",
    "why_missing",
]


def available() -> bool:
    """Tell whether the compiled kernels can run here."""
    return find()[0] is not None


def why_missing() -> str:
    """Return one line that says why the kernels cannot run; empty if they can."""
    return find()[1]


def isa() -> str:
    """Return the instruction set in use: avx512, avx2, neon, scalar; "none" without kernels."""
    library = find()[0]
    return "none" if library is None else library.isa


def isas() -> tuple[str, ...]:
    """Return every instruction set that runs here, slowest first."""
    library = find()[0]
    return () if library is None else library.isas


def prefers(name: str, x_BCHW: Tensor, size: int, stride: int = 1) -> bool:
    """Tell whether a depthwise pass is faster here than in torch, where `supports` allows both.

    Measured with one thread against torch 2.13 (oneDNN) by `nastk bench kernels`. With a fused
    normalisation the forward pass also saves a feature's way through memory; that is not counted.

    Args:
        name: forward, data or weight.
        x_BCHW: [B, C, H, W] input of the convolution.
        size: K.
        stride: of the convolution.
    """
    smallest, is_last = min(x_BCHW.shape[2:]), channels_last(x_BCHW)
    if name == "weight":  # 4 to 30 times; 3x3 only where memory or tiny maps bound torch
        return size >= 5 or (size == 3 and (x_BCHW.numel() >= 1 << 21 or smallest <= 4))
    if name == "data":
        if is_last:  # 1.05 to 1.8 times
            return stride == 1 and size >= 5 and smallest >= (8 if size == 5 else 7)
        return smallest >= (7 if size >= 5 else 14)  # 1.1 to 3.5 times
    assert name == "forward", name
    return not is_last and smallest >= 14 and size >= 3  # 1.0 to 3.5 times


def depthwise_backward_weight(
    x_BCHW: Tensor,
    g_BCHW: Tensor,
    size: int,
    stride: int = 1,
    *,
    fused: Fused | None = None,
    threads: int | None = None,
    isa: str | None = None,
) -> Tensor:
    """Return the gradient of a depthwise kernel with "same" padding.

    Args:
        x_BCHW: [B, C, H, W] input of the convolution, or what `fused` turns into it.
        g_BCHW: [B, C, ceil(H / stride), ceil(W / stride)] gradient of its output.
        size: K, odd, up to 11.
        stride: 1 or 2.
        fused: scale, shift and activation between `x_BCHW` and the convolution.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.

    Returns:
        [C, 1, K, K].
    """
    library = checked_library(x_BCHW, g_BCHW, size=size, stride=stride)
    check_shape("g", g_BCHW, output_shape(x_BCHW, stride))
    B, C, H, W = x_BCHW.shape
    scale, shift, act = fused_arguments(fused, C)
    dw = torch.empty(C, 1, size, size)
    library.call(
        "depthwise_weight",
        thread_count(threads),
        *(x_BCHW.data_ptr(), int(channels_last(x_BCHW))),
        *(g_BCHW.data_ptr(), int(channels_last(g_BCHW)), dw.data_ptr()),
        *(address(scale), address(shift), act, B, C, H, W, size, stride),
        isa=isa,
    )
    return dw


def depthwise_forward(
    x_BCHW: Tensor,
    weight_C1KK: Tensor,
    stride: int = 1,
    *,
    fused: Fused | None = None,
    layout: torch.memory_format | None = None,
    threads: int | None = None,
    isa: str | None = None,
) -> Tensor:
    """Return the depthwise convolution [B, C, ceil(H / stride), ceil(W / stride)].

    Args:
        x_BCHW: [B, C, H, W] input, or what `fused` turns into it.
        weight_C1KK: [C, 1, K, K], K odd, up to 11.
        stride: 1 or 2.
        fused: scale, shift and activation between `x_BCHW` and the convolution.
        layout: memory format of the result; that of the input by default.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    size = weight_C1KK.shape[-1]
    library = checked_library(x_BCHW, size=size, stride=stride)
    B, C, H, W = x_BCHW.shape
    weight = depthwise_weights(weight_C1KK, C)
    scale, shift, act = fused_arguments(fused, C)
    y = empty_feature(output_shape(x_BCHW, stride), x_BCHW, layout)
    library.call(
        "depthwise_forward",
        thread_count(threads),
        *(x_BCHW.data_ptr(), int(channels_last(x_BCHW)), weight.data_ptr()),
        *(y.data_ptr(), int(channels_last(y))),
        *(address(scale), address(shift), act, B, C, H, W, size, stride),
        isa=isa,
    )
    return y


def depthwise_backward_data(
    g_BCHW: Tensor,
    weight_C1KK: Tensor,
    height: int,
    width: int,
    stride: int = 1,
    *,
    layout: torch.memory_format | None = None,
    threads: int | None = None,
    isa: str | None = None,
) -> Tensor:
    """Return the gradient [B, C, height, width] of the input of a depthwise convolution.

    Args:
        g_BCHW: [B, C, ceil(height / stride), ceil(width / stride)] gradient of its output.
        weight_C1KK: [C, 1, K, K], K odd, up to 11.
        height: of the input.
        width: of the input.
        stride: 1 or 2.
        layout: memory format of the result; that of the input by default.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    size = weight_C1KK.shape[-1]
    library = checked_library(g_BCHW, size=size, stride=stride)
    B, C = g_BCHW.shape[:2]
    dx = empty_feature((B, C, height, width), g_BCHW, layout)
    check_shape("g", g_BCHW, output_shape(dx, stride))
    weight = depthwise_weights(weight_C1KK, C)
    library.call(
        "depthwise_data",
        thread_count(threads),
        *(g_BCHW.data_ptr(), int(channels_last(g_BCHW)), weight.data_ptr()),
        *(dx.data_ptr(), int(channels_last(dx))),
        *(B, C, height, width, size, stride),
        isa=isa,
    )
    return dx
