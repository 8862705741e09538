"""What tensor operations cost, whoever calls them: multiply-adds of what torch dispatches."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

# B batch, H heads, T queries, S keys, E features of queries and keys, V of values


@dataclass(frozen=True, kw_only=True)
class Product:
    """How one operation multiplies tensors.

    Attributes:
        flops: its multiply-adds, from arguments and output.
        operands: positions of the tensors among the arguments, of which one may be the weights.
        is_layer: whether it is a convolution or a linear layer whatever its operands are.
    """

    flops: Callable[[Sequence[Any], Tensor], int]
    operands: tuple[int, ...] = (0, 1)
    is_layer: bool = False


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    """A transposed convolution has the kernel at every position of its input."""
    positions = args[0] if args[6] else out
    return int(positions.numel() * math.prod(args[1].shape[1:]))


def _attention(args: Sequence[Any], out: Any) -> int:
    query_BHTE, key_BHSE, value_BHSV = args[:3]
    pairs = math.prod(query_BHTE.shape[:-1]) * key_BHSE.shape[-2]
    return int(pairs * (query_BHTE.shape[-1] + value_BHSV.shape[-1]))


def _matrices(a: int, b: int) -> Product:
    def flops(args: Sequence[Any], _: Tensor) -> int:
        return int(args[a].numel() * args[b].shape[-1])

    return Product(flops=flops, operands=(a, b))


def _vector(a: int) -> Product:
    return Product(flops=lambda args, _: args[a].numel(), operands=(a, a + 1))


_CONV = Product(flops=_convolution, is_layer=True)
_SDPA = Product(flops=_attention, operands=())
_PRODUCTS: dict[Any, Product] = {
    aten.convolution: _CONV,
    aten._convolution: _CONV,
    aten.conv_tbc: Product(
        flops=lambda args, out: out.numel() * math.prod(args[1].shape[:2]), is_layer=True
    ),
    aten.linear: Product(flops=lambda args, out: out.numel() * args[1].shape[-1], is_layer=True),
    **dict.fromkeys((aten.mm, aten.bmm, aten._int_mm, aten._scaled_mm), _matrices(0, 1)),
    **dict.fromkeys(
        (aten.addmm, aten.baddbmm, aten.addbmm, aten._addmm_activation), _matrices(1, 2)
    ),
    **dict.fromkeys((aten.mv, aten.dot, aten.vdot), _vector(0)),
    aten.addmv: _vector(1),
    aten._scaled_dot_product_flash_attention: _SDPA,
    aten._scaled_dot_product_flash_attention_for_cpu: _SDPA,
    aten._scaled_dot_product_efficient_attention: _SDPA,
    aten._scaled_dot_product_cudnn_attention: _SDPA,
    aten._scaled_dot_product_fused_attention_overrideable: _SDPA,
}
# Operations of torch that multiply matrices in a way that no convention prices.
_UNPRICED = re.compile(
    r"_?(fft|linalg|sparse|nested|cholesky|lu|qr|mkldnn|quantized|cslt)(_|$).*"
    r"|.*(_backward|_mm|_mm_v2|_mha|attention_forward|multi_head_attention|encoder_layer_fwd)"
    r"|_trilinear|_cdist_forward|_euclidean_dist|geqrf|ormqr|orgqr|triangular_solve"
    r"|matrix_exp|_?weight_int\d.*"
)
_CHEAP = {"linalg_vector_norm", "linalg_cross"}  # no products of matrices


@cache
def product_of(operation: Any) -> Product | str:
    """Return how an operation of torch multiplies tensors.

    Returns:
        The product, or else `free` (not at all), `composite` (by operations that it dispatches in
        turn) or `unknown`.
    """
    if not isinstance(operation, torch._ops.OpOverload):
        return "unknown"
    packet = operation.overloadpacket
    if packet in _PRODUCTS:
        return _PRODUCTS[packet]
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    full_name = operation.name()  # type: ignore[no-untyped-call]
    if torch._C._dispatch_has_kernel_for_dispatch_key(full_name, key):
        return "composite"
    name = operation._schema.name.partition("::")[2]
    is_torchs = operation.namespace in ("aten", "prim", "prims")
    is_priced = name in _CHEAP or not _UNPRICED.fullmatch(name)
    return "free" if is_torchs and is_priced else "unknown"
