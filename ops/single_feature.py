"""One autograd function a convolution, which keeps the feature in front of its norm and no other.

A chain conv, norm, act, conv, norm, act... is cut in front of each norm instead of behind each
convolution. The feature z between the pieces is a raw convolution output; norm and activation are
computed twice, forward and backward, and what they give is never stored:

    z -> y = conv(act(norm(z)), W)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import traced
from .kernels import route
from .kernels.route import Affine, Geometry
from .parts import Conv, Norm
from .statistics import affine_of, follow, is_recomputing, moments

# B batch, C channels, H height, W width, O output channels, I input channels of a group, K kernel


def convolve(x_BCHW: Tensor, conv: Conv) -> Tensor:
    """Return the convolution of a feature as it is, [B, O, H', W']."""
    x, weight, bias = _cast(x_BCHW, conv)
    if torch.compiler.is_compiling():
        return traced.convolve(x, weight, bias, conv.geometry)
    y: Tensor = _Convolve.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, conv.geometry, *conv.candidates
    )
    return y


def norm_act(z_BCHW: Tensor, norm: Norm, act: str) -> Tensor:
    """Return act(norm(z)) [B, C, H, W], keeping z alone for the backward pass.

    Args:
        z_BCHW: the raw feature.
        norm: its normalisation.
        act: `identity`, `relu`, `relu6` or `silu`.
    """
    if torch.compiler.is_compiling():
        return traced.norm_act(z_BCHW, norm, act)
    y: Tensor = _NormAct.apply(z_BCHW, norm.weight, norm.bias, norm, act)  # type: ignore[no-untyped-call]
    return y


def norm_act_conv(z_BCHW: Tensor, norm: Norm, act: str, conv: Conv) -> Tensor:
    """Return conv(act(norm(z))) [B, O, H', W'], keeping z alone for the backward pass.

    Args:
        z_BCHW: the raw feature in front of the norm.
        norm: its normalisation.
        act: `identity`, `relu`, `relu6` or `silu`.
        conv: what consumes the activated feature.
    """
    z, weight, bias = _cast(z_BCHW, conv)
    if torch.compiler.is_compiling():
        return traced.norm_act_conv(z, norm, act, weight, bias, conv.geometry)
    y: Tensor = _NormActConv.apply(  # type: ignore[no-untyped-call]
        z, norm.weight, norm.bias, weight, bias, norm, act, conv.geometry, *conv.candidates
    )
    return y


def scale_channels(x_BCHW: Tensor, scale_C: Tensor) -> Tensor:
    """Return scale * x [B, C, H, W]; the gradient of the scale makes no feature of its own."""
    if torch.compiler.is_compiling():
        return x_BCHW * scale_C.reshape(1, -1, 1, 1)
    y: Tensor = _Scale.apply(x_BCHW, scale_C)  # type: ignore[no-untyped-call]
    return y


def _cast(x: Tensor, conv: Conv) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return feature, weight and bias in the type that autocast asks for."""
    if not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:
        return x, conv.weight, conv.bias
    dtype = torch.get_autocast_dtype(x.device.type)
    bias = None if conv.bias is None else conv.bias.to(dtype)
    return x.to(dtype), conv.weight.to(dtype), bias


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, at: Geometry, *candidates: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, weight, *candidates)
        ctx.geometry = at
        return route.conv(x, None, weight, bias, at)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *candidates = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        grads = route.conv_backward(grad, x, None, weight, ctx.geometry, needs)
        return (*grads, None, *_candidates_backward(ctx, grad, x, None, candidates))


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return route.norm_act(x, _scaling(scale))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, scale = ctx.saved_tensors
        dx = route.norm_act(grad, _scaling(scale)) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return dx, None
        zeros, ones = torch.zeros_like(scale), torch.ones_like(scale)
        # With mean 0 and deviation 1 the "normalised" x is x.
        _, d_scale = route.norm_act_sums(grad, x, _scaling(scale), zeros, ones)
        return dx, d_scale.to(scale)


