"""A small sandglass space that ranks archs in minutes on embedded data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from ..core.choice import Choose
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d, residual
from .blocks import sandglass
from .heads import HEADS, Body

# Candidate widths and the stride of each stage of two blocks (design of nastk).
STAGES = (((12, 16, 20), 1), ((24, 32, 40), 2), ((48, 64, 80), 2))


@dataclass(frozen=True, kw_only=True)
class SandglassMicro(Space):
    """Six sandglass blocks at 28 px with searched kernels, bottlenecks, widths and depth."""

    name: ClassVar[str] = "sandglass-micro"
    recipe: ClassVar[str | None] = "small"
    search_steps: ClassVar[int] = 450
    tasks: ClassVar[tuple[str, ...]] = tuple(HEADS)

    resolution: int = 28
    num_classes: int = 10

    def network(self, choose: Choose) -> nn.Module:
        """Build stem, three stages of two blocks, and head."""
        channels: Any = choose("stem.width", (8, 16))
        body = Body()
        stem = ConvNormAct(conv2d(3, channels, 3, stride=2), batch_norm(channels), nn.ReLU6())
        body.add(stem, channels, stride=2)
        for index, (widths, stride) in enumerate(STAGES, 1):
            out = choose(f"stage{index}.width", widths)
            for block in (1, 2):
                name = f"stage{index}.block{block}"
                layer: nn.Module = sandglass(
                    channels,
                    out,
                    choose(f"{name}.hidden", (8, 12, 16)),
                    stride=(step := stride if block == 1 else 1),
                    first_kernel=choose(f"{name}.first_kernel", (3, 5, 7)),
                    last_kernel=choose(f"{name}.last_kernel", (3, 5, 7)),
                )
                if block == 2:
                    layer = residual(layer, out, keep=choose(f"{name}.keep", (1, 0)))
                body.add(layer, out, stride=step)
                channels = out
        return body.network(self.kind, self.num_classes)
