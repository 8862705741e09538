"""MobileNetV2-like spaces whose hidden channels are groups that choose their own kernel size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.arch import Arch
from ..core.choice import Choose
from ..core.lookup import lookup
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d, grouped
from ..ops.meta_convolution import Kernel
from .blocks import (
    ACTS,
    SqueezeExcite,
    check_factors,
    inverted_residual,
    round_channels,
    scaled_channels,
)
from .heads import HEADS, Body, Ending

# Channels, repeats, stride. The first stage is a fixed block without expansion.
# "r1" is the 22-block macro of FBNet, Single-Path NAS and AtomNAS; "v2" is MobileNetV2's.
MACROS: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "r1": ((16, 1, 1), (24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)),
    "v2": ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)),
}


@dataclass(frozen=True, kw_only=True)
class MBConv(Space):
    """Inverted residual blocks of six hidden groups, each with a kernel size or absent.

    A group has as many channels as the block's input, so that the number of groups present is
    the expansion ratio (arXiv:1912.04749 sums kernels; this macro and grouping are nastk's).

    Attributes:
        macro: `r1` or `v2`, see `MACROS`.
        kernels: candidates of every group; 0 is absence, which the first group does not have.
        width: the width multiplier of MobileNetV2 (arXiv:1801.04381).
        act: activation, a name in `ACTS`.
        squeeze: hidden width of squeeze-excitation as a share of the block's input channels; 0
            leaves it out.
        scale: factor on every channel count, rounded up to even; for proxies.
    """

    name: ClassVar[str] = "mbconv"
    recipe: ClassVar[str | None] = "mobilenet"
    search_steps: ClassVar[int] = 260
    tasks: ClassVar[tuple[str, ...]] = tuple(HEADS)

    macro: str = "r1"
    kernels: tuple[int, ...] = (0, 3, 5, 7)
    width: float = 1.0
    act: str = "relu6"
    squeeze: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_factors(self.name, width=self.width, scale=self.scale)
        lookup("activation", self.act, ACTS)
        lookup("macro", self.macro, MACROS)
        object.__setattr__(self, "kernels", tuple(self.kernels))

    def proxy(self) -> Space:
        """Return the space at 112 px with all channels times 0.35."""
        return dataclasses.replace(self, scale=0.35, resolution=112)

    def network(self, choose: Choose) -> nn.Module:
        """Build stem, blocks and head, of labels behind a 1280-channel convolution."""
        act = ACTS[self.act]
        channels = self._channels(32)
        body = Body()
        stem = ConvNormAct(conv2d(3, channels, 3, stride=2), batch_norm(channels), act())
        body.add(stem, channels, stride=2)
        for index, (base, repeats, first_stride) in enumerate(MACROS[self.macro], 1):
            for block in range(1, repeats + 1):
                kernels: tuple[Kernel, ...] = (3,)
                if index > 1:
                    name = f"stage{index}.block{block}.kernel"
                    kernels = choose(name, self.kernels, groups=6, required=1)
                out, stride = self._channels(base), first_stride if block == 1 else 1
                layer = self._block(channels, out, kernels, stride, expand=index > 1)
                body.add(layer, out, stride=stride)
                channels = out
        last = scaled_channels(max(1280, round_channels(1280 * self.width, 8)), self.scale)
        ending = Ending(dropout=0.2, widened=last, act=act, pyramid=32)
        return body.network(self.kind, self.num_classes, ending)

    def _channels(self, base: int) -> int:
        return scaled_channels(round_channels(base * self.width, 8), self.scale)

    def _block(
        self, channels: int, out: int, kernels: tuple[Kernel, ...], stride: int, *, expand: bool
    ) -> nn.Module:
        hidden = grouped(channels, kernels)
        squeezed = round(channels * self.squeeze)
        act = ACTS[self.act]
        return inverted_residual(
            channels,
            hidden,
            out,
            depthwise_conv2d(hidden, kernels, stride=stride),
            has_shortcut=stride == 1 and channels == out,
            expand=expand,
            act=act,
            squeeze=SqueezeExcite(hidden, squeezed, act) if squeezed else None,
        )

    def uniform(self, *, kernel: int = 3, expansion: int = 6) -> Arch:
        """Return the arch with one kernel size and the first `expansion` groups everywhere."""
        return self.arch(
            {n: kernel if int(n.rsplit(".", 1)[1]) <= expansion else 0 for n in self.choices()}
        )
