"""What the fast kernels compute, in plain torch; also what runs where none of them does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# B batch, C channels, H height, W width


def wide(x: Tensor) -> Tensor:
    """Return a tensor in the type that sums are taken in: float32, or float64 as it is."""
    return x if x.dtype == torch.float64 else x.float()


def per_channel(values_C: Tensor) -> Tensor:
    """Return [C] as [1, C, 1, 1]."""
    return values_C.reshape(1, -1, 1, 1)


def moments(z_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [C] and biased variance [C] of each channel."""
    var, mean = torch.var_mean(wide(z_BCHW), dim=(0, 2, 3), correction=0)
    return mean, var


def norm_act(z_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor, act: str) -> Tensor:
    """Return act(scale * z + shift) [B, C, H, W] in the type of z."""
    y = torch.addcmul(per_channel(shift_C), wide(z_BCHW), per_channel(scale_C))
    if act == "relu":
        y.relu_()
    elif act == "relu6":
        y.clamp_(0, 6)
    elif act == "silu":
        F.silu(y, inplace=True)
    return y.to(z_BCHW.dtype)


def pre_activation_grad(
    da_BCHW: Tensor, z_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor, act: str
) -> Tensor:
    """Return da * act'(scale * z + shift) [B, C, H, W], in float32 or float64."""
    da = wide(da_BCHW)
    if act == "identity":
        return da
    y = torch.addcmul(per_channel(shift_C), wide(z_BCHW), per_channel(scale_C))
    if act == "relu":
        return da * (y > 0)
    if act == "relu6":
        return da * ((y > 0) & (y < 6))
    gate = torch.sigmoid(y)
    return da * (gate * (1 + y * (1 - gate)))


def norm_act_sums(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    act: str,
    mean_C: Tensor,
    invstd_C: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the sums over positions of d = da * act'(...), and of d * (z - mean) * invstd."""
    d = pre_activation_grad(da_BCHW, z_BCHW, scale_C, shift_C, act)
    zhat = (wide(z_BCHW) - per_channel(mean_C)) * per_channel(invstd_C)
    return d.sum((0, 2, 3)), (d * zhat).sum((0, 2, 3))


def norm_act_backward(
    da_BCHW: Tensor,
    z_BCHW: Tensor,
    scale_C: Tensor,
    shift_C: Tensor,
    act: str,
    q_C: Tensor,
    r_C: Tensor,
) -> Tensor:
    """Return scale * d + q * z + r [B, C, H, W] in the type of z, with d as in `norm_act_sums`."""
    d = pre_activation_grad(da_BCHW, z_BCHW, scale_C, shift_C, act)
    dz = d * per_channel(scale_C) + wide(z_BCHW) * per_channel(q_C) + per_channel(r_C)
    return dz.to(z_BCHW.dtype)
