"""What the compiled kernels compute, in plain torch: slow, obvious, and the truth for the tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# B batch, C channels, H height, W width, K kernel size


def activate(x: Tensor, act: str) -> Tensor:
    """Apply an activation by name: identity, relu, relu6 or silu."""
    if act == "identity":
        return x
    return {"relu": F.relu, "relu6": F.relu6, "silu": F.silu}[act](x)


def _per_channel(values_C: Tensor) -> Tensor:
    return values_C.reshape(1, -1, 1, 1)


def norm_act(z_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor, act: str) -> Tensor:
    """Return act(z * scale + shift), [B, C, H, W]."""
    return activate(z_BCHW * _per_channel(scale_C) + _per_channel(shift_C), act)


def channel_moments(z_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C]."""
    var, mean = torch.var_mean(z_BCHW, (0, 2, 3), correction=0)
    return mean, var


def _before_activation(da: Tensor, z: Tensor, scale_C: Tensor, shift_C: Tensor, act: str) -> Tensor:
    """Return da * act'(z * scale + shift)."""
    with torch.enable_grad():
        pre = (z * _per_channel(scale_C) + _per_channel(shift_C)).detach().requires_grad_()
        return torch.autograd.grad(activate(pre, act), pre, da)[0]


def norm_act_backward_reduce(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    mean_C: Tensor,
    invstd_C: Tensor,
    act: str,
) -> tuple[Tensor, Tensor]:
    """Return [C] the sum of dpre and [C] the sum of dpre * (z - mean) * invstd."""
    dpre = _before_activation(da_BCHW, z_BCHW, scale_C, shift_C, act)
    zhat = (z_BCHW - _per_channel(mean_C)) * _per_channel(invstd_C)
    return dpre.sum((0, 2, 3)), (dpre * zhat).sum((0, 2, 3))


def norm_act_backward_apply(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    p_C: Tensor,
    q_C: Tensor,
    r_C: Tensor,
    act: str,
) -> Tensor:
    """Return dpre * p + z * q + r, [B, C, H, W]."""
    dpre = _before_activation(da_BCHW, z_BCHW, scale_C, shift_C, act)
    return dpre * _per_channel(p_C) + z_BCHW * _per_channel(q_C) + _per_channel(r_C)


def depthwise_forward(x_BCHW: Tensor, weight_C1KK: Tensor, stride: int) -> Tensor:
    """Return the depthwise convolution with "same" padding."""
    C, K = weight_C1KK.shape[0], weight_C1KK.shape[-1]
    return F.conv2d(x_BCHW, weight_C1KK, None, stride, K // 2, 1, C)


def depthwise_backward_data(
    g_BCHW: Tensor, weight_C1KK: Tensor, height: int, width: int, stride: int
) -> Tensor:
    """Return the gradient [B, C, height, width] of the input."""
    B, C = g_BCHW.shape[:2]
    with torch.enable_grad():
        x = g_BCHW.new_zeros(B, C, height, width, requires_grad=True)
        return torch.autograd.grad(depthwise_forward(x, weight_C1KK, stride), x, g_BCHW)[0]


def depthwise_backward_weight(x_BCHW: Tensor, g_BCHW: Tensor, size: int, stride: int) -> Tensor:
    """Return dw[c, 0, ky, kx], the sum of g[b, c, oy, ox] * x[b, c, oy * s + ky, ox * s + kx]."""
    C, (height, width) = x_BCHW.shape[1], g_BCHW.shape[2:]
    padded = F.pad(x_BCHW, [size // 2] * 4)
    dw = x_BCHW.new_zeros(C, 1, size, size)
    for ky in range(size):
        for kx in range(size):
            rows = slice(ky, ky + (height - 1) * stride + 1, stride)
            columns = slice(kx, kx + (width - 1) * stride + 1, stride)
            dw[:, 0, ky, kx] = (padded[:, :, rows, columns] * g_BCHW).sum((0, 2, 3))
    return dw
