"""A residual block whose branch may be skipped and whose shortcut may be partial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator
from ..core.supernet import extract_part
from ..core.trace import active_tracer, gate
from .blend import keep_and_share
from .block_end import add_shortcut
from .chain import Chain
from .constants import steps, vector
from .width import AnyWidth, is_plain, width_of

# B batch, C channels, H height, W width


def residual(
    branch: nn.Module | Callable[[], nn.Module],
    channels: AnyWidth,
    *,
    keep: int | Choice = 1,
    multiplier: float | Choice = 1,
    position: int | None = None,
) -> nn.Module:
    """Return x + branch(x), or x alone where the block is skipped.

    Args:
        branch: keeps shape and channels; or what makes it, which a skipped block does not call.
            A skippable convolutional branch should end in a norm.
        channels: channels of the feature.
        keep: 1 to run the branch, 0 to skip the block, or a choice of the two.
        multiplier: share of the channels that receive the shortcut, the first ones (the identity
            tensor multiplier of arXiv:2007.02269); it has no meaning in a skipped block.
        position: of the block in the network, for drop path; branches of one position drop at the
            same rate. Without it every branch has a position of its own.

    Raises:
        ValueError: if `keep` is neither 0 nor 1, or `multiplier` lies outside of [0, 1].
    """
    keeps = keep.values if isinstance(keep, Choice) else (keep,)
    shares = multiplier.values if isinstance(multiplier, Choice) else (multiplier,)
    if any(value not in (0, 1) for value in keeps) or not all(0 <= s <= 1 for s in shares):
        raise ValueError(
            f"residual takes keep 0 or 1 and a multiplier in [0, 1], got {keeps} and {shares}"
        )
    if is_plain(keep) and keep == 0:
        return nn.Identity()
    if not isinstance(branch, nn.Module):
        branch = branch()
    if not is_plain(keep, multiplier) or (
        not is_plain(channels) and any(share != 1 for share in shares)
    ):
        return MetaResidual(branch, channels, keep, multiplier, position)
    share = cast(float, multiplier)
    # A full shortcut needs no channel count, which then may still be a choice.
    count = None if share == 1 else shortcut_channels(cast(int, channels), share)
    return Residual(branch, count, position)


def shortcut_channels(channels: int, share: float) -> int:
    """Return how many channels receive the shortcut: floor(share * channels)."""
    return math.floor(share * channels + 1e-9)


class Residual(nn.Module):
    """x + branch(x), the sum over the first `channels` only if given."""

    drop_rate: float = 0.0

    def __init__(
        self, branch: nn.Module, channels: int | None = None, position: int | None = None
    ) -> None:
        super().__init__()
        self.branch = branch
        self.channels = channels
        self.position = position

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum [B, C, H, W], or one of tokens [B, T, C] where `channels` is None."""
        y: Tensor = self.branch(x)
        if self.drop_rate and self.training:
            y = drop_path(y, self.drop_rate)
        if self.channels is None:
            return x + y
        n = self.channels
        return torch.cat([x[:, :n] + y[:, :n], y[:, n:]], dim=1)


def drop_path(y: Tensor, rate: float) -> Tensor:
    """Zero whole items of a batch at random, and scale the others up (arXiv:1603.09382).

    Args:
        y: [B, ...] output of a residual branch.
        rate: share of the items that are dropped, below 1.
    """
    kept = torch.rand((y.shape[0],) + (1,) * (y.dim() - 1), device=y.device) >= rate
    return y * (kept / (1 - rate)).to(y)


def set_drop_path(network: nn.Module, rate: float) -> nn.Module:
    """Drop residual branches in training, and return the network.

    The rates rise linearly from 0 in the first block to `rate` in the last one.

    Args:
        network: a plain network with residual blocks.
        rate: of the last block; 0 drops nothing.
    """
    found = [module for module in network.modules() if isinstance(module, Residual)]
    positions: list[float] = [
        float(number) if module.position is None else float(module.position)
        for number, module in enumerate(found)
    ]
    order = sorted(set(positions))
    for module, position in zip(found, positions, strict=True):
        module.drop_rate = rate * order.index(position) / max(len(order) - 1, 1)
    return network


class MetaResidual(MetaOperator):
    """keep * (branch(x) + mask * x) + (1 - keep) * x, with one feature for all candidates."""

    def __init__(
        self,
        branch: nn.Module,
        channels: AnyWidth,
        keep: int | Choice,
        multiplier: float | Choice,
        position: int | None = None,
    ) -> None:
        super().__init__()
        self.position = position
        self.branch, self.width = branch, width_of(channels)
        self.keep, self.multiplier = keep, multiplier
        partial = isinstance(multiplier, Choice) or multiplier != 1
        if partial and not is_plain(channels):
            raise ValueError("a partial shortcut needs a fixed number of channels")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output under the current mixtures."""
        if active_tracer() is not None:
            return self._trace(x_BCHW)
        keep, share = self._factors(x_BCHW)
        if isinstance(keep, float) and keep == 0:
            return x_BCHW
        gain = keep if isinstance(keep, Tensor) else None
        if isinstance(self.branch, Chain):
            return self.branch.joined(x_BCHW, gain, share)
        y: Tensor = self.branch(x_BCHW)
        y = y if gain is None else gain * y
        return add_shortcut(y, x_BCHW, share)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain block of `arch`."""
        if _value(self.keep, arch) == 0:
            return nn.Identity()
        branch = extract_part(self.branch, arch)
        share = _value(self.multiplier, arch)
        channels = None if share == 1 else shortcut_channels(self.width.size, share)
        return Residual(branch, channels, self.position).train(self.training)

    def _factors(self, x: Tensor) -> tuple[float | Tensor, Tensor | None]:
        """Return those of the branch, [], and of each channel of the shortcut, [C]; None is one."""
        size, keep = self.width.size, self.keep
        values, weights = self._shares(x)
        masks = steps(tuple(shortcut_channels(size, value) for value in values), size, weights)
        is_whole = values == [1]
        if not isinstance(keep, Choice) or keep.slot.probs_N is None:
            return _chosen(keep), None if is_whole else weights @ masks
        probs = keep.slot.probs_N.to(weights)
        keeps = vector(keep.values, weights)
        if is_whole:  # keep + (1 - keep) of the shortcut
            return torch.dot(probs, keeps), None
        return keep_and_share(probs, keeps, weights, masks)

    def _shares(self, x: Tensor) -> tuple[list[float], Tensor]:
        """Return the candidates of the shortcut's share and the weight of each."""
        if not isinstance(self.multiplier, Choice):
            return [self.multiplier], vector((1.0,), x)
        slot, values = self.multiplier.slot, self.multiplier.values
        if slot.probs_N is None:
            return [values[cast(int, slot.index)]], vector((1.0,), x)
        return list(values), slot.probs_N.to(x)

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


def _chosen(keep: int | Choice) -> float:
    return float(keep.values[cast(int, keep.slot.index)] if isinstance(keep, Choice) else keep)


def _value(entry: Any, arch: Mapping[str, Value]) -> Any:
    if not isinstance(entry, Choice):
        return entry
    return entry.values[entry.position(arch[entry.name])]
