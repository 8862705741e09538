"""Normalisation and activation in one elementwise pass, and their backward passes, in Triton."""

# The bodies of kernels are Triton, a language without type hints.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..layout import dense, empty, is_channels_last
from .blocks import PROGRAMS, TILE, power_of_two, vector_size
from .triton_tile import FP_FUSION, activation, activation_grad, load_channels, split_sum

# B batch, C channels, P pixels of an image (of all images where channels run fastest)


@triton.jit
def flat_tile(
    tile, pixel_units, chan_C, C, P_VEC: tl.constexpr, BP: tl.constexpr, LAST: tl.constexpr
):
    """Return the [P, C] offsets and mask of a tile; tiles are counted over images and pixels."""
    P = pixel_units * P_VEC
    blocks_P = tl.cdiv(P, BP)
    image = (tile // blocks_P).to(tl.int64)
    pixel_P = (tile % blocks_P * BP + tl.arange(0, BP)).to(tl.int64)
    if LAST:
        offsets = pixel_P[:, None] * C + chan_C[None, :]
    else:
        offsets = pixel_P[:, None] + chan_C.to(tl.int64)[None, :] * P
    return image * P * C + offsets, (pixel_P < P)[:, None] & (chan_C < C)[None, :]


# One program computes a tile of pixels x channels of the output, reading each element once.
# Scale and shift are float32 numbers of the channel.
@triton.jit
def norm_act_fwd_kernel(
    z_ptr,
    scale_ptr,
    shift_ptr,
    a_ptr,
    pixel_units,
    chan_units,
    ACT: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
    P_VEC: tl.constexpr,
    C_VEC: tl.constexpr,
    LAST: tl.constexpr,
):
    """Write a = act(scale * z + shift)."""
    C = chan_units * C_VEC
    blocks_C = tl.cdiv(C, BC)
    chan_C = tl.program_id(0) % blocks_C * BC + tl.arange(0, BC)
    tile = tl.program_id(0) // blocks_C
    offsets, mask = flat_tile(tile, pixel_units, chan_C, C, P_VEC, BP, LAST)
    scale_C = load_channels(scale_ptr, chan_C, C, True)
    shift_C = load_channels(shift_ptr, chan_C, C, True)
    z = tl.load(z_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    a = activation(z * scale_C[None, :] + shift_C[None, :], ACT)
    tl.store(a_ptr + offsets, a.to(a_ptr.dtype.element_ty), mask=mask)


# One program sums dpre and dpre * zhat of BC channels over one split, a run of tiles, where
# dpre = da * act'(scale * z + shift) and zhat = (z - mean) * inv_std.
@triton.jit
def norm_act_bwd_reduce_kernel(
    da_ptr,
    z_ptr,
    scale_ptr,
    shift_ptr,
    mean_ptr,
    inv_std_ptr,
    partial_ptr,
    pixel_units,
    chan_units,
    tiles,
    tiles_per_split,
    ACT: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
    P_VEC: tl.constexpr,
    C_VEC: tl.constexpr,
    LAST: tl.constexpr,
):
    """Write partial[split, :, c] = (sum dpre, sum dpre * zhat)."""
    C = chan_units * C_VEC
    blocks_C = tl.cdiv(C, BC)
    split = tl.program_id(0) // blocks_C
    chan_C = tl.program_id(0) % blocks_C * BC + tl.arange(0, BC)
    scale_C = load_channels(scale_ptr, chan_C, C, True)
    shift_C = load_channels(shift_ptr, chan_C, C, True)
    mean_C = load_channels(mean_ptr, chan_C, C, True)
    inv_std_C = load_channels(inv_std_ptr, chan_C, C, True)
    plain = tl.zeros((BP, BC), tl.float32)
    product = tl.zeros((BP, BC), tl.float32)
    first = split * tiles_per_split
    for tile in range(first, tl.minimum(first + tiles_per_split, tiles)):
        offsets, mask = flat_tile(tile, pixel_units, chan_C, C, P_VEC, BP, LAST)
        z = tl.load(z_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
        da = tl.load(da_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
        dpre = activation_grad(z * scale_C[None, :] + shift_C[None, :], da, ACT)
        plain += dpre
        product += dpre * (z - mean_C[None, :]) * inv_std_C[None, :]
    partial_ptr += split.to(tl.int64) * 2 * C
    tl.store(partial_ptr + chan_C, tl.sum(plain, 0), mask=chan_C < C)
    tl.store(partial_ptr + C + chan_C, tl.sum(product, 0), mask=chan_C < C)


# One program computes a tile of dz = dpre * p + z * q + r, recomputing dpre from da and z.
# p, q and r are float32 numbers of the channel, which carry the statistics' share.
@triton.jit
def norm_act_bwd_apply_kernel(
    da_ptr,
    z_ptr,
    scale_ptr,
    shift_ptr,
    p_ptr,
    q_ptr,
    r_ptr,
    dz_ptr,
    pixel_units,
    chan_units,
    ACT: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
    P_VEC: tl.constexpr,
    C_VEC: tl.constexpr,
    LAST: tl.constexpr,
):
    """Write dz, the gradient of the raw convolution output."""
    C = chan_units * C_VEC
    blocks_C = tl.cdiv(C, BC)
    chan_C = tl.program_id(0) % blocks_C * BC + tl.arange(0, BC)
    tile = tl.program_id(0) // blocks_C
    offsets, mask = flat_tile(tile, pixel_units, chan_C, C, P_VEC, BP, LAST)
    scale_C = load_channels(scale_ptr, chan_C, C, True)
    shift_C = load_channels(shift_ptr, chan_C, C, True)
    z = tl.load(z_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    da = tl.load(da_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    dz = activation_grad(z * scale_C[None, :] + shift_C[None, :], da, ACT)
    dz = dz * load_channels(p_ptr, chan_C, C, True)[None, :]
    dz += z * load_channels(q_ptr, chan_C, C, True)[None, :]
    dz += load_channels(r_ptr, chan_C, C, True)[None, :]
    tl.store(dz_ptr + offsets, dz.to(dz_ptr.dtype.element_ty), mask=mask)


@dataclass(frozen=True, kw_only=True)
class FlatBlocks:
    """How the elements of a feature are cut into tiles of pixels x channels."""

    pixels: int  # of an image, or of all images where channels run fastest
    tiles: int  # along images and pixels
    channel_blocks: int
    constants: dict[str, int | bool]  # the sizes that choose code

    @property
    def programs(self) -> int:
        """Number of programs of an elementwise pass."""
        return self.tiles * self.channel_blocks


def flat_blocks(shape: torch.Size, item_bytes: int, channels_last: bool) -> FlatBlocks:
    """Return the tiles of an elementwise pass over [B, C, H, W]."""
    B, C, H, W = shape
    pixels = B * H * W if channels_last else H * W
    if channels_last:
        block_C = min(power_of_two(C), 128 // item_bytes)
        block_P = min(power_of_two(pixels), 2 * TILE // block_C)
        p_vector, c_vector = 1, vector_size(C, item_bytes)
    else:
        block_P = min(power_of_two(pixels), 512)
        block_C = min(power_of_two(C), 2 * TILE // block_P, 32)
        p_vector, c_vector = vector_size(pixels, item_bytes), 1
    constants = {"BP": block_P, "BC": block_C, "P_VEC": p_vector, "C_VEC": c_vector}
    tiles = triton.cdiv(pixels, block_P) * (1 if channels_last else B)
    return FlatBlocks(
        pixels=pixels,
        tiles=tiles,
        channel_blocks=triton.cdiv(C, block_C),
        constants={**constants, "LAST": channels_last},
    )


def norm_act(z: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
    """Return act(scale * z + shift), [B, C, H, W] in the dtype and layout of z.

    Args:
        z: [B, C, H, W].
        scale: [C].
        shift: [C].
        act: identity, relu, relu6 or silu.
    """
    last = is_channels_last(z)
    z = dense(z, last)
    a, b = empty(z, z.shape, last), flat_blocks(z.shape, z.element_size(), last)
    norm_act_fwd_kernel[(b.programs,)](
        z, scale, shift, a, *_units(b, z.shape[1]), ACT=act, **b.constants, **_OPTIONS
    )
    return a


def norm_act_reduce(
    da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inv_std: Tensor, act: str
) -> Tensor:
    """Return [2, C] float32: the sums of dpre and of dpre * zhat, the same bits in every run.

    Args:
        da: [B, C, H, W] gradient of act(scale * z + shift).
        z: [B, C, H, W].
        scale: [C].
        shift: [C].
        mean: [C] of zhat = (z - mean) * inv_std.
        inv_std: [C].
        act: identity, relu, relu6 or silu.
    """
    last = is_channels_last(z)
    da, z = dense(da, last), dense(z, last)
    b = flat_blocks(z.shape, z.element_size(), last)
    per_split = triton.cdiv(b.programs, PROGRAMS)
    splits = triton.cdiv(b.tiles, per_split)
    partial = torch.empty((splits, 2, z.shape[1]), dtype=torch.float32, device=z.device)
    norm_act_bwd_reduce_kernel[(splits * b.channel_blocks,)](
        da,
        z,
        scale,
        shift,
        mean,
        inv_std,
        partial,
        *_units(b, z.shape[1]),
        b.tiles,
        per_split,
        ACT=act,
        **b.constants,
        **_OPTIONS,
    )
    return split_sum(partial)


def norm_act_apply(
    da: Tensor,
    z: Tensor,
    scale: Tensor,
    shift: Tensor,
    p: Tensor,
    q: Tensor,
    r: Tensor,
    act: str,
) -> Tensor:
    """Return dz = dpre * p + z * q + r, [B, C, H, W] in the dtype and layout of z.

    Args:
        da: [B, C, H, W] gradient of act(scale * z + shift).
        z: [B, C, H, W].
        scale: [C].
        shift: [C].
        p: [C].
        q: [C].
        r: [C].
        act: identity, relu, relu6 or silu.
    """
    last = is_channels_last(z)
    da, z = dense(da, last), dense(z, last)
    dz, b = empty(z, z.shape, last), flat_blocks(z.shape, z.element_size(), last)
    norm_act_bwd_apply_kernel[(b.programs,)](
        da,
        z,
        scale,
        shift,
        p,
        q,
        r,
        dz,
        *_units(b, z.shape[1]),
        ACT=act,
        **b.constants,
        **_OPTIONS,
    )
    return dz


_OPTIONS = {"num_warps": 4, "enable_fp_fusion": FP_FUSION}


def _units(b: FlatBlocks, channels: int) -> tuple[int, int]:
    """Return pixels and channels in units of a memory access."""
    return b.pixels // b.constants["P_VEC"], channels // b.constants["C_VEC"]
