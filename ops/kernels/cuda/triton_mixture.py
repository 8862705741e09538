"""The gradients of mixed depthwise kernels in Triton: partial sums become every candidate's share.

The folded kernel is W = sum_n p_n pad(W_n), so that dW_n = p_n crop(dW) and dp_n = <crop(dW), W_n>.
The sum over the splits of the weight gradient and its distribution are one kernel; the folded
gradient dW itself is never written. Compiled ahead of time and interpreted, not timed yet.
"""

# The bodies of kernels are Triton, a language without type hints.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import vector_size
from .triton_depthwise_weight import partial_sums
from .triton_tile import FP_FUSION

# C channels, K largest kernel size, N candidates

BLOCK_CHANNELS = 64
BLOCK_SPLITS = 16


# One program sums one tap of BLOCK_C channels over all splits, always in the same order, and
# writes for each candidate whose crop holds the tap its gradient, and the tap's part of dp_n.
@triton.jit
def mixture_bwd_kernel(
    partial_ptr,
    kernels_ptr,
    probs_ptr,
    split_ptr,
    product_ptr,
    splits,
    chan_units,
    K: tl.constexpr,
    SIZES: tl.constexpr,
    PER_ROW: tl.constexpr,
    VEC: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write split = p_n * crop(dW), candidates in a row, and product[tap, n, c] = dW * W_n."""
    N: tl.constexpr = len(SIZES)
    C = chan_units * VEC
    tap = tl.program_id(1)
    chan_C = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    s = tl.arange(0, BLOCK_S)
    acc = tl.zeros((BLOCK_S, BLOCK_C), tl.float32)
    for start in range(0, splits, BLOCK_S):
        row_S = start + s
        mask = (row_S < splits)[:, None] & (chan_C < C)[None, :]
        offsets_S = (row_S.to(tl.int64) * (K * K) + tap) * C
        acc += tl.load(partial_ptr + offsets_S[:, None] + chan_C[None, :], mask=mask, other=0.0)
    total_C = tl.sum(acc, 0)
    before = 0  # taps of the candidates in front of this one
    for n in tl.static_range(N):
        size = SIZES[n]
        row_C = tl.zeros_like(chan_C) + tap // K - (K - size) // 2
        col_C = tl.zeros_like(chan_C) + tap % K - (K - size) // 2
        inside_C = (row_C >= 0) & (row_C < size) & (col_C >= 0) & (col_C < size) & (chan_C < C)
        at_C = before * C + chan_C.to(tl.int64) * (size * size) + row_C * size + col_C
        w_C = tl.load(kernels_ptr + at_C, mask=inside_C, other=0.0).to(tl.float32)
        prob_C = chan_C.to(tl.int64) * N + n if PER_ROW else tl.zeros_like(chan_C) + n
        p_C = tl.load(probs_ptr + prob_C, mask=chan_C < C, other=0.0).to(tl.float32)
        tl.store(split_ptr + at_C, p_C * total_C, mask=inside_C)
        product_C = tl.where(inside_C, w_C * total_C, 0.0)
        tl.store(product_ptr + (tap * N + n) * C + chan_C, product_C, mask=chan_C < C)
        before += size * size


def backward_mixture(
    x: Tensor,
    dy: Tensor,
    kernels: Sequence[Tensor],
    probs: Tensor,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the mixture and of its candidates, the same bits in every run.

    Args:
        x: [B, C, H, W] input of the forward pass.
        dy: [B, C, H', W'] gradient of the output.
        kernels: N tensors [C, 1, K_n, K_n].
        probs: [N] or [C, N].
        stride: of the forward pass.
        scale: [C], or None if x was taken as it is.
        shift: [C], given with `scale`.
        act: identity, relu, relu6 or silu.

    Returns:
        Gradient of `probs` in its shape, and those of all kernels one behind the other, float32.
    """
    sizes = tuple(kernel.shape[-1] for kernel in kernels)
    K, N, C = max(sizes), len(sizes), x.shape[1]
    partial = partial_sums(x, dy, K, stride, scale, shift, act)
    flat = torch.cat([kernel.reshape(-1) for kernel in kernels])
    split = torch.empty(flat.shape, dtype=torch.float32, device=x.device)
    product = torch.empty((K * K, N, C), dtype=torch.float32, device=x.device)
    vector = vector_size(C, 4)
    mixture_bwd_kernel[(triton.cdiv(C, BLOCK_CHANNELS), K * K)](
        partial,
        flat,
        probs.contiguous(),
        split,
        product,
        partial.shape[0],
        C // vector,
        K=K,
        SIZES=sizes,
        PER_ROW=probs.dim() == 2,
        VEC=vector,
        BLOCK_S=BLOCK_SPLITS,
        BLOCK_C=BLOCK_CHANNELS,
        num_warps=4,
        enable_fp_fusion=FP_FUSION,
    )
    if probs.dim() == 1:
        return product.sum((0, 2)), split
    return product.sum(0).t().contiguous(), split
