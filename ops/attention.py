"""Attention among all pairs of tokens, with every product counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from ..core.choice import Value
from ..core.lookup import lookup
from ..core.meta import MetaOperator
from ..core.polynomial import Polynomial
from ..core.supernet import extract_part
from ..core.trace import active_tracer
from .linear import linear
from .width import AnyWidth, is_plain, repeated, width_of

# B batch, T tokens, D features, E features of a head or of the output, H heads

INIT_STD = 0.02  # of linear layers in vision transformers (arXiv:2010.11929, released code)

Count = Polynomial | int
"""A number of features: of the network that is built, or of every arch."""


def attention_products(num_tokens: int, features: Count) -> Count:
    """Return the multiply-adds of q k^T and of (attention) v, over all heads."""
    return features * (2 * num_tokens**2)


class SelfAttention(nn.Module):
    """Multi-head self-attention: fused queries, keys and values, and an output projection.

    Attributes:
        shape: (3, heads, features of a head), -1 for the one that follows from the width.
        scale_by: `head` divides the scores by sqrt(E), `width` by sqrt(D).
    """

    def __init__(
        self, qkv: nn.Module, proj: nn.Module, shape: tuple[int, int, int], scale_by: str
    ) -> None:
        super().__init__()
        self.qkv, self.proj = qkv, proj
        self.shape, self.scale_by = shape, scale_by

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, D]."""
        qkv = self.qkv(x_BTD).unflatten(2, self.shape).permute(2, 0, 3, 1, 4)
        scale = x_BTD.shape[2] ** -0.5 if self.scale_by == "width" else None
        y_BHTE = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], scale=scale)
        y: Tensor = self.proj(y_BHTE.transpose(1, 2).flatten(2))
        return y


def self_attention(
    features: AnyWidth,
    *,
    head_features: int = 64,
    heads: int | None = None,
    scale_by: str = "head",
    std: float = INIT_STD,
) -> nn.Module:
    """Return multi-head self-attention [B, T, D] -> [B, T, D].

    Queries, keys and values have no bias, the output projection has one.

    Args:
        features: D, a multiple of the heads.
        head_features: width of a head; there are D / head_features heads.
        heads: number of heads instead.
        scale_by: `head` or `width`, whose square root divides the scores.
        std: of the initial weights, as for `linear`.

    Raises:
        ValueError: if the heads do not divide the width.
    """
    lookup("scale", scale_by, dict.fromkeys(("head", "width")))
    divisor = heads or head_features
    if rest := [d for d in counts_of(features) if d % divisor]:
        raise ValueError(f"{rest[0]} features do not split into heads: {divisor} is no divisor")
    shape = (3, heads, -1) if heads else (3, -1, head_features)
    attention = SelfAttention(
        linear(features, repeated(features, 3), bias=False, std=std),
        linear(features, features, std=std),
        shape,
        scale_by,
    )
    if is_plain(features):
        return attention
    return Priced(attention, lambda tokens: attention_products(tokens, _expression(features)))


class TokenAttention(nn.Module):
    """One head of attention that narrows its tokens, with the values as the shortcut.

    v + proj(attention(q, k, v)): the token transformer of arXiv:2101.11986. The released models
    divide the scores by the square root of the *input* width.

    Attributes:
        scale_by: `in` or `out`, the width whose square root divides the scores.
    """

    def __init__(self, qkv: nn.Module, proj: nn.Module, scale_by: str) -> None:
        super().__init__()
        self.qkv, self.proj, self.scale_by = qkv, proj, scale_by

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, E]."""
        q, k, v = self.qkv(x_BTD).unsqueeze(1).chunk(3, -1)  # [B, 1, T, E]
        width = x_BTD if self.scale_by == "in" else v
        y = F.scaled_dot_product_attention(q, k, v, scale=width.shape[-1] ** -0.5)
        result: Tensor = v.squeeze(1) + self.proj(y.squeeze(1))
        return result


def token_attention(
    in_features: AnyWidth, out_features: AnyWidth, *, scale_by: str = "in", std: float = INIT_STD
) -> nn.Module:
    """Return one-head attention [B, T, D] -> [B, T, E] whose shortcut is the values.

    Args:
        in_features: D.
        out_features: E; a choice is sampled.
        scale_by: `in` or `out`, the width whose square root divides the scores.
        std: of the initial weights, as for `linear`.
    """
    lookup("scale", scale_by, dict.fromkeys(("in", "out")))
    attention = TokenAttention(
        linear(in_features, repeated(out_features, 3), bias=False, std=std),
        linear(out_features, out_features, std=std),
        scale_by,
    )
    if is_plain(in_features, out_features):
        return attention
    sample_widths(out_features)
    return Priced(attention, lambda tokens: attention_products(tokens, _expression(out_features)))


class Priced(MetaOperator):
    """An operator of meta operators together with the cost of its products for every arch."""

    def __init__(self, operator: nn.Module, products: Callable[[int], Count]) -> None:
        super().__init__()
        self.operator, self.products = operator, products

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return what the operator returns."""
        if (tracer := active_tracer()) is not None:
            flops = self.products(x_BTD.shape[1]) * x_BTD.shape[0]
            tracer.layer(self, "attention", flops=flops, params=0, activations=0)
        # Called past its hooks: what it dispatches itself is told here for every arch.
        y: Tensor = self.operator.forward(x_BTD)
        return y

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain operator of `arch`."""
        return extract_part(self.operator, arch)


def counts_of(features: AnyWidth) -> list[int]:
    """Return every number of features that may be present, from few to many."""
    if isinstance(features, int):
        return [features]
    table = width_of(features).expression().tables
    offset = sum(int(t) for key, t in table.items() if not key)
    joint = [t for key, t in table.items() if key]
    assert len(joint) == 1, "a width of one choice, or of joint ones"
    return sorted({offset + int(count) for count in joint[0].reshape(-1)})


def _expression(features: AnyWidth) -> Polynomial:
    return width_of(features).expression()


def sample_widths(features: AnyWidth) -> None:
    """Declare that the choices of a width only slice, and cannot be mixed."""
    for choice in width_of(features).choices:
        choice.slot.require_sample("slice")
