"""Depthwise convolution as a torch operator, whatever runs beneath."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor
from torch.library import custom_op, register_autograd, register_fake

from ...definition import ACTIVATIONS
from ..layout import dense, empty, is_channels_last, output_size, sum_dtype
from .dispatch import run
from .norm_act import norm_act_grads

# B batch, C channels, H height, W width, K kernel size


@custom_op("nastk::depthwise", mutates_args=())
def _depthwise(
    x: Tensor, weight: Tensor, stride: int, scale: Tensor | None, shift: Tensor | None, act: str
) -> Tensor:
    arguments = (x, weight, stride, scale, shift, act)
    is_fused = scale is not None
    y: Tensor = run("forward", x, arguments, weight.shape[-1], stride, is_fused=is_fused)
    return y


@custom_op("nastk::depthwise_bwd_data", mutates_args=())
def _depthwise_bwd_data(dy: Tensor, weight: Tensor, height: int, width: int, stride: int) -> Tensor:
    arguments = (dy, weight, height, width, stride)
    dx: Tensor = run("backward_data", dy, arguments, weight.shape[-1], stride)
    return dx


@custom_op("nastk::depthwise_bwd_weight", mutates_args=())
def _depthwise_bwd_weight(
    x: Tensor,
    dy: Tensor,
    kernel: int,
    stride: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
) -> Tensor:
    arguments = (x, dy, kernel, stride, scale, shift, act)
    is_fused = scale is not None
    dw: Tensor = run("backward_weight", x, arguments, kernel, stride, is_fused=is_fused)
    return dw


@custom_op("nastk::depthwise_bwd_mixture", mutates_args=())
def _depthwise_bwd_mixture(
    x: Tensor,
    dy: Tensor,
    kernels: Sequence[Tensor],
    probs: Tensor,
    stride: int,
    scale: Tensor | None,
    shift: Tensor | None,
    act: str,
) -> tuple[Tensor, Tensor]:
    arguments = (x, dy, kernels, probs, stride, scale, shift, act)
    largest = max(kernel.shape[-1] for kernel in kernels)
    is_fused = scale is not None
    grads: tuple[Tensor, Tensor] = run(
        "backward_mixture", x, arguments, largest, stride, is_fused=is_fused
    )
    return grads


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    stride: int = 1,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
) -> Tensor:
    """Return the "same" padded depthwise convolution of act(scale * x + shift).

    The activated feature is recomputed for the weight gradient, never stored. Padding is zero
    behind the activation. `torch.compile` and CUDA graphs take the operator as it is; a gradient
    of its gradient is refused by torch. The Triton kernels beneath have not been timed yet.

    Args:
        x: [B, C, H, W] in bfloat16, float16 or float32; its layout is the output's.
        weight: [C, 1, K, K], K odd from 1 to 11; sums are float32 whatever its dtype.
        stride: 1 or 2.
        scale: [C], or None for x as it is.
        shift: [C], given with `scale`.
        act: identity, relu, relu6 or silu; identity without a scale.

    Returns:
        [B, C, ceil(H / stride), ceil(W / stride)] in the dtype of x.

    Raises:
        ValueError: if an argument is none of these.

    Example:
        >>> import torch
        >>> x, weight = torch.ones(1, 2, 3, 3), torch.ones(2, 1, 3, 3)
        >>> depthwise_conv2d(x, weight)[0, 0]
        tensor([[4., 6., 4.],
                [6., 9., 6.],
                [4., 6., 4.]])
    """
    _check(x, weight, stride, scale, shift, act)
    y: Tensor = _depthwise(x, weight, stride, scale, shift, act)
    return y


def depthwise_bwd_data(dy: Tensor, weight: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return [B, C, H, W], the gradient of the convolution's input.

    Args:
        dy: [B, C, H', W'] gradient of the output; its layout is the result's.
        weight: [C, 1, K, K].
        height: H.
        width: W.
        stride: of the forward pass.
    """
    dx: Tensor = _depthwise_bwd_data(dy, weight, height, width, stride)
    return dx


def depthwise_bwd_weight(
    x: Tensor,
    dy: Tensor,
    kernel: int,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
) -> Tensor:
    """Return [C, 1, K, K] float32, the gradient of the kernel, recomputing act(scale * x + shift).

    Args:
        x: [B, C, H, W] as the forward pass read it.
        dy: [B, C, H', W'] gradient of the output.
        kernel: K.
        stride: of the forward pass.
        scale: [C], or None for x as it is.
        shift: [C], given with `scale`.
        act: identity, relu, relu6 or silu.
    """
    dw: Tensor = _depthwise_bwd_weight(x, dy, kernel, stride, scale, shift, act)
    return dw


