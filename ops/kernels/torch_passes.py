"""Every pass by torch's own operators (cuDNN or torch's kernels, as torch decides)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..definition import ACTIVATIONS
from .layout import dense, is_channels_last, wide
from .mixture import split_mixture

# B batch, C channels, H height, W width, K kernel size


def forward(
    x: Tensor,
    weight: Tensor,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
) -> Tensor:
    """Return the depthwise convolution [B, C, H', W'] of act(scale * x + shift)."""
    if scale is not None and shift is not None:
        x = norm_act(x, scale, shift, act)
    channels, padding = weight.shape[0], weight.shape[-1] // 2
    y = torch.nn.functional.conv2d(x, weight.to(x.dtype), None, stride, padding, 1, channels)
    return dense(y, is_channels_last(x))


def backward_data(dy: Tensor, weight: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return the gradient [B, C, H, W] of the convolution's input."""
    x = dy.new_empty(()).expand(*dy.shape[:2], height, width)  # only its shape is read
    if is_channels_last(dy):
        x = torch.empty_like(x, memory_format=torch.channels_last)
    dx = _convolution_backward(dy, x, weight.to(dy.dtype), stride, (True, False, False))[0]
    return dense(dx, is_channels_last(dy))


def backward_weight(
    x: Tensor,
    dy: Tensor,
    kernel: int,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
) -> Tensor:
    """Return the gradient [C, 1, K, K] float32 of the kernel."""
    if scale is not None and shift is not None:
        x = norm_act(x, scale, shift, act)
    weight = x.new_empty(x.shape[1], 1, kernel, kernel)
    dw = _convolution_backward(dy, x, weight, stride, (False, True, False))[1]
    return wide(dw).contiguous()


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
    """Return the gradients of probs and, one behind the other, of the candidates' kernels."""
    largest = max(kernel.shape[-1] for kernel in kernels)
    dw = backward_weight(x, dy, largest, stride, scale, shift, act)
    d_probs, *shares = split_mixture(dw, kernels, probs)
    assert d_probs is not None
    return wide(d_probs), torch.cat([wide(s).flatten() for s in shares if s is not None])


def norm_act(z: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
    """Return act(scale * z + shift), [B, C, H, W]."""
    return ACTIVATIONS[act](_pre(z, scale, shift)).to(z.dtype)


def channel_moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C], in float32 or float64."""
    if z.is_cuda and z.dtype != torch.float64:
        # Sums in float32 whatever z is stored in, and makes no wider copy of it.
        mean, inv_std = torch.batch_norm_stats(z, 0.0)
        return mean, inv_std**-2
    var, mean = torch.var_mean(wide(z), (0, 2, 3), correction=0)
    return mean, var


def norm_act_reduce(
    da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inv_std: Tensor, act: str
) -> Tensor:
    """Return [2, C] float32: the sums of dpre and of dpre * (z - mean) * inv_std."""
    dpre = _pre_grad(da, z, scale, shift, act)
    zhat = (wide(z) - _column(mean)) * _column(inv_std)
    return torch.stack([dpre.sum((0, 2, 3)), (dpre * zhat).sum((0, 2, 3))])


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
    """Return dz = dpre * p + z * q + r, [B, C, H, W]."""
    dpre = _pre_grad(da, z, scale, shift, act)
    dz = dpre * _column(p) + wide(z) * _column(q) + _column(r)
    return dense(dz.to(z.dtype), is_channels_last(z))


def _pre(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return wide(dense(z, is_channels_last(z))) * _column(scale) + _column(shift)


def _pre_grad(da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
    """Return da * act'(scale * z + shift) in float32."""
    pre, grad = _pre(z, scale, shift), wide(da)
    if act in ("relu", "relu6"):
        passes = pre > 0 if act == "relu" else (pre > 0) & (pre < 6)
        return torch.where(passes, grad, 0)  # selects: an overflown gradient stays where it is
    if act == "silu":
        grad = torch.ops.aten.silu_backward(grad, pre)
    return grad


def _column(values: Tensor) -> Tensor:
    return wide(values).reshape(1, -1, 1, 1)


def _convolution_backward(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    padding, channels = weight.shape[-1] // 2, weight.shape[0]
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], channels, wanted
    )
    return grads
