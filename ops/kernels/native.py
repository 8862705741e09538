"""Typed front of the compiled kernels: checks tensors, so that callers cannot break memory.

Every function wants float32 tensors on the CPU that are dense in channels-last or contiguous
layout; `supports` tells before. There is no fallback here: callers choose torch where `available`
or `supports` says no. Results do not depend on the number of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .library import Library, find

# B batch, C channels, H height, W width, K kernel size

ACTIVATIONS = ("identity", "relu", "relu6", "silu")
_LARGEST_KERNEL = 11


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


def supports(*features: Tensor, size: int = 1, stride: int = 1, dilation: int = 1) -> bool:
    """Tell whether kernels exist for these features [B, C, H, W] and this convolution."""
    fits = size % 2 == 1 and 0 < size <= _LARGEST_KERNEL and stride in (1, 2) and dilation == 1
    return fits and available() and all(_is_dense(feature) for feature in features)


def _is_dense(x: Tensor) -> bool:
    return (
        x.dim() == 4
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() > 0
        and (
            x.is_contiguous(memory_format=torch.channels_last)
            or x.is_contiguous(memory_format=torch.contiguous_format)
        )
    )


def _channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _library(*features: Tensor, size: int = 1, stride: int = 1) -> Library:
    library, reason = find()
    if library is None:
        raise RuntimeError(f"compiled kernels are missing ({reason}); use torch instead")
    if not supports(*features, size=size, stride=stride):
        shapes = [f"{tuple(f.shape)} {f.dtype} on {f.device}" for f in features]
        raise ValueError(
            "compiled kernels take dense, non-empty float32 features on the CPU, odd sizes up to "
            f"{_LARGEST_KERNEL} and stride 1 or 2; got {shapes}, size {size}, stride {stride}"
        )
    return library


def _check_shape(name: str, found: Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(found.shape) != wanted:
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(found.shape)}")


def _vector(name: str, values: Tensor, C: int) -> Tensor:
    """Return [C] contiguous floats."""
    _check_shape(name, values, (C,))
    return values.detach().to(device="cpu", dtype=torch.float32).contiguous()


def _activation(act: str) -> int:
    if act not in ACTIVATIONS:
        raise ValueError(f"unknown activation {act!r}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS.index(act)


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Return whether channels come last, B, C and the number of positions."""
    B, C, H, W = x.shape
    return int(_channels_last(x)), B, C, H * W


def _threads(threads: int | None) -> int:
    return torch.get_num_threads() if threads is None else threads


def _weights(weight_C1KK: Tensor, C: int) -> Tensor:
    size = weight_C1KK.shape[-1]
    _check_shape("weight", weight_C1KK, (C, 1, size, size))
    return weight_C1KK.detach().to(device="cpu", dtype=torch.float32).contiguous()


Fused = tuple[Tensor, Tensor, str]
"""Scale [C], shift [C] and activation that are applied to a feature while it is read."""


def _fused(fused: Fused | None, C: int) -> tuple[Tensor | None, Tensor | None, int]:
    if fused is None:
        return None, None, 0
    return _vector("scale", fused[0], C), _vector("shift", fused[1], C), _activation(fused[2])


def _address(values: Tensor | None) -> int | None:
    return None if values is None else values.data_ptr()


def _out_shape(x: Tensor, stride: int) -> tuple[int, ...]:
    B, C, H, W = x.shape
    return B, C, (H - 1) // stride + 1, (W - 1) // stride + 1


def _empty(shape: tuple[int, ...], like: Tensor, layout: torch.memory_format | None) -> Tensor:
    if layout is None:
        layout = torch.channels_last if _channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=torch.float32, memory_format=layout)


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
    library = _library(x_BCHW, g_BCHW, size=size, stride=stride)
    _check_shape("g", g_BCHW, _out_shape(x_BCHW, stride))
    B, C, H, W = x_BCHW.shape
    scale, shift, act = _fused(fused, C)
    dw = torch.empty(C, 1, size, size)
    library.call(
        "depthwise_weight",
        _threads(threads),
        *(x_BCHW.data_ptr(), int(_channels_last(x_BCHW))),
        *(g_BCHW.data_ptr(), int(_channels_last(g_BCHW)), dw.data_ptr()),
        *(_address(scale), _address(shift), act, B, C, H, W, size, stride),
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
    library = _library(x_BCHW, size=size, stride=stride)
    B, C, H, W = x_BCHW.shape
    weight = _weights(weight_C1KK, C)
    scale, shift, act = _fused(fused, C)
    y = _empty(_out_shape(x_BCHW, stride), x_BCHW, layout)
    library.call(
        "depthwise_forward",
        _threads(threads),
        *(x_BCHW.data_ptr(), int(_channels_last(x_BCHW)), weight.data_ptr()),
        *(y.data_ptr(), int(_channels_last(y))),
        *(_address(scale), _address(shift), act, B, C, H, W, size, stride),
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
    library = _library(g_BCHW, size=size, stride=stride)
    B, C = g_BCHW.shape[:2]
    dx = _empty((B, C, height, width), g_BCHW, layout)
    _check_shape("g", g_BCHW, _out_shape(dx, stride))
    weight = _weights(weight_C1KK, C)
    library.call(
        "depthwise_data",
        _threads(threads),
        *(g_BCHW.data_ptr(), int(_channels_last(g_BCHW)), weight.data_ptr()),
        *(dx.data_ptr(), int(_channels_last(dx))),
        *(B, C, height, width, size, stride),
        isa=isa,
    )
    return dx
