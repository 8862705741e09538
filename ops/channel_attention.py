"""Squeeze-excitation of tokens: every channel is scaled by a gate that sees all tokens' mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator
from ..core.supernet import extract_part
from ..core.trace import active_tracer, gate
from .attention import INIT_STD
from .constants import vector
from .linear import linear
from .width import AnyWidth

# B batch, T tokens, D features


def channel_attention(
    features: AnyWidth, squeezed: AnyWidth, *, keep: int | Choice = 1, std: float = INIT_STD
) -> nn.Module:
    """Return x * gate(mean of x over tokens), or x alone (arXiv:1709.01507, for tokens).

    Mixing both is one feature: x * (1 - keep + keep * gate).

    Args:
        features: D.
        squeezed: width between the two linear maps, which have no bias.
        keep: 1 for the gate, 0 for the identity, or a choice of the two.
        std: of the initial weights, as for `linear`.
    """
    if not isinstance(keep, Choice) and not keep:
        return nn.Identity()
    attention = ChannelAttention(
        linear(features, squeezed, bias=False, std=std),
        linear(squeezed, features, bias=False, std=std),
    )
    return MetaChannelAttention(attention, keep) if isinstance(keep, Choice) else attention


class ChannelAttention(nn.Module):
    """Scales every channel of all tokens."""

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce, self.act, self.expand, self.gate = reduce, nn.ReLU(), expand, nn.Sigmoid()

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, D]."""
        return x_BTD * self.scale(x_BTD)

    def scale(self, x_BTD: Tensor) -> Tensor:
        """Return [B, 1, D] the gate."""
        mean = x_BTD.mean(1, keepdim=True)
        y: Tensor = self.gate(self.expand(self.act(self.reduce(mean))))
        return y


class MetaChannelAttention(MetaOperator):
    """Channel attention that may be absent."""

    def __init__(self, attention: ChannelAttention, keep: Choice) -> None:
        super().__init__()
        self.attention, self.keep = attention, keep

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, D] under the current mixture."""
        slot = self.keep.slot
        if (tracer := active_tracer()) is not None:
            tracer.use(self.keep, self.keep.values)
            with gate(self.keep, [bool(value) for value in self.keep.values]):
                return self.attention(x_BTD)  # type: ignore[no-any-return]
        if slot.probs_N is None:
            is_kept = self.keep.values[cast(int, slot.index)]
            return self.attention(x_BTD) if is_kept else x_BTD
        keep = torch.dot(slot.probs_N, vector(self.keep.values, slot.probs_N)).to(x_BTD)
        return x_BTD * (1 - keep + keep * self.attention.scale(x_BTD))

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain gate of `arch`, or the identity."""
        position = self.keep.position(arch[self.keep.name])
        return extract_part(self.attention, arch) if self.keep.values[position] else nn.Identity()
