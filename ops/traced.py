"""The single-feature operator as a compiler sees it, by parts that it can differentiate itself.

`torch.compile` plans what is kept and what is computed again, so that only what it cannot see into
needs operators of nastk's own: depthwise convolutions, and norms with their activation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels.layout import wide
from .kernels.route import Affine, Geometry, depthwise_conv2d, dispatches
from .kernels.route import norm_act_operator as apply
from .parts import Norm
from .statistics import affine_of, check_count, follow


def norm_act(z_BCHW: Tensor, norm: Norm, act: str) -> Tensor:
    """Return act(norm(z)) [B, C, H, W]."""
    affine = _affine(z_BCHW, norm, act)
    return apply(z_BCHW, affine.scale, affine.shift, act)


def norm_act_conv(
    z_BCHW: Tensor, norm: Norm, act: str, weight: Tensor, bias: Tensor | None, at: Geometry
) -> Tensor:
    """Return conv(act(norm(z))) [B, O, H', W']."""
    affine = _affine(z_BCHW, norm, act)
    if bias is None and dispatches(z_BCHW, weight, at):
        return depthwise_conv2d(z_BCHW, weight, at.stride, affine.scale, affine.shift, act)
    a = apply(z_BCHW, affine.scale, affine.shift, act)
    return F.conv2d(a, weight, bias, at.stride, at.padding, at.dilation, at.groups)


def convolve(x_BCHW: Tensor, weight: Tensor, bias: Tensor | None, at: Geometry) -> Tensor:
    """Return the convolution [B, O, H', W'] of a feature as it is."""
    if bias is None and dispatches(x_BCHW, weight, at):
        return depthwise_conv2d(x_BCHW, weight, at.stride)
    return F.conv2d(x_BCHW, weight, bias, at.stride, at.padding, at.dilation, at.groups)


def _affine(z: Tensor, norm: Norm, act: str) -> Affine:
    """Return the map of norm and activation, after the running statistics have followed."""
    if norm.uses_batch:
        check_count(z)
        var, mean = torch.var_mean(wide(z), (0, 2, 3), correction=0)
        with torch.no_grad():
            follow(norm, mean.detach(), var.detach(), z.numel() // z.shape[1])
    else:
        assert norm.running_mean is not None and norm.running_var is not None
        mean, var = norm.running_mean[norm.index], norm.running_var[norm.index]
    invstd = torch.rsqrt(var + norm.eps)
    return affine_of(norm.weight, norm.bias, norm.gain, mean, invstd, act)
