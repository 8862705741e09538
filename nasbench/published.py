"""Published networks that lie in no search space, built from tables and the shared blocks."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from ..core.choice import Choose
from ..core.lookup import lookup
from ..core.space import Space
from ..ops import (
    Chain,
    ConvNormAct,
    batch_norm,
    conv2d,
    depthwise_conv2d,
    linear,
    mixed_depthwise_conv2d,
    residual,
)
from ..search_spaces.blocks import (
    ACTS,
    Head,
    SqueezeExcite,
    inverted_residual,
    round_channels,
    sandglass,
    scaled_channels,
)
from .ghost import GhostBottleneck

_GATES: Mapping[str, Callable[[], nn.Module]] = {
    "hard_sigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
}
Table = Mapping[str, Any]


@cache
def models() -> dict[str, Table]:
    """Return the tables of `models.toml`, those with a base filled in."""
    content = tomllib.loads(Path(__file__).with_name("models.toml").read_text())
    return {name: content.get(table.get("base"), {}) | table for name, table in content.items()}


class IdleBatchNorm2d(nn.BatchNorm2d):
    """A normalisation that a released model carries but never runs; it counts as params."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` as it is."""
        return x


@dataclass(frozen=True, kw_only=True)
class Published(Space):
    """One network from `models.toml`; a space without choices, so that all commands take it.

    Attributes:
        model: name of the table.
        width: width multiplier, channels rounded as the model's authors do.
        scale: factor on every channel count, rounded up to even; for proxies.
    """

    name: ClassVar[str] = "published"

    model: str = "mobilenetv2"
    width: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup("model", self.model, models())

    def proxy(self) -> Space:
        """Return the network at 128 px with all channels times 0.35, as the spaces' proxies."""
        return dataclasses.replace(self, scale=0.35, resolution=128)

    def network(self, choose: Choose) -> nn.Module:
        """Build the network; nothing is chosen."""
        table = models()[self.model]
        builders: dict[str, Callable[[Table], nn.Module]] = {
            "atom": self._atom,
            "ghost": self._ghost,
            "inverted": self._inverted,
            "sandglass-se": self._sandglass_se,
        }
        return builders[table["kind"]](table)

    def _scaled(self, channels: int) -> int:
        return scaled_channels(channels, self.scale)

    def _rounded(self, channels: float, divisor: int = 8) -> int:
        return self._scaled(round_channels(channels * self.width, divisor))

    def _inverted(self, table: Table) -> nn.Module:
        act = ACTS[table["act"]]
        channels = self._rounded(table["stem"])
        layers: list[nn.Module] = [
            ConvNormAct(conv2d(3, channels, 3, stride=2), batch_norm(channels), act())
        ]
        unscaled = round_channels(table["stem"] * self.width, 8)
        for row in table["blocks"]:
            expansion, kernel, base, repeats, first_stride, share = row[:6]
            block_act = ACTS[row[6]] if len(row) > 6 else act
            width = round_channels(base * self.width, 8)
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                wide = round_channels(unscaled * (expansion or 1), 8)
                hidden = self._scaled(wide)
                squeeze = None
                if share:
                    base_width = wide if table.get("squeeze_of") == "hidden" else unscaled
                    squeezed = _rounded_share(base_width * share, table.get("squeeze_divisor", 1))
                    squeeze = _squeeze(table, hidden, self._scaled(squeezed))
                layers.append(
                    inverted_residual(
                        self._scaled(unscaled),
                        hidden,
                        self._scaled(width),
                        depthwise_conv2d(hidden, kernel, stride=stride),
                        has_shortcut=stride == 1 and unscaled == width,
                        expand=expansion > 0,
                        act=block_act,
                        squeeze=squeeze,
                    )
                )
                unscaled = width
        channels = self._scaled(unscaled)
        if "head" not in table:  # MobileNetV2's rule: the last width never shrinks
            last = self._scaled(max(table["last"], round_channels(table["last"] * self.width, 8)))
            layers.append(ConvNormAct(conv2d(channels, last, 1), batch_norm(last), act()))
            return nn.Sequential(*layers, Head(linear(last, self.num_classes), dropout=0.2))
        last = self._rounded(table["last"])
        layers.append(ConvNormAct(conv2d(channels, last, 1), batch_norm(last), act()))
        return nn.Sequential(*layers, self._biased_head(last, table["head"], act))

    def _biased_head(self, channels: int, width: int, act: Callable[[], nn.Module]) -> nn.Module:
        """Return pool, biased 1x1 convolution, activation, linear layer (MobileNetV3)."""
        head = self._scaled(width)
        conv = ConvNormAct(conv2d(channels, head, 1, bias=True), None, act())
        return Head(linear(head, self.num_classes), dropout=0.2, conv=conv)

    def _atom(self, table: Table) -> nn.Module:
        act = ACTS[table.get("act", "relu")]
        channels = self._scaled(table["stem"])
        layers: list[nn.Module] = [
            ConvNormAct(conv2d(3, channels, 3, stride=2), batch_norm(channels), act())
        ]
        unscaled = table["stem"]
        for index, (base, stride, kernels, counts) in enumerate(table["blocks"]):
            out, shares = self._scaled(base), [self._scaled(count) for count in counts]
            squeezed = round(unscaled * table.get("squeeze", 0))
            squeeze = SqueezeExcite(sum(shares), self._scaled(squeezed), act) if squeezed else None
            layers.append(
                inverted_residual(
                    channels,
                    sum(shares),
                    out,
                    mixed_depthwise_conv2d(shares, kernels, stride=stride),
                    has_shortcut=stride == 1 and unscaled == base,
                    expand=index > 0,
                    act=act,
                    squeeze=squeeze,
                )
            )
            channels, unscaled = out, base
        last = self._scaled(table["last"])
        layers.append(ConvNormAct(conv2d(channels, last, 1), batch_norm(last), act()))
        return nn.Sequential(*layers, Head(linear(last, self.num_classes), dropout=0.2))

    def _ghost(self, table: Table) -> nn.Module:
        channels = self._rounded(table["stem"], 4)
        layers: list[nn.Module] = [
            ConvNormAct(conv2d(3, channels, 3, stride=2), batch_norm(channels), nn.ReLU())
        ]
        for kernel, wide, base, share, stride in table["blocks"]:
            hidden, out = self._rounded(wide, 4), self._rounded(base, 4)
            squeeze = None
            if share:
                squeezed = round_channels(round_channels(wide * self.width, 4) * share, 4)
                squeeze = SqueezeExcite(hidden, self._scaled(squeezed), gate=nn.Hardsigmoid)
            layers.append(GhostBottleneck(channels, hidden, out, kernel, stride, squeeze))
            channels = out
        last = self._rounded(table["last"], 4)
        layers.append(ConvNormAct(conv2d(channels, last, 1), batch_norm(last), nn.ReLU()))
        return nn.Sequential(*layers, self._biased_head(last, table["head"], nn.ReLU))

    def _sandglass_se(self, table: Table) -> nn.Module:
        norm = partial(batch_norm, eps=1e-3, momentum=0.01)
        channels = table["stem"]
        layers: list[nn.Module] = [
            ConvNormAct(
                conv2d(3, self._scaled(channels), 3, stride=2),
                norm(self._scaled(channels)),
                nn.SiLU(),
            )
        ]
        for repeats, kernel, first_stride, reduction, out in table["blocks"]:
            for index in range(math.ceil(table.get("depth", 1) * repeats)):
                stride = first_stride if index == 0 else 1
                has_first = reduction == 2 or channels == out
                has_last = reduction == 2 or channels == out or stride == 2
                body = sandglass(
                    self._scaled(channels),
                    self._scaled(out),
                    self._scaled(round_channels(channels // reduction, 2)),
                    stride=stride,
                    first_kernel=kernel if has_first else None,
                    last_kernel=kernel if has_last else None,
                    act=nn.SiLU,
                    groups=table.get("groups", 1) if has_first else 1,
                    norm=norm,
                )
                squeezed = self._scaled(max(1, int(out / reduction * 0.25)))
                squeeze = SqueezeExcite(self._scaled(out), squeezed, nn.SiLU)
                block = Chain([*body.steps, squeeze])
                is_residual = channels == out and stride == 1
                layers.append(residual(block, self._scaled(out)) if is_residual else block)
                channels = out
        last = self._scaled(channels)
        layers.append(IdleBatchNorm2d(last, eps=1e-3, momentum=0.01))
        return nn.Sequential(*layers, Head(linear(last, self.num_classes), dropout=0.2))


def _rounded_share(channels: float, divisor: int) -> int:
    return round(channels) if divisor == 1 else round_channels(channels, divisor)


def _squeeze(table: Table, hidden: int, squeezed: int) -> nn.Module:
    act = ACTS[table.get("squeeze_act", table["act"])]
    return SqueezeExcite(hidden, squeezed, act, _GATES[table.get("squeeze_gate", "sigmoid")])
