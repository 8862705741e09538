"""A residual block whose branch may be skipped and whose shortcut may be partial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator
from ..core.supernet import extract_part
from ..core.trace import active_tracer, gate
from .chain import Chain, Regrouped
from .constants import steps, vector
from .single_feature import scale_channels
from .width import AnyWidth, is_plain, width_of

# B batch, C channels, H height, W width


def residual(
    branch: nn.Module,
    channels: AnyWidth,
    *,
    keep: int | Choice = 1,
    multiplier: float | Choice = 1,
) -> nn.Module:
    """Return x + branch(x), or x alone where the block is skipped.

    Args:
        branch: keeps shape and channels. A skippable branch should end in a norm.
        channels: channels of the feature.
        keep: 1 to run the branch, 0 to skip the block, or a choice of the two.
        multiplier: share of the channels that receive the shortcut, the first ones (the identity
            tensor multiplier of arXiv:2007.02269); it has no meaning in a skipped block.

    Raises:
        ValueError: if `keep` is neither 0 nor 1, or `multiplier` lies outside of [0, 1].
    """
    keeps = keep.values if isinstance(keep, Choice) else (keep,)
    shares = multiplier.values if isinstance(multiplier, Choice) else (multiplier,)
    if any(value not in (0, 1) for value in keeps) or not all(0 <= s <= 1 for s in shares):
        raise ValueError(
            f"residual takes keep 0 or 1 and a multiplier in [0, 1], got {keeps} and {shares}"
        )
    if not is_plain(keep, multiplier) or (
        not is_plain(channels) and any(share != 1 for share in shares)
    ):
        return MetaResidual(branch, channels, keep, multiplier)
    if keep == 0:
        return nn.Identity()
    share = cast(float, multiplier)
    # A full shortcut needs no channel count, which then may still be a choice.
    return Residual(branch, None if share == 1 else shortcut_channels(cast(int, channels), share))


def shortcut_channels(channels: int, share: float) -> int:
    """Return how many channels receive the shortcut: floor(share * channels)."""
    return math.floor(share * channels + 1e-9)


class Residual(nn.Module):
    """x + branch(x), the sum over the first `channels` only if given."""

    def __init__(self, branch: nn.Module, channels: int | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum [B, C, H, W]."""
        y: Tensor = self.branch(x)
        if self.channels is None:
            return x + y
        n = self.channels
        return torch.cat([x[:, :n] + y[:, :n], y[:, n:]], dim=1)


class MetaResidual(Regrouped, MetaOperator):
    """keep * (branch(x) + mask * x) + (1 - keep) * x, with one feature for all candidates."""

    def __init__(
        self,
        branch: nn.Module,
        channels: AnyWidth,
        keep: int | Choice,
        multiplier: float | Choice,
    ) -> None:
        super().__init__()
        self.branch, self.width = branch, width_of(channels)
        self.keep, self.multiplier = keep, multiplier
        partial = isinstance(multiplier, Choice) or multiplier != 1
        if partial and not is_plain(channels):
            raise ValueError("a partial shortcut needs a fixed number of channels")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output under the current mixtures."""
        if active_tracer() is not None:
            return self._trace(x_BCHW)
        keep = _mean(self.keep)
        if isinstance(keep, float):
            if keep == 0:
                return x_BCHW
            y: Tensor = self.branch(x_BCHW)
        elif isinstance(self.branch, Chain) and self.branch.can_scale:
            y = self.branch.scaled(x_BCHW, keep)
        else:
            y = keep * self.branch(x_BCHW)
        mask = self._mask(x_BCHW)
        if isinstance(keep, float):
            return y + x_BCHW if mask is None else y + mask * x_BCHW
        if mask is None:
            return y + x_BCHW  # keep + (1 - keep) of the shortcut
        keep = keep.to(x_BCHW)
        share = keep * mask + (1 - keep)
        if self.memory != "high" and torch.is_grad_enabled():
            return y + scale_channels(x_BCHW, share.flatten())
        return y + share * x_BCHW

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain block of `arch`."""
        if _value(self.keep, arch) == 0:
            return nn.Identity()
        branch = extract_part(self.branch, arch)
        share = _value(self.multiplier, arch)
        channels = None if share == 1 else shortcut_channels(self.width.size, share)
        return Residual(branch, channels).train(self.training)

    def _mask(self, x: Tensor) -> Tensor | None:
        """Return [1, C, 1, 1] the mean share of each channel in the shortcut; None for ones."""
        if not isinstance(self.multiplier, Choice):
            shares, weights = [self.multiplier], x.new_ones(1)
        elif self.multiplier.slot.probs_N is None:
            shares = [self.multiplier.values[cast(int, self.multiplier.slot.index)]]
            weights = x.new_ones(1)
        else:
            shares, weights = list(self.multiplier.values), self.multiplier.slot.probs_N.to(x)
        if shares == [1]:
            return None
        counts = tuple(shortcut_channels(self.width.size, share) for share in shares)
        return (weights @ steps(counts, self.width.size, x)).reshape(1, -1, 1, 1)

    def _trace(self, x: Tensor) -> Tensor:
        tracer = active_tracer()
        assert tracer is not None
        with ExitStack() as stack:
            if isinstance(self.keep, Choice):
                tracer.use(self.keep, self.keep.values)
                stack.enter_context(gate(self.keep, [bool(v) for v in self.keep.values]))
            if isinstance(self.multiplier, Choice):
                counts = [shortcut_channels(self.width.size, s) for s in self.multiplier.values]
                tracer.use(self.multiplier, counts)
            y: Tensor = self.branch(x)
        return y


def _mean(keep: int | Choice) -> float | Tensor:
    """Return the chosen value, or the mean under a soft mixture."""
    if not isinstance(keep, Choice):
        return float(keep)
    if keep.slot.probs_N is None:
        return float(keep.values[cast(int, keep.slot.index)])
    return torch.dot(keep.slot.probs_N, vector(keep.values, keep.slot.probs_N))


def _value(entry: Any, arch: Mapping[str, Value]) -> Any:
    if not isinstance(entry, Choice):
        return entry
    return entry.values[entry.position(arch[entry.name])]
