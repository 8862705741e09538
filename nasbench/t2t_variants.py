"""Variants of T2T-ViT that lie outside of its space: ghost and dense blocks (arXiv:2101.11986)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.choice import Choose
from ..core.lookup import lookup
from ..core.space import Space
from ..ops import layer_norm, linear, residual, self_attention
from ..ops.attention import SelfAttention
from ..search_spaces.blocks import scaled_channels
from ..search_spaces.t2t import T2T, TokenHead, mlp

# B batch, T tokens, D features

# The released models: depth, width and MLP ratio; and blocks of each stage, width in front of them,
# features that a block adds, heads and MLP ratio.
GHOST = (16, 384, 3)
DENSE = ((3, 6, 6, 4), 128, 64, 8, 2)


@dataclass(frozen=True, kw_only=True)
class T2TVariant(Space):
    """One published T2T-ViT of other blocks; a space without choices, so that all commands take it.

    Attributes:
        model: `t2t-vit-16-ghost` or `t2t-vit-dense`.
        scale_by: `head` or `width`, whose square root divides the scores of the blocks.
        scale: factor on the widths, for proxies; the number of heads stays.
    """

    name: ClassVar[str] = "t2t-variant"
    supernet_recipes: ClassVar[tuple[str, ...]] = T2T.supernet_recipes
    recipe: ClassVar[str] = T2T.recipe
    short_recipe: ClassVar[str] = T2T.short_recipe

    model: str = "t2t-vit-16-ghost"
    scale_by: str = "head"
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup("model", self.model, self._builders)
        lookup("scale", self.scale_by, dict.fromkeys(("head", "width")))

    def proxy(self) -> Space:
        """Return the network at 64 px with a quarter of the width of every head, as `T2T`'s."""
        return dataclasses.replace(self, scale=0.25, resolution=64)

    def network(self, choose: Choose) -> nn.Module:
        """Build the network; nothing is chosen."""
        return self._builders[self.model](choose)

    @property
    def _builders(self) -> dict[str, Callable[[Choose], nn.Module]]:
        return {"t2t-vit-16-ghost": self._ghost, "t2t-vit-dense": self._dense}

    @property
    def _base(self) -> T2T:
        """The space of T2T-ViT reduced to the token layers of the published models."""
        return T2T(
            first_kernels=(7,),
            kernels=(3,),
            layers=("performer",),
            token_widths=(64,),
            feature_ratios=(0.5,),
            resolution=self.resolution,
            num_classes=self.num_classes,
            scale=self.scale,
        )

    def _head(self, width: int) -> nn.Module:
        return TokenHead(
            layer_norm(width), linear(width, self.num_classes, std=self._base.linear_std)
        )

    def _ghost(self, choose: Choose) -> nn.Module:
        """Return T2T-ViT-Ghost, whose linear maps make half or a third of their outputs."""
        base, (depth, unscaled, ratio) = self._base, GHOST
        std, head_width = base.linear_std, scaled_channels(base.head_width, self.scale)
        width = unscaled // base.head_width * head_width
        stages = base.embedding_stages(choose, width)
        for number in range(1, depth + 1):
            proj = linear(width, width, std=std)
            maps = GhostMaps(width, std)
            attention = SelfAttention(maps, proj, (3, -1, head_width), self.scale_by)
            branches = (attention, GhostMLP(width, ratio, std))
            stages += [
                residual(nn.Sequential(layer_norm(width), b), width, position=number)
                for b in branches
            ]
        return nn.Sequential(*stages, self._head(width))

    def _dense(self, choose: Choose) -> nn.Module:
        """Return T2T-ViT-Dense: every block adds features to those of the blocks before it."""
        base, (blocks_of_stages, unscaled, added, heads, ratio) = self._base, DENSE
        std = base.linear_std
        width, growth = (heads * scaled_channels(d // heads, self.scale) for d in (unscaled, added))
        stages = base.embedding_stages(choose, width)
        position = 0
        for number, blocks in enumerate(blocks_of_stages):
            if number:
                half = heads * math.ceil(width / 2 / heads)
                stages += [linear(width, half, std=std), nn.GELU()]
                width = half
            for _ in range(blocks):
                position += 1
                attention = self_attention(width, heads=heads, scale_by=self.scale_by, std=std)
                branches = (
                    nn.Sequential(layer_norm(width), attention),
                    mlp(width, ratio * width, std=std),
                )
                body = [residual(b, width, position=position) for b in branches]
                stages.append(DenseBlock(nn.Sequential(*body, linear(width, growth, std=std))))
                width += growth
        return nn.Sequential(*stages, self._head(width))


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

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        half = width // 2
        self.maps = nn.ModuleList(linear(width, half, bias=False, std=std) for _ in "qkv")
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

    def __init__(self, width: int, ratio: int, std: float) -> None:
        super().__init__()
        self.first = linear(width, width, std=std)
        self.scalars = nn.ModuleList(_scalars(width) for _ in range(ratio - 1))
        self.act = nn.GELU()
        self.last = linear(ratio * width, width, std=std)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, D]."""
        hidden = self.act(self.first(x_BTD))
        copies = [self.act(c(hidden.transpose(1, 2)).transpose(1, 2)) for c in self.scalars]
        y: Tensor = self.last(torch.cat([hidden, *copies], dim=2))
        return y


def _scalars(features: int) -> nn.Conv1d:
    """Return one factor for each feature, as a grouped convolution."""
    return nn.Conv1d(features, features, 1, groups=features, bias=False)
