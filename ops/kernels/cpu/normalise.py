"""Compiled batch normalisation with its activation, forward and backward, one pass each."""

from __future__ import annotations

import torch
from torch import Tensor

from .arguments import (
    activation_index,
    channels_last,
    check_shape,
    checked_library,
    feature_sizes,
    thread_count,
    vector,
)

# B batch, C channels, H height, W width


def same_layout(name: str, other: Tensor, z: Tensor) -> None:
    """Raise unless a feature has shape and layout of z."""
    check_shape(name, other, tuple(z.shape))
    if not other.is_contiguous(memory_format=layout_of(z)):
        raise ValueError(f"{name} must have the layout of z; call .contiguous(memory_format=...)")


def layout_of(z: Tensor) -> torch.memory_format:
    """Return the memory format of a feature that has one of the two."""
    return torch.channels_last if channels_last(z) else torch.contiguous_format


def norm_act(
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    act: str = "identity",
    *,
    out: Tensor | None = None,
    threads: int | None = None,
    isa: str | None = None,
) -> Tensor:
    """Return act(z * scale + shift) in the layout of z.

    Args:
        z_BCHW: [B, C, H, W].
        scale_C: [C].
        shift_C: [C].
        act: identity, relu, relu6 or silu.
        out: where to write it, may be z itself; new memory by default.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    out = torch.empty_like(z_BCHW, memory_format=layout_of(z_BCHW)) if out is None else out
    library = checked_library(z_BCHW, out)
    same_layout("out", out, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = vector("scale", scale_C, C), vector("shift", shift_C, C)
    library.call(
        "norm_act",
        thread_count(threads),
        *(z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr(), activation_index(act)),
        *(out.data_ptr(), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return out


def channel_moments(
    z_BCHW: Tensor, *, threads: int | None = None, isa: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C] of z [B, C, H, W], as exact as float64 makes them."""
    library = checked_library(z_BCHW)
    mean, var = torch.empty(z_BCHW.shape[1]), torch.empty(z_BCHW.shape[1])
    library.call(
        "channel_moments",
        thread_count(threads),
        *(z_BCHW.data_ptr(), mean.data_ptr(), var.data_ptr(), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return mean, var


def norm_act_backward_reduce(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    mean_C: Tensor,
    invstd_C: Tensor,
    act: str = "identity",
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return [C] the sum of dpre and [C] the sum of dpre * (z - mean) * invstd.

    Here dpre = da * act'(z * scale + shift). With scale = gain * invstd and shift = bias - mean *
    scale these are the gradients of a batch norm's bias and gain.

    Args:
        da_BCHW: [B, C, H, W] gradient behind the activation, in the layout of z.
        z_BCHW: [B, C, H, W] input of the norm.
        scale_C: [C].
        shift_C: [C].
        mean_C: [C].
        invstd_C: [C].
        act: identity, relu, relu6 or silu.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    library = checked_library(da_BCHW, z_BCHW)
    same_layout("da", da_BCHW, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = vector("scale", scale_C, C), vector("shift", shift_C, C)
    mean, invstd = vector("mean", mean_C, C), vector("invstd", invstd_C, C)
    total, product = torch.empty(C), torch.empty(C)
    library.call(
        "norm_act_backward_reduce",
        thread_count(threads),
        *(da_BCHW.data_ptr(), z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr()),
        *(mean.data_ptr(), invstd.data_ptr(), activation_index(act)),
        *(total.data_ptr(), product.data_ptr(), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return total, product


def norm_act_backward_apply(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    p_C: Tensor,
    q_C: Tensor,
    r_C: Tensor,
    act: str = "identity",
    *,
    out: Tensor | None = None,
    threads: int | None = None,
    isa: str | None = None,
) -> Tensor:
    """Return dpre * p + z * q + r with dpre = da * act'(z * scale + shift).

    Args:
        da_BCHW: [B, C, H, W] gradient behind the activation, in the layout of z.
        z_BCHW: [B, C, H, W] input of the norm.
        scale_C: [C].
        shift_C: [C].
        p_C: [C].
        q_C: [C], zero where the statistics are constants.
        r_C: [C], zero where the statistics are constants.
        act: identity, relu, relu6 or silu.
        out: where to write it, may be da itself; new memory by default.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    out = torch.empty_like(z_BCHW, memory_format=layout_of(z_BCHW)) if out is None else out
    library = checked_library(da_BCHW, z_BCHW, out)
    same_layout("da", da_BCHW, z_BCHW)
    same_layout("out", out, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = vector("scale", scale_C, C), vector("shift", shift_C, C)
    p, q, r = vector("p", p_C, C), vector("q", q_C, C), vector("r", r_C, C)
    library.call(
        "norm_act_backward_apply",
        thread_count(threads),
        *(da_BCHW.data_ptr(), z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr()),
        *(p.data_ptr(), q.data_ptr(), r.data_ptr(), activation_index(act)),
        *(out.data_ptr(), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return out