def depthwise_bwd_mixture(
    x: Tensor,
    dy: Tensor,
    kernels: Sequence[Tensor],
    probs: Tensor,
    stride: int,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    act: str = "identity",
) -> tuple[Tensor, ...]:
    """Return the gradients of a mixture and of its candidates, whose sum was the kernel.

    Args:
        x: [B, C, H, W] as the forward pass read it.
        dy: [B, C, H', W'] gradient of the output.
        kernels: N tensors [C, 1, K_n, K_n], centred in the largest.
        probs: [N] or [C, N], their weights.
        stride: of the forward pass.
        scale: [C], or None for x as it is.
        shift: [C], given with `scale`.
        act: identity, relu, relu6 or silu.

    Returns:
        N + 1 tensors: of `probs`, then of each kernel, each in the shape and dtype of its own.
    """
    kernels = list(kernels)
    dprobs, flat = _depthwise_bwd_mixture(x, dy, kernels, probs, stride, scale, shift, act)
    ends = [0]
    for kernel in kernels:
        ends.append(ends[-1] + kernel.numel())
    parts = (flat[start:end] for start, end in pairwise(ends))
    split = [part.view(k.shape).to(k.dtype) for part, k in zip(parts, kernels, strict=True)]
    return dprobs.to(probs.dtype), *split


def _check(
    x: Tensor, weight: Tensor, stride: int, scale: Tensor | None, shift: Tensor | None, act: str
) -> None:
    kernel = weight.shape[-1]
    if tuple(weight.shape) != (x.shape[1], 1, kernel, kernel) or kernel % 2 == 0 or kernel > 11:
        raise ValueError(
            f"a depthwise weight is [C, 1, K, K] with C = {x.shape[1]} and K odd up to 11, "
            f"got {list(weight.shape)}"
        )
    if stride not in (1, 2):
        raise ValueError(f"the stride of a depthwise convolution is 1 or 2, got {stride}")
    if act not in ACTIVATIONS:
        raise ValueError(f"unknown activation '{act}'; known: {', '.join(sorted(ACTIVATIONS))}")
    if (scale is None) != (shift is None) or (scale is None and act != "identity"):
        raise ValueError("scale and shift are given together, and an activation with both")


def _depthwise_fake(
    x: Tensor, weight: Tensor, stride: int, scale: Tensor | None, shift: Tensor | None, act: str
) -> Tensor:
    B, C, H, W = x.shape
    shape = (B, C, output_size(H, stride), output_size(W, stride))
    return empty(x, shape, is_channels_last(x))


def _depthwise_bwd_data_fake(
    dy: Tensor, weight: Tensor, height: int, width: int, stride: int
) -> Tensor:
    return empty(dy, (dy.shape[0], dy.shape[1], height, width), is_channels_last(dy))


def _depthwise_bwd_weight_fake(x: Tensor, dy: Tensor, kernel: int, *_: Any) -> Tensor:
    return x.new_empty((x.shape[1], 1, kernel, kernel), dtype=sum_dtype(x))


def _depthwise_bwd_mixture_fake(
    x: Tensor, dy: Tensor, kernels: Sequence[Tensor], probs: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    taps = sum(kernel.numel() for kernel in kernels)
    dtype = sum_dtype(x)
    return x.new_empty(probs.shape, dtype=dtype), x.new_empty((taps,), dtype=dtype)


def _depthwise_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.stride, scale, shift, ctx.act = inputs
    ctx.save_for_backward(x, weight, scale, shift)


def _depthwise_backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, scale, shift = ctx.saved_tensors
    needs_x, needs_weight, _, *needs_norm, _ = ctx.needs_input_grad
    kernel, act = weight.shape[-1], ctx.act
    dy = dense(dy, is_channels_last(x))  # an expanded gradient has no layout of its own
    grads: list[Tensor | None] = [None, None, None]
    dweight = None
    if needs_weight:
        dweight = depthwise_bwd_weight(x, dy, kernel, ctx.stride, scale, shift, act)
        dweight = dweight.to(weight.dtype)
    if needs_x or any(needs_norm):
        grads[0] = depthwise_bwd_data(dy, weight, x.shape[2], x.shape[3], ctx.stride)
        if scale is not None:
            assert grads[0] is not None
            grads = norm_act_grads(grads[0], x, scale, shift, act, [needs_x, *needs_norm])
    dx, dscale, dshift = grads
    return dx, dweight, None, dscale, dshift, None


register_fake("nastk::depthwise", _depthwise_fake)
register_fake("nastk::depthwise_bwd_data", _depthwise_bwd_data_fake)
register_fake("nastk::depthwise_bwd_weight", _depthwise_bwd_weight_fake)
register_fake("nastk::depthwise_bwd_mixture", _depthwise_bwd_mixture_fake)
register_autograd("nastk::depthwise", _depthwise_backward, setup_context=_depthwise_context)
