"""What a batch normalisation takes from its batch, and when its running statistics follow."""

from __future__ import annotations

from contextvars import ContextVar, Token

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
    weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, act: str
) -> Affine:
    """Return norm and activation as act(scale * z + shift); all vectors are [C]."""
    scale = invstd if weight is None else weight.to(invstd) * invstd
    shift = -mean * scale if bias is None else bias.to(mean) - mean * scale
    return Affine(scale=scale, shift=shift, act=act)
