"""Compiled batch normalisation with its activation, forward and backward, one pass each."""

from __future__ import annotations

import torch
from torch import Tensor

from .native import _activation, _channels_last, _check_shape, _library, _sizes, _threads, _vector

# B batch, C channels, H height, W width


def _same_layout(name: str, other: Tensor, z: Tensor) -> None:
    _check_shape(name, other, tuple(z.shape))
    if not other.is_contiguous(memory_format=_layout(z)):
        raise ValueError(f"{name} must have the layout of z; call .contiguous(memory_format=...)")


def _layout(z: Tensor) -> torch.memory_format:
    return torch.channels_last if _channels_last(z) else torch.contiguous_format


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
    out = torch.empty_like(z_BCHW, memory_format=_layout(z_BCHW)) if out is None else out
    library = _library(z_BCHW, out)
    _same_layout("out", out, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = _vector("scale", scale_C, C), _vector("shift", shift_C, C)
    library.call(
        "norm_act",
        _threads(threads),
        *(z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr(), _activation(act)),
        *(out.data_ptr(), *_sizes(z_BCHW)),
        isa=isa,
    )
    return out


def channel_moments(
    z_BCHW: Tensor, *, threads: int | None = None, isa: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C] of z [B, C, H, W], as exact as float64 makes them."""
    library = _library(z_BCHW)
    mean, var = torch.empty(2, z_BCHW.shape[1])
    library.call(
        "channel_moments",
        _threads(threads),
        *(z_BCHW.data_ptr(), mean.data_ptr(), var.data_ptr(), *_sizes(z_BCHW)),
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
    library = _library(da_BCHW, z_BCHW)
    _same_layout("da", da_BCHW, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = _vector("scale", scale_C, C), _vector("shift", shift_C, C)
    mean, invstd = _vector("mean", mean_C, C), _vector("invstd", invstd_C, C)
    total, product = torch.empty(2, C)
    library.call(
        "norm_act_backward_reduce",
        _threads(threads),
        *(da_BCHW.data_ptr(), z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr()),
        *(mean.data_ptr(), invstd.data_ptr(), _activation(act)),
        *(total.data_ptr(), product.data_ptr(), *_sizes(z_BCHW)),
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
    out = torch.empty_like(z_BCHW, memory_format=_layout(z_BCHW)) if out is None else out
    library = _library(da_BCHW, z_BCHW, out)
    _same_layout("da", da_BCHW, z_BCHW)
    _same_layout("out", out, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = _vector("scale", scale_C, C), _vector("shift", shift_C, C)
    p, q, r = _vector("p", p_C, C), _vector("q", q_C, C), _vector("r", r_C, C)
    library.call(
        "norm_act_backward_apply",
        _threads(threads),
        *(da_BCHW.data_ptr(), z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr()),
        *(p.data_ptr(), q.data_ptr(), r.data_ptr(), _activation(act)),
        *(out.data_ptr(), *_sizes(z_BCHW)),
        isa=isa,
    )
    return out
