"""The weight gradient of depthwise convolution in Triton, by partial sums in a fixed order."""

# The bodies of kernels are Triton, a language without type hints.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..layout import dense, is_channels_last
from .blocks import Blocks, row_blocks_per_split, weight_blocks
from .triton_tile import FP_FUSION, load_channels, load_tile, split_sum

# B batch, C channels, H height, W width, K kernel size, R output rows loaded at a time


# One program sums the gradient of all K x K taps of BC channels over one split, a few blocks of R
# output rows: a loop over kernel columns holds the K sums of one column in registers.
@triton.jit
def depthwise_bwd_weight_kernel(
    x_ptr,
    dy_ptr,
    scale_ptr,
    shift_ptr,
    partial_ptr,
    H,
    W,
    OH,
    OW,
    chan_units,
    row_blocks,
    blocks_per_split,
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
    """Write partial[split, kh, kw, c] = sum of dy * act(scale * x + shift) over the split."""
    C = chan_units * VEC
    blocks_C = tl.cdiv(C, BC)
    blocks_W = tl.cdiv(OW, BW)
    blocks_H = tl.cdiv(OH, R)
    split = tl.program_id(0) // blocks_C
    chan_C = tl.program_id(0) % blocks_C * BC + tl.arange(0, BC)
    none_C = tl.zeros((BC,), tl.float32)
    scale_C = load_channels(scale_ptr, chan_C, C, FUSED)
    shift_C = load_channels(shift_ptr, chan_C, C, FUSED)
    first = split * blocks_per_split
    last = tl.minimum(first + blocks_per_split, row_blocks)
    partial_ptr += split.to(tl.int64) * (K * K) * C
    for kw in range(K):
        acc = ()
        for _kh in tl.static_range(K):
            acc = acc + (tl.zeros((BW, BC), tl.float32),)  # noqa: RUF005
        for step in range(first * blocks_W, last * blocks_W):
            block = step // blocks_W
            col_W = step % blocks_W * BW + tl.arange(0, BW)
            in_W = col_W * S + kw - K // 2
            row = block % blocks_H * R
            image = (block // blocks_H).to(tl.int64)
            grads = ()
            for j in tl.static_range(R):
                dy = load_tile(
                    dy_ptr + image * OH * OW * C,
                    row + j,
                    col_W,
                    chan_C,
                    none_C,
                    none_C,
                    OH,
                    OW,
                    C,
                    CHANNELS_LAST,
                    False,
                    "",
                )
                grads = grads + (dy,)  # noqa: RUF005
            for r in tl.static_range((R - 1) * S + K):
                x = load_tile(
                    x_ptr + image * H * W * C,
                    row * S + r - K // 2,
                    in_W,
                    chan_C,
                    scale_C,
                    shift_C,
                    H,
                    W,
                    C,
                    CHANNELS_LAST,
                    FUSED,
                    ACT,
                )
                for j in tl.static_range(R):
                    new = ()
                    for kh in tl.static_range(K):
                        if r == j * S + kh:
                            new = new + (acc[kh] + x * grads[j],)  # noqa: RUF005
                        else:
                            new = new + (acc[kh],)  # noqa: RUF005
                    acc = new
        for kh in tl.static_range(K):
            offsets_C = (kh * K + kw) * C + chan_C
            tl.store(partial_ptr + offsets_C, tl.sum(acc[kh], 0), mask=chan_C < C)


def backward_weight(
    x: Tensor,
    dy: Tensor,
    kernel: int,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
    blocks: Blocks | None = None,
) -> Tensor:
    """Return the gradient of the kernel, the same bits in every run.

    Args:
        x: [B, C, H, W] input of the forward pass.
        dy: [B, C, H', W'] gradient of the output, brought into the layout of x.
        kernel: K.
        stride: of the forward pass.
        scale: [C], or None if x was taken as it is.
        shift: [C], given with `scale`.
        act: identity, relu, relu6 or silu.
        blocks: the tile, or None for the default.

    Returns:
        [C, 1, K, K] float32.
    """
    partial = partial_sums(x, dy, kernel, stride, scale, shift, act, blocks)
    return split_sum(partial).permute(2, 0, 1).unsqueeze(1).contiguous()


def partial_sums(
    x: Tensor,
    dy: Tensor,
    kernel: int,
    stride: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
    blocks: Blocks | None = None,
) -> Tensor:
    """Return [S, K, K, C] float32, the gradient in S parts; arguments as in `backward_weight`."""
    channels_last = is_channels_last(x)
    x, dy = dense(x, channels_last), dense(dy, channels_last)
    B, C, OH, OW = dy.shape
    b = blocks or weight_blocks(C, OW, x.element_size(), channels_last, kernel, stride)
    row_blocks = B * triton.cdiv(OH, b.rows)
    per_split = row_blocks_per_split(B, C, OH, OW, kernel, b)
    splits = triton.cdiv(row_blocks, per_split)
    partial = torch.empty((splits, kernel, kernel, C), dtype=torch.float32, device=x.device)
    depthwise_bwd_weight_kernel[(splits * triton.cdiv(C, b.channels),)](
        x,
        dy,
        x if scale is None else scale,
        x if shift is None else shift,
        partial,
        x.shape[2],
        x.shape[3],
        OH,
        OW,
        C // b.vector,
        row_blocks,
        per_split,
        K=kernel,
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
    return partial
