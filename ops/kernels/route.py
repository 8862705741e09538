"""Sends each pass of the single-feature operator to the fastest kernel for its tensors.

On the CPU the compiled kernels run float32 features; plain torch runs everything else. All
features of one call have one layout: that of the feature which the forward pass kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import definition, native, normalise

# B batch, C channels, H height, W width, O output channels, I input channels of a group, K kernel


@dataclass(frozen=True, kw_only=True)
class Affine:
    """act(scale * z + shift), applied to a feature while it is read.

    Attributes:
        scale: [C].
        shift: [C].
        act: `identity`, `relu`, `relu6` or `silu`.
    """

    scale: Tensor
    shift: Tensor
    act: str


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where a convolution reads, equal in height and width."""

    stride: int
    padding: int
    dilation: int
    groups: int


# Below so many positions a matrix product beats oneDNN's pointwise backward pass (measured at 4 px
# and 2 px, batch 32: 0.7 to 0.85 of its time; equal or slower from 8 px on).
_FEW_ROWS = 512


def has_kernels(device: torch.device) -> bool:
    """Tell whether kernels of nastk's own run on a device; plain torch runs everywhere."""
    return device.type == "cpu" and native.available()


def describe() -> str:
    """Return in a word which kernels run on the CPU."""
    return native.isa() if native.available() else "torch"


def moments(z_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C]."""
    if native.supports(z_BCHW):
        return normalise.channel_moments(z_BCHW)
    return definition.channel_moments(z_BCHW)


def norm_act(z_BCHW: Tensor, affine: Affine) -> Tensor:
    """Return act(scale * z + shift) [B, C, H, W]."""
    if native.supports(z_BCHW):
        return normalise.norm_act(z_BCHW, affine.scale, affine.shift, affine.act)
    return definition.norm_act(z_BCHW, affine.scale, affine.shift, affine.act)


def norm_act_sums(
    da_BCHW: Tensor, z_BCHW: Tensor, affine: Affine, mean_C: Tensor, invstd_C: Tensor
) -> tuple[Tensor, Tensor]:
    """Return two [C]: sums of d = da * act'(scale * z + shift), and of d * normalised z."""
    if native.supports(z_BCHW):
        da = _like(da_BCHW, z_BCHW)
        return normalise.norm_act_backward_reduce(
            da, z_BCHW, affine.scale, affine.shift, mean_C, invstd_C, affine.act
        )
    return definition.norm_act_backward_reduce(
        da_BCHW, z_BCHW, affine.scale, affine.shift, mean_C, invstd_C, affine.act
    )


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
    if native.supports(z_BCHW):
        da = _like(da_BCHW, z_BCHW)
        return normalise.norm_act_backward_apply(
            da, z_BCHW, scale, shift, scale, q_C, r_C, act, out=da if owns_da else None
        )
    return definition.norm_act_backward_apply(da_BCHW, z_BCHW, scale, shift, scale, q_C, r_C, act)


def conv(
    x_BCHW: Tensor, affine: Affine | None, weight: Tensor, bias: Tensor | None, at: Geometry
) -> Tensor:
    """Return the convolution of act(scale * x + shift), or of x where `affine` is None."""
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
    d_weight = None
    if needs[1] and _is_native_depthwise(x_BCHW, weight, at):
        grad_BOHW = _like(grad_BOHW, x_BCHW)
        fused = None if affine is None else (affine.scale, affine.shift, affine.act)
        size = weight.shape[-1]
        d_weight = native.depthwise_backward_weight(x_BCHW, grad_BOHW, size, at.stride, fused=fused)
        needs = (needs[0], False, needs[2])
    elif _is_small_pointwise(x_BCHW, weight, at, needs):
        a = x_BCHW if affine is None else norm_act(x_BCHW, affine)
        return _pointwise_backward(grad_BOHW, a, weight)
    # Only the gradient of the weight reads the activated input's values.
    a = x_BCHW if affine is None or not needs[1] else norm_act(x_BCHW, affine)
    bias_sizes = [weight.shape[0]] if needs[2] else None
    dx, dw, db = torch.ops.aten.convolution_backward(
        grad_BOHW,
        a,
        weight,
        bias_sizes,
        [at.stride] * 2,
        [at.padding] * 2,
        [at.dilation] * 2,
        False,
        [0, 0],
        at.groups,
        list(needs),
    )
    return dx, dw if d_weight is None else d_weight, db


def _is_native_depthwise(x: Tensor, weight: Tensor, at: Geometry) -> bool:
    size = weight.shape[-1]
    # oneDNN has a good kernel for size 3, unless the map is tiny.
    if size < 5 and x.shape[2] * x.shape[3] > 4:
        return False
    return (
        at.groups == x.shape[1] == weight.shape[0]
        and at.padding == size // 2
        and native.supports(x, size=size, stride=at.stride, dilation=at.dilation)
        and weight.dtype == torch.float32
    )


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


def _like(other: Tensor, x: Tensor) -> Tensor:
    """Return a feature in the layout of another."""
    is_last = x.is_contiguous(memory_format=torch.channels_last)
    return other.contiguous(
        memory_format=torch.channels_last if is_last else torch.contiguous_format
    )
