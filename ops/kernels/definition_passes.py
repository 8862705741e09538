"""Every pass tap by tap in float32, the slow version that is right by eye."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..definition import ACTIVATION_GRADS, norm_act_definition
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
    activated = _activated(x, scale, shift, act)
    y = activated.new_zeros(())
    for kh, kw, window in _windows(_pad(activated, weight.shape[-1]), weight.shape[-1], stride):
        y = y + window * _column(weight[:, 0, kh, kw]).to(window)
    return _like(y, x)


def backward_data(dy: Tensor, weight: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return the gradient [B, C, H, W] of the convolution's input."""
    kernel, margin = weight.shape[-1], weight.shape[-1] // 2
    padded = _pad(wide(dy).new_zeros(*dy.shape[:2], height, width), kernel)
    for kh, kw, window in _windows(padded, kernel, stride):
        window += wide(dy) * _column(weight[:, 0, kh, kw]).to(window)
    dx = padded[..., margin : margin + height, margin : margin + width]
    return _like(dx, dy)


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
    activated = _activated(x, scale, shift, act)
    dw = activated.new_zeros(x.shape[1], 1, kernel, kernel)
    for kh, kw, window in _windows(_pad(activated, kernel), kernel, stride):
        dw[:, 0, kh, kw] = (window * wide(dy)).sum((0, 2, 3))
    return dw


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
    return _like(norm_act_definition(wide(z), scale, shift, act), z)


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
    return _like(dpre * _column(p) + wide(z) * _column(q) + _column(r), z)


def _activated(x: Tensor, scale: Tensor | None, shift: Tensor | None, act: str) -> Tensor:
    if scale is None or shift is None:
        return wide(x)
    return norm_act_definition(wide(x), scale, shift, act)


def _pad(x: Tensor, kernel: int) -> Tensor:
    return F.pad(x, [kernel // 2] * 4)


def _windows(padded: Tensor, kernel: int, stride: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield for every tap the part [B, C, H', W'] of the padded feature that it meets."""
    rows, columns = (size - kernel + 1 for size in padded.shape[-2:])
    for kh in range(kernel):
        for kw in range(kernel):
            yield kh, kw, padded[..., kh : kh + rows : stride, kw : kw + columns : stride]


def _pre_grad(da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
    pre = wide(z) * _column(scale) + _column(shift)
    return wide(da) * ACTIVATION_GRADS[act](pre)


def _column(values: Tensor) -> Tensor:
    return wide(values).reshape(1, -1, 1, 1)


def _like(y: Tensor, x: Tensor) -> Tensor:
    return dense(y.to(x.dtype), is_channels_last(x))
