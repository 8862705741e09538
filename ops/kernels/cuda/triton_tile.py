"""What the Triton kernels share: addresses of a tile, activations, the sum over splits."""

# The bodies of kernels are Triton, a language without type hints.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# B batch, C channels, H height, W width

# Fused multiply-add is asked for by name: its default differs between versions of Triton.
FP_FUSION = True


@triton.jit
def tile_offsets(row, col_W, chan_C, H, W, C, CHANNELS_LAST: tl.constexpr):
    """Return [W, C] offsets inside one image; the distance of the fastest axis is a constant."""
    pixel_W = row.to(tl.int64) * W + col_W.to(tl.int64)
    if CHANNELS_LAST:
        offsets = pixel_W[:, None] * C + chan_C[None, :]
    else:
        offsets = pixel_W[:, None] + chan_C.to(tl.int64)[None, :] * H * W
    return offsets


@triton.jit
def tile_mask(row, col_W, chan_C, H, W, C):
    """Return [W, C]: which elements of the tile lie inside the image."""
    row_W = row + tl.zeros_like(col_W)  # vectors only: the interpreter mixes no scalar masks
    inside_W = (row_W >= 0) & (row_W < H) & (col_W >= 0) & (col_W < W)
    return inside_W[:, None] & (chan_C < C)[None, :]


@triton.jit
def activation(x, ACT: tl.constexpr):
    """Return act(x)."""
    if ACT == "relu":
        x = tl.where(x < 0, 0.0, x)  # a comparison, so that NaN passes
    elif ACT == "relu6":
        x = tl.where(x < 0, 0.0, tl.where(x > 6.0, 6.0, x))
    elif ACT == "silu":
        x = x * tl.sigmoid(x)
    return x


@triton.jit
def activation_grad(x, grad, ACT: tl.constexpr):
    """Return grad * act'(x)."""
    if ACT == "relu":
        grad = tl.where(x > 0, grad, 0.0)
    elif ACT == "relu6":
        grad = tl.where((x > 0) & (x < 6.0), grad, 0.0)
    elif ACT == "silu":
        gate = tl.sigmoid(x)
        grad = grad * gate * (1.0 + x * (1.0 - gate))
    return grad


@triton.jit
def load_tile(
    x_ptr,
    row,
    col_W,
    chan_C,
    scale_C,
    shift_C,
    H,
    W,
    C,
    CHANNELS_LAST: tl.constexpr,
    FUSED: tl.constexpr,
    ACT: tl.constexpr,
):
    """Return [W, C] float32 act(scale * x + shift), zero outside of the image."""
    mask = tile_mask(row, col_W, chan_C, H, W, C)
    offsets = tile_offsets(row, col_W, chan_C, H, W, C, CHANNELS_LAST)
    x = tl.load(x_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    if FUSED:
        x = activation(x * scale_C[None, :] + shift_C[None, :], ACT)
        x = tl.where(mask, x, 0.0)  # padding is zero behind the activation
    return x


@triton.jit
def load_channels(ptr, chan_C, C, FUSED: tl.constexpr):
    """Return [C] float32 numbers of the channels, zeros where there is nothing to load."""
    if FUSED:
        values_C = tl.load(ptr + chan_C, mask=chan_C < C, other=0.0).to(tl.float32)
    else:
        values_C = tl.zeros_like(chan_C).to(tl.float32)
    return values_C


# One program sums BLOCK_N columns of [SPLITS, N] over all splits, always in the same order.
# It keeps [BLOCK_S, BLOCK_N] running sums and adds these up once, at the end.
@triton.jit
def split_sum_fwd_kernel(
    partial_ptr, total_ptr, splits, N, BLOCK_S: tl.constexpr, BLOCK_N: tl.constexpr
):
    """Write total[n] = sum_s partial[s, n]."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    s = tl.arange(0, BLOCK_S)
    acc = tl.zeros((BLOCK_S, BLOCK_N), tl.float32)
    for start in range(0, splits, BLOCK_S):
        row = start + s
        mask = (row < splits)[:, None] & (n < N)[None, :]
        acc += tl.load(partial_ptr + row.to(tl.int64)[:, None] * N + n[None, :], mask, other=0.0)
    tl.store(total_ptr + n, tl.sum(acc, 0), mask=n < N)


def split_sum(partial: Tensor) -> Tensor:
    """Return the sum of [S, ...] float32 over its first axis."""
    total = torch.empty(partial.shape[1:], dtype=partial.dtype, device=partial.device)
    grid = (triton.cdiv(total.numel(), 64),)
    split_sum_fwd_kernel[grid](
        partial,
        total,
        partial.shape[0],
        total.numel(),
        BLOCK_S=16,
        BLOCK_N=64,
        num_warps=4,
        enable_fp_fusion=FP_FUSION,
    )
    return total
