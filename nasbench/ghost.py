"""The Ghost bottleneck (arXiv:1911.11907), which no search space has."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d


class Ghost(nn.Module):
    """Half of the channels by a 1x1 convolution, the other half from those by a cheap depthwise."""

    def __init__(self, in_channels: int, out_channels: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        half = math.ceil(out_channels / 2)
        self.primary = ConvNormAct(conv2d(in_channels, half, 1), batch_norm(half), act())
        self.cheap = ConvNormAct(depthwise_conv2d(half, 3), batch_norm(half), act())
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.out_channels]


class GhostBottleneck(nn.Module):
    """Two ghost modules, a strided depthwise convolution between them, and a shortcut."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel: int,
        stride: int,
        squeeze: nn.Module | None,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = [Ghost(in_channels, hidden, nn.ReLU)]
        if stride > 1:
            conv = depthwise_conv2d(hidden, kernel, stride=stride)
            parts.append(ConvNormAct(conv, batch_norm(hidden)))
        if squeeze is not None:
            parts.append(squeeze)
        self.body = nn.Sequential(*parts, Ghost(hidden, out_channels, nn.Identity))
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                ConvNormAct(
                    depthwise_conv2d(in_channels, kernel, stride=stride), batch_norm(in_channels)
                ),
                ConvNormAct(conv2d(in_channels, out_channels, 1), batch_norm(out_channels)),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        y: Tensor = self.body(x) + self.shortcut(x)
        return y
