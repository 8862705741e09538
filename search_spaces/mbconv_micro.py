"""A small space of bottlenecks and identities, whose archs differ clearly at equal FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.choice import Choose
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d
from .blocks import optional_bottleneck
from .heads import HEADS, Body

# Kernel size of the first and of the second half of the wide channels, 0 where they are absent.
KERNELS = {"identity": (0, 0), "e2_k3": (3, 0), "e2_k5": (5, 0), "e4_k3": (3, 3), "e4_k5": (5, 5)}
# Channels, layers and the stride of the first layer of each stage (design of nastk).
STAGES = ((8, 2, 1), (16, 2, 2), (32, 2, 2))


@dataclass(frozen=True, kw_only=True)
class MBConvMicro(Space):
    """Six layers at 20 px, each an identity or an inverted bottleneck of one of four kinds.

    A bottleneck (arXiv:1801.04381) has expansion 2 or 4 and kernel 3 or 5. Early layers cost FLOPs
    and hardly params, late ones the reverse, so that neither count says by itself what is good.
    """

    name: ClassVar[str] = "mbconv-micro"
    recipe: ClassVar[str | None] = "small"
    short_recipe: ClassVar[str] = "demonstration-long"
    search_steps: ClassVar[int] = 600
    tasks: ClassVar[tuple[str, ...]] = tuple(HEADS)

    resolution: int = 20
    num_classes: int = 10

    def network(self, choose: Choose) -> nn.Module:
        """Build stem, three stages of two layers, and head."""
        channels = STAGES[0][0]
        body = Body()
        stem = ConvNormAct(conv2d(3, channels, 3, stride=2), batch_norm(channels), nn.ReLU())
        body.add(stem, channels, stride=2)
        for stage, (out, repeats, first_stride) in enumerate(STAGES, 1):
            for layer in range(1, repeats + 1):
                operation = choose(f"stage{stage}.layer{layer}", tuple(KERNELS))
                stride = first_stride if layer == 1 else 1
                bottleneck = optional_bottleneck(
                    operation, KERNELS, 2 * channels, channels, out, stride=stride
                )
                body.add(bottleneck, out, stride=stride)
                channels = out
        return body.network(self.kind, self.num_classes)
