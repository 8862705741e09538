"""The smallest useful space, for documentation and for tests that visit every arch."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.choice import Choose
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d
from .heads import HEADS, Body


@dataclass(frozen=True, kw_only=True)
class Toy(Space):
    """Two choices, four archs: the kernel of a depthwise convolution and a width."""

    name: ClassVar[str] = "toy"
    recipe: ClassVar[str | None] = "small"
    tasks: ClassVar[tuple[str, ...]] = tuple(HEADS)

    resolution: int = 28
    num_classes: int = 10

    def network(self, choose: Choose) -> nn.Module:
        """Build three convolutions and a linear layer."""
        width = choose("width", (8, 16))
        body = Body()
        body.add(ConvNormAct(conv2d(3, 8, 3, stride=2), batch_norm(8), nn.ReLU6()), 8, stride=2)
        depthwise = depthwise_conv2d(8, choose("kernel", (3, 5)), stride=2)
        body.add(ConvNormAct(depthwise, batch_norm(8)), 8, stride=2)
        body.add(ConvNormAct(conv2d(8, width, 1), batch_norm(width), nn.ReLU6()), width)
        return body.network(self.kind, self.num_classes)
