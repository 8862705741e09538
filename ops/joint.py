"""Widths that several choices decide together, and the patches of an unfolded feature."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.choice import Choice
from ..core.meta import Pick
from ..core.polynomial import Polynomial
from ..core.trace import active_tracer
from .constants import remembered

# C channels, N candidates


class JointWidth:
    """A channel count given as a table over the joint candidates of choices.

    Choices of which some are decided and some mixed are fine: channels that the decided ones
    exclude are not computed at all, the others are masked.

    Attributes:
        choices: the decisions, all different.
        kept: [N1, N2, ..., C] which channels every joint candidate keeps.
    """

    def __init__(self, choices: Sequence[Choice], kept: NDArray[np.bool_]) -> None:
        self.choices, self.table = list(choices), kept
        self._constants: dict[Hashable, Tensor] = {}
        self._possible: dict[tuple[int | None, ...], NDArray[np.int64]] = {}

    @property
    def size(self) -> int:
        """Number of channels that are stored."""
        return int(self.table.shape[-1])

    @property
    def is_hard(self) -> bool:
        """Whether every decision has been made."""
        return all(choice.slot.index is not None for choice in self.choices)

    def kept(self, pick: Pick = lambda choice: cast(int, choice.slot.index)) -> Tensor:
        """Return the indices of the channels that are present."""
        at = tuple(pick(choice) for choice in self.choices)
        return torch.from_numpy(np.flatnonzero(self.table[at]))

    def possible(self) -> NDArray[np.int64]:
        """Return the indices of the channels that the decisions made so far do not exclude."""
        decided = self._decided()
        if decided not in self._possible:
            rows = self._open_rows().reshape(-1, self.size)
            self._possible[decided] = np.flatnonzero(rows.any(0))
        return self._possible[decided]

    def mask(self) -> Tensor | None:
        """Return [C] the probability that each channel is present; None if all is decided."""
        soft = [c.slot.probs_N for c in self.choices if c.slot.probs_N is not None]
        if self.is_hard:
            return None
        like, decided = soft[0], self._decided()
        key = (decided, like.dtype, like.device)
        rows = remembered(key, lambda: like.new_tensor(self._open_rows()), self._constants)
        for probs_N in soft:
            rows = torch.tensordot(probs_N, rows, 1)
        return rows

    def _decided(self) -> tuple[int | None, ...]:
        return tuple(choice.slot.index for choice in self.choices)

    def _open_rows(self) -> NDArray[np.bool_]:
        """Return [N of each open choice..., C] what the open choices still decide about."""
        at: tuple[Any, ...] = tuple(slice(None) if i is None else i for i in self._decided())
        rows: NDArray[np.bool_] = self.table[at]
        return rows

    def expression(self) -> Polynomial:
        """Return the number of channels as a polynomial."""
        return Polynomial.joint([choice.name for choice in self.choices], self.table.sum(-1))

    def record_uses(self) -> None:
        """Tell the tracer what each candidate means: which channels it keeps."""
        tracer = active_tracer()
        assert tracer is not None
        for axis, choice in enumerate(self.choices):
            rows = np.moveaxis(self.table, axis, 0)
            tracer.use(choice, [row.tobytes() for row in rows])


def values_of(entry: int | Choice) -> tuple[Any, ...]:
    """Return what a number may be: itself, or the values of a choice."""
    return entry.values if isinstance(entry, Choice) else (entry,)


def joint_width(
    function: Callable[..., int], *entries: int | float | Choice
) -> int | Choice | JointWidth:
    """Return the width `function(*values)` of numbers some of which are choices.

    A joint candidate keeps the first so many channels.

    Raises:
        ValueError: if a width is below 1.

    Example:
        >>> joint_width(lambda d, r: int(d * r), 64, 2.5)
        160
        >>> joint_width(lambda d, r: int(d * r), Choice("d", (64, 128)), 2).values
        (128, 256)
    """
    choices = [entry for entry in entries if isinstance(entry, Choice)]
    if not choices:
        return function(*entries)
    shape = tuple(len(choice.values) for choice in choices)
    counts = np.zeros(shape, dtype=np.int64)
    for at in np.ndindex(*shape):
        picked = iter(at)
        arguments = [e.values[next(picked)] if isinstance(e, Choice) else e for e in entries]
        counts[at] = function(*arguments)
    if counts.min() < 1:
        raise ValueError(f"a width is a positive number of channels, got {int(counts.min())}")
    if len(choices) == 1:
        steps = iter(int(count) for count in counts)
        return choices[0].map(lambda _: next(steps))
    return JointWidth(choices, np.arange(counts.max()) < counts[..., None])


def patches(channels: int | Choice, kernel: int | Choice) -> int | JointWidth:
    """Return the width of a soft split's tokens: channels times the taps of a centred window.

    Elements are ordered by channel, then row, then column of the largest window.

    Args:
        channels: of the feature that is split; candidates keep the first ones.
        kernel: odd side of the window.

    Example:
        >>> patches(3, 7)
        147
    """
    counts, sizes = np.array(values_of(channels)), np.array(values_of(kernel))
    if not isinstance(channels, Choice) and not isinstance(kernel, Choice):
        return channels * kernel**2
    offsets = np.abs(np.arange(sizes.max()) - sizes.max() // 2)
    reach = np.maximum(offsets[:, None], offsets[None, :]).reshape(-1)
    inside = reach <= sizes[:, None] // 2  # [kernels, taps]
    present = np.arange(counts.max()) < counts[:, None]  # [widths, channels]
    kept = present[:, None, :, None] & inside[None, :, None, :]
    kept = kept.reshape(len(counts), len(sizes), -1)
    choices = [entry for entry in (channels, kernel) if isinstance(entry, Choice)]
    if not isinstance(channels, Choice):
        kept = kept[0]
    elif not isinstance(kernel, Choice):
        kept = kept[:, 0]
    return JointWidth(choices, kept)
