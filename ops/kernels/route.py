"""Sends each pass of the single-feature operator to the fastest kernel for its tensors.

The operators see this router and the sums of `mixture` alone, nothing of `cpu` and `cuda`.

On the CPU the compiled kernels run float32 features. What they do not take, and everything on
CUDA, goes through torch operators of nastk's own, which run what `dispatch` says: torch's kernels
or Triton's. All features of one call have one layout: that of the feature which the forward pass
kept. The end of a residual block has no other kernels than the compiled ones (`joins` tells).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from . import torch_passes
from .cpu import compiled, normalise
from .cpu.joining import join, join_backward_apply, join_backward_reduce, joins
from .cuda.depthwise import (
    depthwise_bwd_data,
    depthwise_bwd_mixture,
    depthwise_bwd_weight,
    depthwise_conv2d,
)
from .cuda.norm_act import norm_act as norm_act_operator
from .cuda.norm_act import norm_act_bwd_apply, norm_act_bwd_reduce
from .forced import forced
from .reads import Affine, Geometry

__all__ = [
    "Affine",
    "Geometry",
    "conv",
    "conv_backward",
    "depthwise_conv2d",
    "describe",
    "dispatches",
    "has_kernels",
    "join",
    "join_backward_apply",
    "join_backward_reduce",
    "joins",
    "like",
    "mixture_backward",
    "moments",
    "norm_act",
    "norm_act_backward",
    "norm_act_operator",
    "norm_act_sums",
    "takes_mixture",
    "uses_operators",
]

# B batch, C channels, H height, W width, O output channels, I input channels of a group, K kernel


# Below so many positions a matrix product beats oneDNN's pointwise backward pass (measured at 4 px
# and 2 px, batch 32: 0.7 to 0.85 of its time; equal or slower from 8 px on).
_FEW_ROWS = 512


def has_kernels(device: torch.device) -> bool:
    """Tell whether kernels of nastk's own run on a device; plain torch runs everywhere."""
    return device.type == "cpu" and compiled.available()


def describe() -> str:
    """Return in a word which kernels run on the CPU."""
    return compiled.isa() if compiled.available() else "torch"


def moments(z_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C]."""
    if compiled.supports(z_BCHW):
        return normalise.channel_moments(z_BCHW)
    return torch_passes.channel_moments(z_BCHW)


def norm_act(z_BCHW: Tensor, affine: Affine) -> Tensor:
    """Return act(scale * z + shift) [B, C, H, W]."""
    if compiled.supports(z_BCHW):
        return normalise.norm_act(z_BCHW, affine.scale, affine.shift, affine.act)
    return norm_act_operator(z_BCHW, affine.scale, affine.shift, affine.act)


def norm_act_sums(
    da_BCHW: Tensor, z_BCHW: Tensor, affine: Affine, mean_C: Tensor, invstd_C: Tensor
) -> tuple[Tensor, Tensor]:
    """Return two [C]: sums of d = da * act'(scale * z + shift), and of d * normalised z."""
    if compiled.supports(z_BCHW):
        da = like(da_BCHW, z_BCHW)
        return normalise.norm_act_backward_reduce(
            da, z_BCHW, affine.scale, affine.shift, mean_C, invstd_C, affine.act
        )
    scale, shift, act = affine.scale, affine.shift, affine.act
    sums = norm_act_bwd_reduce(da_BCHW, z_BCHW, scale, shift, mean_C, invstd_C, act)
    return sums[0], sums[1]


def norm_act_backward(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    affine: Affine,
    q_C: Tensor,
    r_C: Tensor,
    *,
    owns_da: bool = False,
) -> Tensor:
    """Return scale * d + q * z + r [B, C, H, W], with d as in `norm_act_sums`.

    With `owns_da` the result may be written over `da_BCHW`.
    """
    scale, shift, act = affine.scale, affine.shift, affine.act
    if compiled.supports(z_BCHW):
        da = like(da_BCHW, z_BCHW)
        return normalise.norm_act_backward_apply(
            da, z_BCHW, scale, shift, scale, q_C, r_C, act, out=da if owns_da else None
        )
    return norm_act_bwd_apply(da_BCHW, z_BCHW, scale, shift, scale, q_C, r_C, act)


def conv(
    x_BCHW: Tensor, affine: Affine | None, weight: Tensor, bias: Tensor | None, at: Geometry
) -> Tensor:
    """Return the convolution of act(scale * x + shift), or of x where `affine` is None."""
    if bias is None and _prefers_compiled("forward", x_BCHW, weight, at):
        return compiled.depthwise_forward(x_BCHW, weight, at.stride, fused=_fused(affine))
    if bias is None and dispatches(x_BCHW, weight, at):
        return depthwise_conv2d(x_BCHW, weight, at.stride, *(_fused(affine) or ()))
    a = x_BCHW if affine is None else norm_act(x_BCHW, affine)
    return F.conv2d(a, weight, bias, at.stride, at.padding, at.dilation, at.groups)


