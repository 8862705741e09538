"""The sandglass space: MobileNeXt (arXiv:2007.02269) with searched kernels, widths and depth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from ..core.arch import Arch
from ..core.choice import Choose, Value
from ..core.space import Space
from ..ops import ConvNormAct, batch_norm, conv2d, residual
from .blocks import (
    bottleneck_width,
    check_factors,
    round_channels,
    sandglass,
    scaled_channels,
)
from .heads import HEADS, Body, Ending

# MobileNeXt, arXiv:2007.02269 and its released code: reduction t, channels, repeats, stride.
STAGES = (
    (2, 96, 1, 2),
    (6, 144, 1, 1),
    (6, 192, 3, 2),
    (6, 288, 3, 2),
    (6, 384, 4, 1),
    (6, 576, 4, 2),
    (6, 960, 3, 1),
    (6, 1280, 1, 1),
)


@dataclass(frozen=True, kw_only=True)
class Sandglass(Space):
    """MobileNeXt whose every block chooses kernels, reduction, shortcut share and existence.

    Attributes:
        width: the published width multiplier. Channels are rounded to multiples of 8, those of 0.1
            to multiples of 4.
        kernels: candidates of every depthwise convolution; the released model has 3.
        reductions: candidates of t, by which a bottleneck narrows; the released model has 6.
        multipliers: candidates of the identity tensor multiplier, of which floor(m * M) of M
            channels have a shortcut; the released model has 1, its variants 1/2, 1/3 and 1/4.
        scale: factor on every channel count, bottlenecks included, rounded up to even; for
            proxies, since unlike `width` it keeps all candidates apart.
    """

    name: ClassVar[str] = "sandglass"
    recipe: ClassVar[str | None] = "mobilenext"
    search_steps: ClassVar[int] = 260
    tasks: ClassVar[tuple[str, ...]] = tuple(HEADS)

    width: float = 1.0
    kernels: tuple[int, ...] = (3, 5, 7)
    reductions: tuple[int, ...] = (4, 6)
    multipliers: tuple[float, ...] = (1, 0.5)
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_factors(self.name, width=self.width, scale=self.scale)
        for name in ("kernels", "reductions", "multipliers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def proxy(self) -> Space:
        """Return the space at 112 px with all channels times 0.35: every choice stays visible."""
        return dataclasses.replace(self, scale=0.35, resolution=112)

    def network(self, choose: Choose) -> nn.Module:
        """Build the network; see `STAGES`."""
        divisor = 4 if self.width == 0.1 else 8
        channels = round_channels(32 * self.width, divisor)
        stem = scaled_channels(channels, self.scale)
        body = Body()
        body.add(
            ConvNormAct(conv2d(3, stem, 3, stride=2), batch_norm(stem), nn.ReLU6()), stem, stride=2
        )
        for index, (reduction, base, repeats, stride) in enumerate(STAGES, 1):
            out = round_channels(base * self.width, divisor)
            if index == len(STAGES) and self.width < 1:
                out = base
            for block in range(1, repeats + 1):
                name = f"stage{index}.block{block}"
                step = stride if block == 1 else 1
                layer = self._block(
                    choose, name, channels, out, reduction, step, is_single=repeats == 1
                )
                body.add(layer, scaled_channels(out, self.scale), stride=step)
                channels = out
        return body.network(self.kind, self.num_classes, Ending(dropout=0.2, pyramid=32))

    def _block(
        self,
        choose: Choose,
        name: str,
        in_channels: int,
        out_channels: int,
        reduction: int,
        stride: int,
        *,
        is_single: bool,
    ) -> nn.Module:
        """Return one of the five block shapes of the released network (paper notes: A to E)."""
        changes = in_channels != out_channels and not is_single
        has_first = reduction == 2 or not changes
        has_last = reduction == 2 or not (changes and stride == 1)
        if reduction == 2:
            hidden: Any = bottleneck_width(in_channels, out_channels, 2)
            hidden = scaled_channels(hidden, self.scale)
        else:

            def width_at(ratio: int) -> int:
                return bottleneck_width(in_channels, out_channels, ratio)

            ratio = choose(f"{name}.reduction", self.reductions, distinct=width_at)
            hidden = _apply(ratio, lambda t: scaled_channels(width_at(t), self.scale))
        body = sandglass(
            scaled_channels(in_channels, self.scale),
            (out := scaled_channels(out_channels, self.scale)),
            hidden,
            stride=stride,
            first_kernel=choose(f"{name}.first_kernel", self.kernels) if has_first else None,
            last_kernel=choose(f"{name}.last_kernel", self.kernels) if has_last else None,
        )
        if changes or is_single:
            return body
        return residual(
            body,
            out,
            keep=choose(f"{name}.keep", (1, 0)),
            multiplier=choose(f"{name}.multiplier", self.multipliers),
        )

    def uniform(self, *, kernel: int = 3, reduction: int = 6, multiplier: float = 1) -> Arch:
        """Return the arch with the same setting in every block; by default the published one."""
        values: dict[str, Value] = {
            "kernel": kernel,
            "reduction": reduction,
            "multiplier": multiplier,
            "keep": 1,
        }
        return self.arch({name: values[_kind(name)] for name in self.choices()})


def _kind(name: str) -> str:
    return "kernel" if name.endswith("kernel") else name.rsplit(".", 1)[-1]


def _apply(value: Any, function: Any) -> Any:
    return function(value) if isinstance(value, int) else value.map(function)
