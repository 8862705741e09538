"""A space so small that every arch of a FLOP band could be trained for a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.choice import Choose
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d, residual
from .blocks import sandglass
from .heads import HEADS, Body


@dataclass(frozen=True, kw_only=True)
class SandglassMicroTab(Space):
    """Three sandglass blocks at 20 px; candidates lie far apart, so that archs differ clearly.

    At 20 px the searched kernels see features of 10 px in the first stage, 5 px in the second.
    """

    name: ClassVar[str] = "sandglass-micro-tab"
    recipe: ClassVar[str | None] = "small"
    tasks: ClassVar[tuple[str, ...]] = tuple(HEADS)

    resolution: int = 20
    num_classes: int = 10

    def network(self, choose: Choose) -> nn.Module:
        """Build stem, one block with stride, two without, and head."""
        stem = choose("stem.width", (4, 8, 12))
        first = choose("stage1.width", (8, 20))
        second = choose("stage2.width", (16, 40))
        stage1 = sandglass(
            stem,
            first,
            choose("stage1.hidden", (2, 8)),
            stride=2,
            first_kernel=choose("stage1.first_kernel", (3, 5, 7)),
            last_kernel=choose("stage1.last_kernel", (3, 5, 7)),
        )
        stage2 = [
            sandglass(
                channels,
                second,
                choose(f"stage2.block{number}.hidden", (3, 12)),
                first_kernel=choose(f"stage2.block{number}.first_kernel", (3, 5)),
            )
            for number, channels in ((1, first), (2, second))
        ]
        body = Body()
        body.add(
            ConvNormAct(conv2d(3, stem, 3, stride=2), batch_norm(stem), nn.ReLU6()), stem, stride=2
        )
        body.add(stage1, first, stride=2)
        body.add(stage2[0], second)
        body.add(residual(stage2[1], second, keep=choose("stage2.block2.keep", (1, 0))), second)
        return body.network(self.kind, self.num_classes)
