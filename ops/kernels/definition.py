"""What the fast kernels compute, in plain torch; also what runs where none of them does."""

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


def _wide(x: Tensor) -> Tensor:
    """Return a tensor in the type of sums: float32, or float64 as it is."""
    return x if x.dtype == torch.float64 else x.float()


def _pre(z: Tensor, scale_C: Tensor, shift_C: Tensor) -> Tensor:
    return torch.addcmul(_per_channel(shift_C), _wide(z), _per_channel(scale_C))


def norm_act(z_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor, act: str) -> Tensor:
    """Return act(z * scale + shift), [B, C, H, W] in the type of z."""
    return activate(_pre(z_BCHW, scale_C, shift_C), act).to(z_BCHW.dtype)


def channel_moments(z_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C]."""
    var, mean = torch.var_mean(_wide(z_BCHW), (0, 2, 3), correction=0)
    return mean, var


def _before_activation(da: Tensor, z: Tensor, scale_C: Tensor, shift_C: Tensor, act: str) -> Tensor:
    """Return da * act'(z * scale + shift), in float32 or float64."""
    if act == "identity":
        return _wide(da)
    pre = _pre(z, scale_C, shift_C)
    if act == "silu":
        gate = torch.sigmoid(pre)
        return _wide(da) * (gate * (1 + pre * (1 - gate)))
    passes = pre > 0
    return _wide(da) * (passes if act == "relu" else passes & (pre < 6))


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
    zhat = (_wide(z_BCHW) - _per_channel(mean_C)) * _per_channel(invstd_C)
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
    """Return dpre * p + z * q + r, [B, C, H, W] in the type of z."""
    dpre = _before_activation(da_BCHW, z_BCHW, scale_C, shift_C, act)
    dz = dpre * _per_channel(p_C) + _wide(z_BCHW) * _per_channel(q_C) + _per_channel(r_C)
    return dz.to(z_BCHW.dtype)


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
