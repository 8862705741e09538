"""A space of one's own, searched, retrained and taken home as a plain module."""

from dataclasses import dataclass

import nastk
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear
from nastk.strategies import MetaKernel
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Mine(nastk.Space):
    resolution: int = 28
    num_classes: int = 10

    def network(self, choose):
        width = choose("width", (16, 24, 32))
        return nn.Sequential(
            Chain(
                [
                    ConvNormAct(conv2d(3, 16, 3, stride=2), batch_norm(16), nn.ReLU()),
                    ConvNormAct(depthwise_conv2d(16, choose("kernel", (3, 5, 7))), batch_norm(16)),
                    ConvNormAct(conv2d(16, width, 1), batch_norm(width), nn.ReLU()),
                ]
            ),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            linear(width, self.num_classes),
        )


if __name__ == "__main__":
    found = nastk.search(Mine, "80%", strategy=MetaKernel(steps=60))
    print(found)
    print(found.network(trained=False))
