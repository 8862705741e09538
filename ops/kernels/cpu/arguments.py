"""Checks of what goes into the compiled kernels, so that no caller can break memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from .library import Library, find

# B batch, C channels, H height, W width, K kernel size

ACTIVATIONS = ("identity", "relu", "relu6", "silu")
_LARGEST_KERNEL = 11


def supports(*features: Tensor, size: int = 1, stride: int = 1, dilation: int = 1) -> bool:
    """Tell whether kernels exist for these features [B, C, H, W] and this convolution."""
    fits = size % 2 == 1 and 0 < size <= _LARGEST_KERNEL and stride in (1, 2) and dilation == 1
    return fits and find()[0] is not None and all(is_dense(feature) for feature in features)


def is_real(x: Tensor) -> bool:
    """Tell whether a tensor has memory of its own: subclasses, such as fake ones, may not."""
    return type(x) is Tensor or type(x) is Parameter


def is_dense(x: Tensor) -> bool:
    """Tell whether a feature is float32 on the CPU, not empty, in one of the two layouts."""
    return (
        is_real(x)
        and x.dim() == 4
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() > 0
        and (
            x.is_contiguous(memory_format=torch.channels_last)
            or x.is_contiguous(memory_format=torch.contiguous_format)
        )
    )


def channels_last(x: Tensor) -> bool:
    """Tell whether channels come last; true for features that have both layouts."""
    return x.is_contiguous(memory_format=torch.channels_last)


def checked_library(*features: Tensor, size: int = 1, stride: int = 1) -> Library:
    """Return the kernels, or raise what is wrong with the features."""
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


def check_shape(name: str, found: Tensor, wanted: tuple[int, ...]) -> None:
    """Raise unless a tensor has the wanted shape."""
    if tuple(found.shape) != wanted:
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(found.shape)}")


def vector(name: str, values: Tensor, C: int) -> Tensor:
    """Return [C] contiguous floats."""
    check_shape(name, values, (C,))
    if values.dtype is torch.float32 and values.is_cpu and values.is_contiguous():
        return values
    return values.detach().to(device="cpu", dtype=torch.float32).contiguous()


def activation_index(act: str) -> int:
    """Return the number by which the kernels know an activation."""
    if act not in ACTIVATIONS:
        raise ValueError(f"unknown activation {act!r}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS.index(act)


def feature_sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Return whether channels come last, B, C and the number of positions."""
    B, C, H, W = x.shape
    return int(channels_last(x)), B, C, H * W


def thread_count(threads: int | None) -> int:
    """Return the given number of threads, or torch's."""
    return torch.get_num_threads() if threads is None else threads


def depthwise_weights(weight_C1KK: Tensor, C: int) -> Tensor:
    """Return [C, 1, K, K] contiguous floats."""
    size = weight_C1KK.shape[-1]
    check_shape("weight", weight_C1KK, (C, 1, size, size))
    if weight_C1KK.dtype is torch.float32 and weight_C1KK.is_cpu and weight_C1KK.is_contiguous():
        return weight_C1KK
    return weight_C1KK.detach().to(device="cpu", dtype=torch.float32).contiguous()


Fused = tuple[Tensor, Tensor, str]
"""Scale [C], shift [C] and activation that are applied to a feature while it is read."""


def fused_arguments(fused: Fused | None, C: int) -> tuple[Tensor | None, Tensor | None, int]:
    """Return scale, shift and the activation's number; None, None, 0 without any."""
    if fused is None:
        return None, None, 0
    return vector("scale", fused[0], C), vector("shift", fused[1], C), activation_index(fused[2])


def address(values: Tensor | None) -> int | None:
    """Return where the values lie, or None."""
    return None if values is None else values.data_ptr()


def output_shape(x: Tensor, stride: int) -> tuple[int, ...]:
    """Return the shape of a convolution's output."""
    B, C, H, W = x.shape
    return B, C, (H - 1) // stride + 1, (W - 1) // stride + 1


def empty_feature(
    shape: tuple[int, ...], like: Tensor, layout: torch.memory_format | None
) -> Tensor:
    """Return new memory in the given layout, or in that of `like`."""
    if layout is None:
        layout = torch.channels_last if channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=torch.float32, memory_format=layout)
