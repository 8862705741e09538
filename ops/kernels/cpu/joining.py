"""Compiled end of a residual block: norm and shortcut in one pass over memory each way."""

from __future__ import annotations

import torch
from torch import Tensor

from .arguments import (
    address,
    checked_library,
    feature_sizes,
    supports,
    thread_count,
    vector,
)
from .normalise import layout_of, same_layout

# B batch, C channels, H height, W width


def joins(z_BCHW: Tensor, x_BCHW: Tensor) -> bool:
    """Tell whether the functions below take these features: alike in shape and in layout."""
    is_alike = z_BCHW.shape == x_BCHW.shape and supports(z_BCHW, x_BCHW)
    return is_alike and x_BCHW.is_contiguous(memory_format=layout_of(z_BCHW))


def join(
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    x_BCHW: Tensor,
    share_C: Tensor | None = None,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> Tensor:
    """Return z * scale + shift + x * share in the layout of z.

    Args:
        z_BCHW: [B, C, H, W].
        scale_C: [C].
        shift_C: [C].
        x_BCHW: [B, C, H, W] in the layout of z.
        share_C: [C], or None for ones.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    library = checked_library(z_BCHW, x_BCHW)
    same_layout("x", x_BCHW, z_BCHW)
    C = z_BCHW.shape[1]
    scale, shift = vector("scale", scale_C, C), vector("shift", shift_C, C)
    share = None if share_C is None else vector("share", share_C, C)
    out = torch.empty_like(z_BCHW, memory_format=layout_of(z_BCHW))
    library.call(
        "join",
        thread_count(threads),
        *(z_BCHW.data_ptr(), scale.data_ptr(), shift.data_ptr(), x_BCHW.data_ptr()),
        *(address(share), out.data_ptr(), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return out


def join_backward_reduce(
    g_BCHW: Tensor,
    z_BCHW: Tensor,
    mean_C: Tensor,
    invstd_C: Tensor,
    x_BCHW: Tensor,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return three [C]: sums of g, of g * (z - mean) * invstd, and of g * x.

    Args:
        g_BCHW: [B, C, H, W] gradient of what `join` returned, in the layout of z.
        z_BCHW: [B, C, H, W].
        mean_C: [C].
        invstd_C: [C].
        x_BCHW: [B, C, H, W] in the layout of z.
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    library = checked_library(g_BCHW, z_BCHW, x_BCHW)
    same_layout("g", g_BCHW, z_BCHW)
    same_layout("x", x_BCHW, z_BCHW)
    C = z_BCHW.shape[1]
    mean, invstd = vector("mean", mean_C, C), vector("invstd", invstd_C, C)
    sums = tuple(torch.empty(C, dtype=torch.float32) for _ in range(3))
    library.call(
        "join_backward_reduce",
        thread_count(threads),
        *(g_BCHW.data_ptr(), z_BCHW.data_ptr(), mean.data_ptr(), invstd.data_ptr()),
        *(x_BCHW.data_ptr(), *(total.data_ptr() for total in sums), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return sums[0], sums[1], sums[2]


def join_backward_apply(
    g_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    q_C: Tensor,
    r_C: Tensor,
    share_C: Tensor,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of z, g * scale + z * q + r, and of x, g * share.

    Args:
        g_BCHW: [B, C, H, W] gradient of what `join` returned, in the layout of z.
        z_BCHW: [B, C, H, W].
        scale_C: [C].
        q_C: [C], zero where the statistics are constants.
        r_C: [C], zero where the statistics are constants.
        share_C: [C].
        threads: at most so many; torch's number by default.
        isa: instruction set; the best one by default.
    """
    library = checked_library(g_BCHW, z_BCHW)
    same_layout("g", g_BCHW, z_BCHW)
    C = z_BCHW.shape[1]
    scale, share = vector("scale", scale_C, C), vector("share", share_C, C)
    q, r = vector("q", q_C, C), vector("r", r_C, C)
    dz, dx = (torch.empty_like(z_BCHW, memory_format=layout_of(z_BCHW)) for _ in range(2))
    library.call(
        "join_backward_apply",
        thread_count(threads),
        *(g_BCHW.data_ptr(), z_BCHW.data_ptr(), scale.data_ptr(), q.data_ptr(), r.data_ptr()),
        *(share.data_ptr(), dz.data_ptr(), dx.data_ptr(), *feature_sizes(z_BCHW)),
        isa=isa,
    )
    return dz, dx
