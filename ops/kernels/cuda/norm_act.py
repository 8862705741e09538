"""Normalisation with activation as torch operators, whatever runs beneath."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op, register_autograd, register_fake

from ..layout import empty, is_channels_last, sum_dtype
from .dispatch import run

# B batch, C channels, H height, W width


@custom_op("nastk::norm_act", mutates_args=())
def _norm_act(z: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
    a: Tensor = run("norm_act", z, (z, scale, shift, act))
    return a


@custom_op("nastk::norm_act_bwd_reduce", mutates_args=())
def _norm_act_bwd_reduce(
    da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inv_std: Tensor, act: str
) -> Tensor:
    sums: Tensor = run("norm_act_reduce", z, (da, z, scale, shift, mean, inv_std, act))
    return sums


@custom_op("nastk::norm_act_bwd_apply", mutates_args=())
def _norm_act_bwd_apply(
    da: Tensor,
    z: Tensor,
    scale: Tensor,
    shift: Tensor,
    p: Tensor,
    q: Tensor,
    r: Tensor,
    act: str,
) -> Tensor:
    dz: Tensor = run("norm_act_apply", z, (da, z, scale, shift, p, q, r, act))
    return dz


def norm_act(z: Tensor, scale: Tensor, shift: Tensor, act: str) -> Tensor:
    """Return act(scale * z + shift), [B, C, H, W] in the dtype and layout of z.

    Args:
        z: [B, C, H, W].
        scale: [C], weight * inv_std of a normalisation.
        shift: [C], bias - mean * scale of a normalisation.
        act: identity, relu, relu6 or silu.

    Example:
        >>> norm_act(torch.ones(1, 1, 1, 2), torch.tensor([9.0]), torch.tensor([1.0]), "relu6")
        tensor([[[[6., 6.]]]])
    """
    a: Tensor = _norm_act(z, scale, shift, act)
    return a


def norm_act_bwd_reduce(
    da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inv_std: Tensor, act: str
) -> Tensor:
    """Return [2, C] float32: the sums of dpre and of dpre * (z - mean) * inv_std.

    Here dpre = da * act'(scale * z + shift), recomputed from z. The arguments are features
    [B, C, H, W] (da, z) and numbers of the channel [C].
    """
    sums: Tensor = _norm_act_bwd_reduce(da, z, scale, shift, mean, inv_std, act)
    return sums


def norm_act_bwd_apply(
    da: Tensor,
    z: Tensor,
    scale: Tensor,
    shift: Tensor,
    p: Tensor,
    q: Tensor,
    r: Tensor,
    act: str,
) -> Tensor:
    """Return dz = dpre * p + z * q + r, [B, C, H, W] in the dtype and layout of z.

    Here dpre = da * act'(scale * z + shift), recomputed from z. The arguments are features
    [B, C, H, W] (da, z) and numbers of the channel [C].
    """
    dz: Tensor = _norm_act_bwd_apply(da, z, scale, shift, p, q, r, act)
    return dz


def _norm_act_fake(z: Tensor, *_: Any) -> Tensor:
    return empty(z, z.shape, is_channels_last(z))


def _norm_act_bwd_reduce_fake(da: Tensor, z: Tensor, *_: Any) -> Tensor:
    return z.new_empty((2, z.shape[1]), dtype=sum_dtype(z))


def _norm_act_bwd_apply_fake(da: Tensor, z: Tensor, *_: Any) -> Tensor:
    return empty(z, z.shape, is_channels_last(z))


def norm_act_grads(
    da: Tensor, z: Tensor, scale: Tensor, shift: Tensor, act: str, needs: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradients of z, scale and shift, where needed."""
    grads: list[Tensor | None] = [None, None, None]
    zero = torch.zeros_like(scale)
    if needs[0]:
        grads[0] = norm_act_bwd_apply(da, z, scale, shift, scale, zero, zero, act)
    if needs[1] or needs[2]:
        one = torch.ones_like(scale)
        plain, product = norm_act_bwd_reduce(da, z, scale, shift, zero, one, act).unbind()
        grads[1:] = [product.to(scale.dtype), plain.to(shift.dtype)]
    return grads


def _norm_act_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.act = inputs
    ctx.save_for_backward(*tensors)


def _norm_act_backward(ctx: Any, da: Tensor) -> tuple[Tensor | None, ...]:
    z, scale, shift = ctx.saved_tensors
    return (*norm_act_grads(da, z, scale, shift, ctx.act, ctx.needs_input_grad[:3]), None)


register_fake("nastk::norm_act", _norm_act_fake)
register_fake("nastk::norm_act_bwd_reduce", _norm_act_bwd_reduce_fake)
register_fake("nastk::norm_act_bwd_apply", _norm_act_bwd_apply_fake)
register_autograd("nastk::norm_act", _norm_act_backward, setup_context=_norm_act_context)
