"""Depthwise convolution and its input gradient in Triton, blocked over rows in registers.

A program walks over kernel columns in a loop and unrolls kernel rows, the axis along which its
output rows lie: one loaded input row then serves every output row that it reaches, and a kernel
column is loaded once for all of them. Unrolling both axes would spill.
Channels-last features are read and written in vectors. In contiguous ones a tap shifts the columns,
so they are read in single elements side by side; where 16 divides the width, outputs are vectors.
Registers and memory accesses were checked by compiling ahead of time; nothing has been timed yet.
"""

# The bodies of kernels are Triton, a language without type hints.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..layout import dense, empty, is_channels_last, output_size
from .blocks import Blocks, depthwise_blocks
from .triton_tile import FP_FUSION, load_channels, load_tile, tile_mask, tile_offsets

# B batch, C channels, H height, W width, K kernel size, R output rows of a program


@triton.jit
def program_position(rows, cols, C, R: tl.constexpr, BW: tl.constexpr, BC: tl.constexpr, axis):
    """Return (image, first row, first column, first channel); channels run fastest."""
    pid = tl.program_id(axis)
    blocks_C = tl.cdiv(C, BC)
    blocks_W = tl.cdiv(cols, BW)
    blocks_H = tl.cdiv(rows, R)
    chan = pid % blocks_C * BC
    pid = pid // blocks_C
    col = pid % blocks_W * BW
    pid = pid // blocks_W
    return pid // blocks_H, pid % blocks_H * R, col, chan


# One program computes R output rows x BW columns x BC channels of one image: for each kernel
# column it loads the input rows it needs once, and adds each to every output row it reaches.
@triton.jit
def depthwise_fwd_kernel(
    x_ptr,
    w_ptr,
    scale_ptr,
    shift_ptr,
    y_ptr,
    H,
    W,
    OH,
    OW,
    chan_units,
    K: tl.constexpr,
    S: tl.constexpr,
    R: tl.constexpr,
    BW: tl.constexpr,
    BC: tl.constexpr,
    VEC: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    FUSED: tl.constexpr,
    ACT: tl.constexpr,
):
    """Write y = depthwise(act(scale * x + shift), w)."""
    C = chan_units * VEC  # tells the compiler that pixels are VEC elements apart
    image, row, col, chan = program_position(OH, OW, C, R, BW, BC, 0)
    chan_C = chan + tl.arange(0, BC)
    col_W = col + tl.arange(0, BW)
    x_ptr += image.to(tl.int64) * H * W * C
    y_ptr += image.to(tl.int64) * OH * OW * C
    scale_C = load_channels(scale_ptr, chan_C, C, FUSED)
    shift_C = load_channels(shift_ptr, chan_C, C, FUSED)
    acc = ()
    for _j in tl.static_range(R):
        acc = acc + (tl.zeros((BW, BC), tl.float32),)  # noqa: RUF005
    for kw in range(K):
        taps = ()
        for kh in tl.static_range(K):
            w_C = tl.load(w_ptr + (kh * K + kw) * C + chan_C, mask=chan_C < C, other=0.0)
            taps = taps + (w_C.to(tl.float32),)  # noqa: RUF005
        in_W = col_W * S + kw - K // 2
        for r in tl.static_range((R - 1) * S + K):
            in_row = row * S + r - K // 2
            x = load_tile(
                x_ptr, in_row, in_W, chan_C, scale_C, shift_C, H, W, C, CHANNELS_LAST, FUSED, ACT
            )
            new = ()
            for j in tl.static_range(R):
                if r >= j * S and r < j * S + K:
                    new = new + (acc[j] + x * taps[r - j * S][None, :],)  # noqa: RUF005
                else:
                    new = new + (acc[j],)  # noqa: RUF005
            acc = new
    for j in tl.static_range(R):
        offsets = tile_offsets(row + j, col_W, chan_C, OH, OW, C, CHANNELS_LAST)
        mask = tile_mask(row + j, col_W, chan_C, OH, OW, C)
        tl.store(y_ptr + offsets, acc[j].to(y_ptr.dtype.element_ty), mask=mask)