def _scaling(scale: Tensor) -> Affine:
    return Affine(scale=scale, shift=torch.zeros_like(scale), act="identity")


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, weight: Tensor | None, bias: Tensor | None, norm: Norm, act: str
    ) -> Tensor:
        affine = _prepare(ctx, z, weight, bias, norm, act)
        return route.norm_act(z, affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, weight, bias, mean, invstd = ctx.saved_tensors
        return (*_norm_backward(ctx, grad, z, weight, bias, mean, invstd), None, None)


class _NormActConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        norm_weight: Tensor | None,
        norm_bias: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        norm: Norm,
        act: str,
        at: Geometry,
        *candidates: Tensor,
    ) -> Tensor:
        affine = _prepare(ctx, z, norm_weight, norm_bias, norm, act, weight, *candidates)
        ctx.geometry = at
        return route.conv(z, affine, weight, bias, at)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, norm_weight, norm_bias, mean, invstd, weight, *candidates = ctx.saved_tensors
        affine = affine_of(norm_weight, norm_bias, mean, invstd, ctx.act)
        needs = ctx.needs_input_grad
        needs_conv = (any(needs[:3]), needs[3], needs[4])
        da, dw, db = route.conv_backward(grad, z, affine, weight, ctx.geometry, needs_conv)
        shares = _candidates_backward(ctx, grad, z, affine, candidates)
        dz: tuple[Tensor | None, ...] = (None, None, None)
        if da is not None:
            dz = _norm_backward(ctx, da, z, norm_weight, norm_bias, mean, invstd, owns_da=True)
        return (*dz, dw, db, None, None, None, *shares)


def _candidates_backward(
    ctx: Any, grad: Tensor, x: Tensor, affine: Affine | None, candidates: list[Tensor]
) -> tuple[Tensor, ...]:
    """Return the gradients of a mixture's weights and kernels."""
    if not candidates:
        return ()
    probs, *kernels = candidates
    return route.mixture_backward(grad, x, affine, kernels, probs, ctx.geometry)


def _prepare(
    ctx: Any,
    z: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    norm: Norm,
    act: str,
    *more: Tensor,
) -> Affine:
    """Take the statistics, save what the backward pass needs and return the affine map."""
    if norm.uses_batch:
        mean, var, count = moments(z, norm)
        if not is_recomputing():
            follow(norm, mean, var, count)
    else:
        assert norm.running_mean is not None and norm.running_var is not None
        mean, var = norm.running_mean[norm.index], norm.running_var[norm.index]
        count = 0
    invstd = torch.rsqrt(var + norm.eps)
    ctx.save_for_backward(z, weight, bias, mean, invstd, *more)
    ctx.act, ctx.count, ctx.group = act, count, norm.group
    return affine_of(weight, bias, mean, invstd, act)


def _norm_backward(
    ctx: Any,
    da: Tensor,
    z: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    invstd: Tensor,
    *,
    owns_da: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of z, weight and bias from that of act(norm(z)).

    Args:
        owns_da: whether the gradient of act(norm(z)) may be overwritten.
    """
    affine = affine_of(weight, bias, mean, invstd, ctx.act)
    needs_z, needs_weight, needs_bias = ctx.needs_input_grad[:3]
    uses_batch = ctx.count > 0
    sum_1 = sum_z = mean.new_zeros(())
    if uses_batch or needs_weight or needs_bias:
        # Sums over positions of the gradient in front of the activation, and of its product with
        # the normalised feature: the gradients of bias and weight.
        sum_1, sum_z = route.norm_act_sums(da, z, affine, mean, invstd)
    d_weight = sum_z.to(weight) if weight is not None and needs_weight else None
    d_bias = sum_1.to(bias) if bias is not None and needs_bias else None
    if not needs_z:
        return None, d_weight, d_bias
    q = r = torch.zeros_like(mean)
    if uses_batch:
        if ctx.group is not None:
            both = torch.stack([sum_1, sum_z])
            torch.distributed.all_reduce(both, group=ctx.group)
            sum_1, sum_z = both[0], both[1]
        q = affine.scale * invstd * sum_z * (-1 / ctx.count)
        r = affine.scale * sum_1 * (-1 / ctx.count) - q * mean
    return route.norm_act_backward(da, z, affine, q, r, owns_da=owns_da), d_weight, d_bias
