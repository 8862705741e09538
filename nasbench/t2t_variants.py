"""Variants of T2T-ViT that lie outside of its space: ghost and dense blocks (arXiv:2101.11986)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.choice import Choose
from ..ops import layer_norm, linear, residual, self_attention
from ..ops.attention import INIT_STD, SelfAttention
from ..search_spaces.blocks import scaled_channels
from ..search_spaces.t2t import T2T, TokenHead, mlp

# B batch, T tokens, D features

Table = Mapping[str, Any]


def ghost(table: Table, base: T2T, choose: Choose) -> nn.Module:
    """Return T2T-ViT-Ghost, whose linear maps make half or a third of their outputs.

    Args:
        table: `depth`, `width` and `mlp_ratio`.
        base: the space whose token layers are used, with a single candidate everywhere.
        choose: not asked for anything.
    """
    width = table["width"] // base.head_width * scaled_channels(base.head_width, base.scale)
    stages = base.embedding_stages(choose, width)
    for number in range(1, table["depth"] + 1):
        proj = linear(width, width, std=INIT_STD)
        shape = (3, -1, scaled_channels(base.head_width, base.scale))
        attention = SelfAttention(GhostMaps(width), proj, shape, "head")
        branches = (attention, GhostMLP(width, table["mlp_ratio"]))
        stages += [
            residual(nn.Sequential(layer_norm(width), b), width, position=number) for b in branches
        ]
    head = linear(width, base.num_classes, std=INIT_STD)
    return nn.Sequential(*stages, TokenHead(layer_norm(width), head))


def dense(table: Table, base: T2T, choose: Choose) -> nn.Module:
    """Return T2T-ViT-Dense: every block adds features to those of the blocks before it.

    Args:
        table: `stages` (blocks of each), `width` in front, `growth`, `heads` and `mlp_ratio`.
        base: the space whose token layers are used, with a single candidate everywhere.
        choose: not asked for anything.
    """
    heads = table["heads"]
    width, growth = (
        heads * scaled_channels(table[key] // heads, base.scale) for key in ("width", "growth")
    )
    stages = base.embedding_stages(choose, width)
    position = 0
    for number, blocks in enumerate(table["stages"]):
        if number:
            half = heads * math.ceil(width / 2 / heads)
            stages += [linear(width, half, std=INIT_STD), nn.GELU()]
            width = half
        for _ in range(blocks):
            position += 1
            attention = nn.Sequential(layer_norm(width), self_attention(width, heads=heads))
            branches = (attention, mlp(width, int(table["mlp_ratio"] * width)))
            body = [residual(b, width, position=position) for b in branches]
            stages.append(DenseBlock(nn.Sequential(*body, linear(width, growth, std=INIT_STD))))
            width += growth
    head = linear(width, base.num_classes, std=INIT_STD)
    return nn.Sequential(*stages, TokenHead(layer_norm(width), head))


class DenseBlock(nn.Module):
    """The input with the features that a block makes of it beside it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, D + growth]."""
        return torch.cat([x_BTD, self.body(x_BTD)], dim=2)


class GhostMaps(nn.Module):
    """Queries, keys and values of which a linear map makes half and scalars the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.maps = nn.ModuleList(linear(width, half, bias=False, std=INIT_STD) for _ in "qkv")
        self.scalars = nn.ModuleList(_scalars(half) for _ in "qkv")

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, 3 D]."""
        parts = []
        for make, copy in zip(self.maps, self.scalars, strict=True):
            half = make(x_BTD)
            parts += [half, copy(half.transpose(1, 2)).transpose(1, 2)]
        return torch.cat(parts, dim=2)


class GhostMLP(nn.Module):
    """An MLP whose hidden features are those of one linear map and scaled copies of them."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.first = linear(width, width, std=INIT_STD)
        self.scalars = nn.ModuleList(_scalars(width) for _ in range(ratio - 1))
        self.act = nn.GELU()
        self.last = linear(ratio * width, width, std=INIT_STD)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, D]."""
        hidden = self.act(self.first(x_BTD))
        copies = [self.act(c(hidden.transpose(1, 2)).transpose(1, 2)) for c in self.scalars]
        y: Tensor = self.last(torch.cat([hidden, *copies], dim=2))
        return y


def _scalars(features: int) -> nn.Conv1d:
    """Return one factor for each feature, as a grouped convolution."""
    return nn.Conv1d(features, features, 1, groups=features, bias=False)
