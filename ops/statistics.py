"""What a batch normalisation takes from its batch, and what its gradients are made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar, Token
from typing import Any

import torch
from torch import Tensor

from .kernels import route
from .kernels.route import Affine
from .parts import Norm

# C channels

_RECOMPUTES: ContextVar[bool] = ContextVar("recomputes", default=False)


class Recomputing:
    """Marks a forward pass as one for the second time: running statistics stay as they are."""

    def __init__(self) -> None:
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(_RECOMPUTES.set(True))

    def __exit__(self, *_: object) -> None:
        _RECOMPUTES.reset(self._tokens.pop())


def is_recomputing() -> bool:
    """Tell whether the current forward pass is one for the second time."""
    return not torch.compiler.is_compiling() and _RECOMPUTES.get()


def check_count(z_BCHW: Tensor) -> None:
    """Refuse a batch of one value a channel, which has no variance."""
    if z_BCHW.numel() == z_BCHW.shape[1]:
        raise ValueError(
            "a norm in training needs more than one value a channel, "
            f"got input {list(z_BCHW.shape)}: use a larger batch"
        )


def moments(z: Tensor, norm: Norm) -> tuple[Tensor, Tensor, int]:
    """Return mean and biased variance of each channel, and of how many values they are."""
    count = z.numel() // z.shape[1]
    if norm.group is None:
        check_count(z)
    mean, var = route.moments(z)
    if norm.group is None:
        return mean, var, count
    # Sums of all processes: count, sum and sum of squares about zero, in float64.
    total = torch.stack([mean.double() * count, (var.double() + mean.double() ** 2) * count])
    total = torch.cat([total.flatten(), total.new_tensor([count])])
    torch.distributed.all_reduce(total, group=norm.group)
    count = int(total[-1])
    sums = total[:-1].reshape(2, -1) / count
    return sums[0].to(mean), (sums[1] - sums[0] ** 2).clamp_min(0).to(var), count


def follow(norm: Norm, mean: Tensor, var: Tensor, count: int) -> None:
    """Move the running statistics towards the batch's, the variance unbiased as in torch."""
    if norm.running_mean is None or norm.running_var is None:
        return
    unbiased = var * (count / max(count - 1, 1))
    for running, batch in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        if isinstance(norm.index, slice):
            running.lerp_(batch.to(running), norm.momentum)
        else:
            running[norm.index] = torch.lerp(running[norm.index], batch.to(running), norm.momentum)


def affine_of(
    weight: Tensor | None,
    bias: Tensor | None,
    gain: Tensor | None,
    mean: Tensor,
    invstd: Tensor,
    act: str,
) -> Affine:
    """Return norm, gain and activation as act(scale * z + shift), all [C] but a scalar gain."""
    scale = invstd if weight is None else weight.to(invstd) * invstd
    if gain is not None:
        gain = gain.to(invstd)
        scale = scale * gain
        bias = None if bias is None else bias.to(mean) * gain
    shift = -mean * scale if bias is None else bias.to(mean) - mean * scale
    return Affine(scale=scale, shift=shift, act=act)


def prepare(ctx: Any, z: Tensor, norm: Norm, act: str, *more: Tensor | None) -> Affine:
    """Take the statistics, save what the backward pass needs and return the affine map.

    The context then holds z, the norm's weight, bias and gain, mean and inverse deviation, scale
    and shift, and `more`.
    """
    if norm.uses_batch:
        mean, var, count = moments(z, norm)
        if not is_recomputing():
            follow(norm, mean, var, count)
    else:
        assert norm.running_mean is not None and norm.running_var is not None
        mean, var = norm.running_mean[norm.index], norm.running_var[norm.index]
        count = 0
    invstd = torch.rsqrt(var + norm.eps)
    affine = affine_of(norm.weight, norm.bias, norm.gain, mean, invstd, act)
    vectors = (norm.weight, norm.bias, norm.gain, mean, invstd, affine.scale, affine.shift)
    ctx.save_for_backward(z, *vectors, *more)
    ctx.act, ctx.count, ctx.group = act, count, norm.group
    return affine


def vector_gradients(
    norm: Sequence[Tensor | None], needs: Sequence[bool], sum_1: Tensor, sum_z: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of a norm's weight, bias and gain.

    Args:
        norm: weight, bias and gain.
        needs: which of them are wanted.
        sum_1: [C] sum over positions of the gradient in front of the activation.
        sum_z: [C] that of its product with the normalised feature.
    """
    weight, bias, gain = norm
    d_gain = None
    if gain is not None:
        if needs[2]:
            d_gain = sum_z if weight is None else sum_z * weight
            d_gain = d_gain if bias is None else d_gain + sum_1 * bias
            d_gain = (d_gain if gain.dim() else d_gain.sum()).to(gain)
        gain = gain.to(sum_1)
        sum_1, sum_z = sum_1 * gain, sum_z * gain
    d_weight = sum_z.to(weight) if weight is not None and needs[0] else None
    d_bias = sum_1.to(bias) if bias is not None and needs[1] else None
    return d_weight, d_bias, d_gain


def statistics_gradient(
    ctx: Any, affine: Affine, mean: Tensor, invstd: Tensor, sum_1: Tensor, sum_z: Tensor
) -> tuple[Tensor, Tensor]:
    """Return q and r [C]: z moves its own statistics, which adds q * z + r to its gradient."""
    if not ctx.count:
        zero = torch.zeros_like(mean)
        return zero, zero
    if ctx.group is not None:
        both = torch.stack([sum_1, sum_z])
        torch.distributed.all_reduce(both, group=ctx.group)
        sum_1, sum_z = both[0], both[1]
    share = affine.scale * (-1 / ctx.count)
    q = share * invstd * sum_z
    return q, share * sum_1 - q * mean