def conv_backward(
    grad_BOHW: Tensor,
    x_BCHW: Tensor,
    affine: Affine | None,
    weight: Tensor,
    at: Geometry,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of the activated input, of the weight and of the bias.

    Args:
        grad_BOHW: of the output.
        x_BCHW: the feature in front of `affine`.
        affine: what the convolution read x through, or None.
        weight: [O, I, K, K].
        at: geometry.
        needs: which of the three are wanted.
    """
    grad_BOHW = like(grad_BOHW, x_BCHW)
    if _is_small_pointwise(x_BCHW, weight, at, needs):
        a = x_BCHW if affine is None else norm_act(x_BCHW, affine)
        return _pointwise_backward(grad_BOHW, a, weight)
    needs_x, needs_weight, needs_bias = needs
    dx = dw = None
    size = weight.shape[-1]
    if not needs_bias and dispatches(x_BCHW, weight, at):
        if needs_x:
            height, width = x_BCHW.shape[2:]
            dx = depthwise_bwd_data(grad_BOHW, weight, height, width, at.stride)
        if needs_weight:
            fused = _fused(affine) or ()
            dw = depthwise_bwd_weight(x_BCHW, grad_BOHW, size, at.stride, *fused).to(weight)
        return dx, dw, None
    if needs_weight and _prefers_compiled("weight", x_BCHW, weight, at):
        dw = compiled.depthwise_backward_weight(
            x_BCHW, grad_BOHW, size, at.stride, fused=_fused(affine)
        )
        needs_weight = False
    if needs_x and _prefers_compiled("data", x_BCHW, weight, at):
        height, width = x_BCHW.shape[2:]
        dx = compiled.depthwise_backward_data(grad_BOHW, weight, height, width, at.stride)
        needs_x = False
    if not (needs_x or needs_weight or needs_bias):
        return dx, dw, None
    # Only the gradient of the weight reads the values of the activated input.
    a = norm_act(x_BCHW, affine) if affine is not None and needs_weight else x_BCHW
    rest = torch.ops.aten.convolution_backward(
        grad_BOHW,
        a,
        weight,
        [weight.shape[0]] if needs_bias else None,
        [at.stride] * 2,
        [at.padding] * 2,
        [at.dilation] * 2,
        False,
        [0, 0],
        at.groups,
        [needs_x, needs_weight, needs_bias],
    )
    return dx if rest[0] is None else rest[0], dw if rest[1] is None else rest[1], rest[2]


def mixture_backward(
    grad_BOHW: Tensor,
    x_BCHW: Tensor,
    affine: Affine | None,
    kernels: Sequence[Tensor],
    probs: Tensor,
    at: Geometry,
) -> tuple[Tensor, ...]:
    """Return the gradients of a mixture [N] or [O, N] and of its depthwise kernels.

    The convolution is one that `takes_mixture`; the other arguments are those of `conv_backward`.
    """
    grad_BOHW, fused = like(grad_BOHW, x_BCHW), _fused(affine) or ()
    return depthwise_bwd_mixture(x_BCHW, grad_BOHW, kernels, probs, at.stride, *fused)


def uses_operators(device: torch.device) -> bool:
    """Tell whether passes run as torch operators of nastk's own, which a compiler can trace.

    That is so on CUDA, and where NASTK_KERNELS asks for definitions or Triton.
    """
    return device.type == "cuda" or forced() in ("definition", "triton")


def dispatches(x: Tensor, weight: Tensor, at: Geometry) -> bool:
    """Tell whether the operators know a convolution and serve its device."""
    return uses_operators(x.device) and _is_known(weight, at) and _is_depthwise(x, weight, at)


def takes_mixture(weight: Tensor, at: Geometry) -> bool:
    """Tell whether `mixture_backward` serves a convolution with this weight [O, I, K, K]."""
    return uses_operators(weight.device) and at.groups == weight.shape[0] and _is_known(weight, at)


def _is_known(weight: Tensor, at: Geometry) -> bool:
    sizes = at.stride in (1, 2) and at.dilation == 1 and weight.shape[-1] in range(1, 12, 2)
    return sizes and at.padding == weight.shape[-1] // 2


def _is_depthwise(x: Tensor, weight: Tensor, at: Geometry) -> bool:
    return at.groups == x.shape[1] == weight.shape[0] and at.padding == weight.shape[-1] // 2


def _prefers_compiled(name: str, x: Tensor, weight: Tensor, at: Geometry) -> bool:
    """Tell whether the compiled kernel of a depthwise pass runs, and faster than torch's."""
    size = weight.shape[-1]
    return (
        _is_depthwise(x, weight, at)
        and weight.dtype == torch.float32
        and compiled.supports(x, size=size, stride=at.stride, dilation=at.dilation)
        and compiled.prefers(name, x, size, at.stride)
    )


def _fused(affine: Affine | None) -> compiled.Fused | None:
    return None if affine is None else (affine.scale, affine.shift, affine.act)


def _is_small_pointwise(
    x: Tensor, weight: Tensor, at: Geometry, needs: tuple[bool, bool, bool]
) -> bool:
    """Tell whether two matrix products are faster than the convolution's own backward pass."""
    is_pointwise = weight.shape[-2:] == (1, 1) and at == Geometry(
        stride=1, padding=0, dilation=1, groups=1
    )
    return (
        is_pointwise
        and needs == (True, True, False)
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() // x.shape[1] <= _FEW_ROWS
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def _pointwise_backward(
    grad_BOHW: Tensor, a_BCHW: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, None]:
    B, outputs, H, W = grad_BOHW.shape
    rows = grad_BOHW.permute(0, 2, 3, 1).reshape(-1, outputs)
    inputs = a_BCHW.permute(0, 2, 3, 1).reshape(-1, a_BCHW.shape[1])
    matrix = weight.flatten(1)
    dx = (rows @ matrix).reshape(B, H, W, -1).permute(0, 3, 1, 2)
    return dx, (rows.t() @ inputs).reshape(weight.shape), None


def like(other: Tensor, x: Tensor) -> Tensor:
    """Return a feature in the layout of another."""
    is_last = x.is_contiguous(memory_format=torch.channels_last)
    return other.contiguous(
        memory_format=torch.channels_last if is_last else torch.contiguous_format
    )
