"""The macro space of NAS-Bench-Macro, of which every arch has been trained and tabulated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.arch import Arch
from ..core.choice import Choose
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d, linear
from .blocks import Head, check_factors, optional_bottleneck, scaled_channels

# What a layer may be, in the order of the digits of the table's keys: kernel size of the first and
# of the second half of the wide channels, 0 where they are absent.
KERNELS = {"identity": (0, 0), "e3_k3": (3, 0), "e6_k5": (5, 5)}
OPERATIONS = tuple(KERNELS)
# Channels and layers of each stage, the first layer with stride 2.
_STAGES = ((64, 2), (128, 3), (256, 3))


@dataclass(frozen=True, kw_only=True)
class NasBenchMacro(Space):
    """Eight layers of three operations each: 6,561 archs (NAS-Bench-Macro, arXiv:2103.11922).

    A 3x3 stem, three stages, a 1x1 convolution to 1280 channels, pooling and a linear layer. A
    layer is an identity (where shape changes: a 1x1 convolution with a norm), or an inverted
    bottleneck of expansion 3 and kernel 3 or of expansion 6 and kernel 5. Counts are the table's.

    In the supernet the bottlenecks fold: the kernels of a layer are summed, the channels of the
    smaller expansion are the first half of the larger one's.

    Attributes:
        scale: factor on every channel count, rounded up to even; for proxies.
    """

    name: ClassVar[str] = "nasbench-macro"
    recipe: ClassVar[str] = "small"
    search_steps: ClassVar[int] = 1000

    resolution: int = 32
    num_classes: int = 10
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_factors(self.name, scale=self.scale)

    def proxy(self) -> Space:
        """Return the space at 24 px with a quarter of the channels."""
        return dataclasses.replace(self, scale=0.25, resolution=24)

    def network(self, choose: Choose) -> nn.Module:
        """Build stem, layers, the 1280-channel convolution and head."""
        channels = scaled_channels(32, self.scale)
        layers: list[nn.Module] = [
            ConvNormAct(conv2d(3, channels, 3), batch_norm(channels), nn.ReLU())
        ]
        for stage, (base, repeats) in enumerate(_STAGES, 1):
            out = scaled_channels(base, self.scale)
            for layer in range(1, repeats + 1):
                operation = choose(f"stage{stage}.layer{layer}", OPERATIONS)
                stride = 2 if layer == 1 else 1
                layers.append(
                    optional_bottleneck(
                        operation, KERNELS, 3 * channels, channels, out, stride=stride
                    )
                )
                channels = out
        last = scaled_channels(1280, self.scale)
        layers.append(ConvNormAct(conv2d(channels, last, 1), batch_norm(last), nn.ReLU()))
        return nn.Sequential(*layers, Head(linear(last, self.num_classes)))

    def parse(self, digits: str) -> Arch:
        """Return the arch of a key of the table.

        Raises:
            ValueError: if it is not eight digits of 0, 1 and 2.

        Example:
            >>> NasBenchMacro().parse("01200000").choices["stage2.layer1"]
            'e6_k5'
        """
        names = list(self.choices())
        if len(digits) != len(names) or set(digits) - set("012"):
            raise ValueError(f"{digits!r} is no key of NAS-Bench-Macro; expected 8 digits 0, 1, 2")
        return self.arch({n: OPERATIONS[int(d)] for n, d in zip(names, digits, strict=True)})
