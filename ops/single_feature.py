"""One autograd function a convolution, which keeps the feature in front of its norm and no other.

A chain conv, norm, act, conv, norm, act... is cut in front of each norm instead of behind each
convolution. The feature z between the pieces is a raw convolution output; norm and activation are
computed twice, forward and backward, and what they give is never stored:

    z -> y = conv(act(norm(z)), W)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import traced
from .kernels import route
from .kernels.mixture import split_mixture
from .kernels.route import Affine, Geometry
from .parts import Conv, Norm
from .statistics import prepare, statistics_gradient, vector_gradients

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
    y: Tensor = _NormAct.apply(  # type: ignore[no-untyped-call]
        z_BCHW, norm.weight, norm.bias, norm.gain, norm, act
    )
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
        *(z, norm.weight, norm.bias, norm.gain),
        *(weight, bias, norm, act, conv.geometry, *conv.candidates),
    )
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
        *grads, shares = _conv_backward(ctx, grad, x, None, weight, candidates, needs)
        return (*grads, None, *shares)


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        gain: Tensor | None,
        norm: Norm,
        act: str,
    ) -> Tensor:
        return route.norm_act(z, prepare(ctx, z, norm, act))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, *norm, mean, invstd, scale, shift = ctx.saved_tensors
        affine = Affine(scale=scale, shift=shift, act=ctx.act)
        return (*_norm_backward(ctx, grad, z, affine, norm, mean, invstd), None, None)


class _NormActConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        norm_weight: Tensor | None,
        norm_bias: Tensor | None,
        gain: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        norm: Norm,
        act: str,
        at: Geometry,
        *candidates: Tensor,
    ) -> Tensor:
        affine = prepare(ctx, z, norm, act, weight, *candidates)
        ctx.geometry = at
        return route.conv(z, affine, weight, bias, at)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, *norm, mean, invstd, scale, shift, weight = (saved := ctx.saved_tensors)[:9]
        affine = Affine(scale=scale, shift=shift, act=ctx.act)
        needs = ctx.needs_input_grad
        needs_conv = (any(needs[:4]), needs[4], needs[5])
        da, dw, db, shares = _conv_backward(ctx, grad, z, affine, weight, saved[9:], needs_conv)
        dz: tuple[Tensor | None, ...] = (None,) * 4
        if da is not None:
            dz = _norm_backward(ctx, da, z, affine, norm, mean, invstd, owns_da=True)
        return (*dz, dw, db, None, None, None, *shares)


def _conv_backward(
    ctx: Any,
    grad: Tensor,
    x: Tensor,
    affine: Affine | None,
    weight: Tensor,
    candidates: Sequence[Tensor],
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Sequence[Tensor | None]]:
    """Return the gradients of the activated input, weight and bias, and of the candidates."""
    at = ctx.geometry
    wanted = ctx.needs_input_grad[len(ctx.needs_input_grad) - len(candidates) :]
    if not any(wanted):
        return *route.conv_backward(grad, x, affine, weight, at, needs), (None,) * len(wanted)
    probs, *kernels = candidates
    needs_x, _, needs_bias = needs
    shares: Sequence[Tensor | None]
    if route.takes_mixture(weight, at):
        shares = route.mixture_backward(grad, x, affine, kernels, probs, at)
        needs = (needs_x, False, needs_bias)
        return *route.conv_backward(grad, x, affine, weight, at, needs), shares
    needs = (needs_x, True, needs_bias)
    da, dw, db = route.conv_backward(grad, x, affine, weight, at, needs)
    assert dw is not None
    return da, None, db, split_mixture(dw, kernels, probs, wanted)


def _norm_backward(
    ctx: Any,
    da: Tensor,
    z: Tensor,
    affine: Affine,
    norm: Sequence[Tensor | None],
    mean: Tensor,
    invstd: Tensor,
    *,
    owns_da: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of z, weight, bias and gain from that of act(norm(z)).

    Args:
        norm: weight, bias and gain.
        owns_da: whether the gradient of act(norm(z)) may be overwritten.
    """
    needs_z, *needs = ctx.needs_input_grad[:4]
    sum_1 = sum_z = mean
    vectors: tuple[Tensor | None, ...] = (None,) * 3
    if ctx.count or any(needs):
        sum_1, sum_z = route.norm_act_sums(da, z, affine, mean, invstd)
        vectors = vector_gradients(norm, needs, sum_1, sum_z)
    if not needs_z:
        return None, *vectors
    q, r = statistics_gradient(ctx, affine, mean, invstd, sum_1, sum_z)
    return route.norm_act_backward(da, z, affine, q, r, owns_da=owns_da), *vectors
