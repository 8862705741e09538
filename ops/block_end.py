"""The end of a residual block as one autograd function: the last norm and the shortcut."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .kernels import route
from .kernels.route import Affine
from .parts import Norm
from .single_feature import norm_act
from .statistics import prepare, statistics_gradient, vector_gradients

# B batch, C channels, H height, W width


def join(z_BCHW: Tensor, norm: Norm, x_BCHW: Tensor, share_C: Tensor | None) -> Tensor:
    """Return norm(z) + share * x [B, C, H, W], keeping z and x alone for the backward pass.

    Args:
        z_BCHW: the raw feature in front of the last norm.
        norm: its normalisation, whose gain may be that of the branch.
        x_BCHW: what the shortcut brings.
        share_C: [C] how much of it passes, or None for all of it.
    """
    if torch.compiler.is_compiling() or not route.joins(z_BCHW, x_BCHW):
        return add_shortcut(norm_act(z_BCHW, norm, "identity"), x_BCHW, share_C)
    y: Tensor = _Join.apply(  # type: ignore[no-untyped-call]
        z_BCHW, norm.weight, norm.bias, norm.gain, x_BCHW, share_C, norm
    )
    return y


def add_shortcut(y: Tensor, x: Tensor, share_C: Tensor | None) -> Tensor:
    """Return y + share * x, the share one for each channel [C] or None."""
    return y + x if share_C is None else y + share_C.to(x).reshape(1, -1, 1, 1) * x


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gain: Tensor | None,
        x: Tensor,
        share: Tensor | None,
        norm: Norm,
    ) -> Tensor:
        # Nothing but the gradient of the share reads x.
        kept = x if ctx.needs_input_grad[5] else None
        affine = prepare(ctx, z, norm, "identity", kept, share)
        return route.join(z, affine.scale, affine.shift, x, share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, weight, bias, gain, mean, invstd, scale, shift, x, share = ctx.saved_tensors
        affine = Affine(scale=scale, shift=shift, act="identity")
        needs_z, *needs, needs_x, _, _ = ctx.needs_input_grad
        grad = route.like(grad, z)
        sum_1 = sum_z = mean
        d_share: Tensor | None = None
        vectors: tuple[Tensor | None, ...] = (None,) * 3
        if x is not None:
            sums = route.join_backward_reduce(grad, z, mean, invstd, x)
            sum_1, sum_z, d_share = sums[0], sums[1], sums[2].to(share)
        elif ctx.count or any(needs):
            sum_1, sum_z = route.norm_act_sums(grad, z, affine, mean, invstd)
        if x is not None or any(needs):
            vectors = vector_gradients((weight, bias, gain), needs, sum_1, sum_z)
        q, r = statistics_gradient(ctx, affine, mean, invstd, sum_1, sum_z)
        if share is not None and needs_z and needs_x:
            both = route.join_backward_apply(grad, z, affine.scale, q, r, share)
            return both[0], *vectors, both[1], d_share, None
        dz = route.norm_act_backward(grad, z, affine, q, r) if needs_z else None
        dx = grad if share is None else grad * share.reshape(1, -1, 1, 1)
        return dz, *vectors, dx if needs_x else None, d_share, None