# One program computes R x BW input pixels of one phase (row and column modulo the stride) x BC
# channels: the taps that meet the phase form a smaller kernel, run over dy at stride 1.
@triton.jit
def depthwise_bwd_data_kernel(
    dy_ptr,
    w_ptr,
    dx_ptr,
    H,
    W,
    OH,
    OW,
    chan_units,
    K: tl.constexpr,
    S: tl.constexpr,
    R: tl.constexpr,
    BW: tl.constexpr,
    BC: tl.constexpr,
    VEC: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
):
    """Write dx, the gradient of the convolution's input."""
    T: tl.constexpr = (K + S - 1) // S  # most kernel rows of a phase
    C = chan_units * VEC
    rows = tl.cdiv(H, S)
    cols = tl.cdiv(W, S)
    image, row, col, chan = program_position(rows, cols, C, R, BW, BC, 0)
    phase_H = tl.program_id(1) // S
    phase_W = tl.program_id(1) % S
    first_H = (phase_H + K // 2) % S  # the first kernel row that meets the phase
    first_W = (phase_W + K // 2) % S
    chan_C = chan + tl.arange(0, BC)
    col_W = col + tl.arange(0, BW)
    none_C = tl.zeros((BC,), tl.float32)
    dy_ptr += image.to(tl.int64) * OH * OW * C
    dx_ptr += image.to(tl.int64) * H * W * C
    acc = ()
    for _j in tl.static_range(R):
        acc = acc + (tl.zeros((BW, BC), tl.float32),)  # noqa: RUF005
    for kw in range(first_W, K, S):
        taps = ()
        for t in tl.static_range(T):
            kh_C = tl.zeros_like(chan_C) + first_H + t * S
            mask_C = (chan_C < C) & (kh_C < K)
            w_C = tl.load(w_ptr + (kh_C * K + kw) * C + chan_C, mask=mask_C, other=0.0)
            taps = taps + (w_C.to(tl.float32),)  # noqa: RUF005
        out_W = col_W + (phase_W + K // 2 - kw) // S
        for r in tl.static_range(R - 1 + T):
            out_row = row + (phase_H + K // 2 - first_H) // S - (T - 1) + r
            dy = load_tile(
                dy_ptr, out_row, out_W, chan_C, none_C, none_C, OH, OW, C, CHANNELS_LAST, False, ""
            )
            new = ()
            for j in tl.static_range(R):
                if r >= j and r < j + T:
                    new = new + (acc[j] + dy * taps[j + T - 1 - r][None, :],)  # noqa: RUF005
                else:
                    new = new + (acc[j],)  # noqa: RUF005
            acc = new
    in_W = col_W * S + phase_W
    for j in tl.static_range(R):
        in_row = (row + j) * S + phase_H
        offsets = tile_offsets(in_row, in_W, chan_C, H, W, C, CHANNELS_LAST)
        mask = tile_mask(in_row, in_W, chan_C, H, W, C)
        tl.store(dx_ptr + offsets, acc[j].to(dx_ptr.dtype.element_ty), mask=mask)


def forward(
    x: Tensor,
    weight: Tensor,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
    blocks: Blocks | None = None,
) -> Tensor:
    """Return the depthwise convolution of act(scale * x + shift).

    Args:
        x: [B, C, H, W]; its layout is the output's.
        weight: [C, 1, K, K].
        stride: of the output.
        scale: [C], or None for x as it is.
        shift: [C], given with `scale`.
        act: identity, relu, relu6 or silu.
        blocks: the tile, or None for the default.

    Returns:
        [B, C, H', W'] in the dtype of x.
    """
    channels_last = is_channels_last(x)
    x = dense(x, channels_last)
    B, C, H, W = x.shape
    OH, OW = output_size(H, stride), output_size(W, stride)
    y = empty(x, (B, C, OH, OW), channels_last)
    b = blocks or _blocks(x, weight, OW, stride)
    grid = (B * triton.cdiv(OH, b.rows) * triton.cdiv(OW, b.width) * triton.cdiv(C, b.channels),)
    depthwise_fwd_kernel[grid](
        x,
        columns_of(weight),
        x if scale is None else scale,
        x if shift is None else shift,
        y,
        H,
        W,
        OH,
        OW,
        C // b.vector,
        K=weight.shape[-1],
        S=stride,
        R=b.rows,
        BW=b.width,
        BC=b.channels,
        VEC=b.vector,
        CHANNELS_LAST=channels_last,
        FUSED=scale is not None,
        ACT=act,
        num_warps=b.num_warps,
        maxnreg=b.max_registers,
        enable_fp_fusion=FP_FUSION,
    )
    return y


def backward_data(
    dy: Tensor,
    weight: Tensor,
    height: int,
    width: int,
    stride: int,
    blocks: Blocks | None = None,
) -> Tensor:
    """Return the gradient of the convolution's input.

    Args:
        dy: [B, C, H', W'] gradient of the output; its layout is the result's.
        weight: [C, 1, K, K].
        height: H, rows of the input.
        width: W, columns of the input.
        stride: of the forward pass.
        blocks: the tile, or None for the default.

    Returns:
        [B, C, H, W] in the dtype of dy.
    """
    channels_last = is_channels_last(dy)
    dy = dense(dy, channels_last)
    B, C, OH, OW = dy.shape
    dx = empty(dy, (B, C, height, width), channels_last)
    rows, cols = triton.cdiv(height, stride), triton.cdiv(width, stride)
    b = blocks or _blocks(dx, weight, cols, stride)
    grid = (
        B * triton.cdiv(rows, b.rows) * triton.cdiv(cols, b.width) * triton.cdiv(C, b.channels),
        stride * stride,
    )
    depthwise_bwd_data_kernel[grid](
        dy,
        columns_of(weight),
        dx,
        height,
        width,
        OH,
        OW,
        C // b.vector,
        K=weight.shape[-1],
        S=stride,
        R=b.rows,
        BW=b.width,
        BC=b.channels,
        VEC=b.vector,
        CHANNELS_LAST=channels_last,
        num_warps=b.num_warps,
        maxnreg=b.max_registers,
        enable_fp_fusion=FP_FUSION,
    )
    return dx


def _blocks(x: Tensor, weight: Tensor, width: int, stride: int) -> Blocks:
    layout, kernel = is_channels_last(x), weight.shape[-1]
    return depthwise_blocks(x.shape[1], width, x.element_size(), layout, kernel, stride)


def columns_of(weight: Tensor) -> Tensor:
    """Return [K * K, C]: a tap of neighbouring channels side by side."""
    return weight.flatten(1).t().contiguous()
