"""The number of channels of a feature, where choices decide it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.choice import Choice
from ..core.meta import Pick
from ..core.polynomial import Polynomial
from ..core.trace import active_tracer
from .blend import blend
from .constants import remembered
from .joint import JointWidth

# C channels


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Neighbouring channels that are present or absent together.

    Attributes:
        size: number of channels.
        choice: the decision about them, or None for channels that are always there.
        ranks: for each candidate 0 if the channels are absent, else a rank; extracted layers
            order their segments by rank, so that groups with one kernel size lie side by side.
    """

    size: int
    choice: Choice | None = None
    ranks: tuple[int, ...] = (1,)

    def rank(self, pick: Pick) -> int:
        """Return the rank under the picked candidate."""
        return 1 if self.choice is None else self.ranks[pick(self.choice)]


@dataclass(frozen=True)
class Width:
    """A channel count that depends on choices: an ordered row of segments.

    Attributes:
        segments: from the first channel to the last.
        choices: the decisions, without repetition.
    """

    segments: tuple[Segment, ...]
    choices: list[Choice] = field(init=False, compare=False, repr=False)
    _constants: dict[Hashable, Tensor] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        found = {s.choice.name: s.choice for s in self.segments if s.choice is not None}
        object.__setattr__(self, "choices", list(found.values()))

    @property
    def size(self) -> int:
        """Number of channels with every segment present."""
        return sum(segment.size for segment in self.segments)

    @property
    def is_hard(self) -> bool:
        """Whether every decision has been made."""
        return all(choice.slot.index is not None for choice in self.choices)

    def kept(self, pick: Pick = lambda choice: cast(int, choice.slot.index)) -> Tensor:
        """Return the indices of the channels that are present, in the order of the extraction."""
        parts: list[tuple[int, int, int]] = []
        start = 0
        for segment in self.segments:
            if rank := segment.rank(pick):
                parts.append((rank, start, segment.size))
            start += segment.size
        ordered = [np.arange(start, start + size) for _, start, size in sorted(parts)]
        return torch.from_numpy(np.concatenate([np.arange(0), *ordered]))

    def possible(self) -> NDArray[np.int64]:
        """Return the indices of the channels to compute: those present, or all while undecided."""
        is_cut = self.choices and self.is_hard
        return self.kept().numpy() if is_cut else np.arange(self.size)

    def mask(self) -> Tensor | None:
        """Return [C] the probability that each channel is present; None if all is decided."""
        if self.is_hard:
            return None
        soft = next(c.slot.probs_N for c in self.choices if c.slot.probs_N is not None)
        total = self._constant("always", soft, self._always)
        mixtures, tables = [], []
        for choice in self.choices:
            kept_NC = self._constant(choice.name, soft, partial(self._kept_by, choice))
            slot = choice.slot
            if slot.probs_N is None:
                total = total + kept_NC[cast(int, slot.index)]
            else:
                mixtures.append(slot.probs_N)
                tables.append(kept_NC)
        return blend(total, mixtures, tables)

    def _constant(self, name: str, like: Tensor, rows: Callable[[], list[Any]]) -> Tensor:
        key = (name, like.dtype, like.device)
        return remembered(key, lambda: like.new_tensor(rows()), self._constants)

    def _always(self) -> list[float]:
        """Return for every channel whether no choice decides about it."""
        return [float(s.choice is None) for s in self.segments for _ in range(s.size)]

    def _kept_by(self, choice: Choice) -> list[list[float]]:
        """Return for every candidate of a choice which channels it keeps."""
        return [
            [
                float(_is_about(s, choice) and s.ranks[n] > 0)
                for s in self.segments
                for _ in range(s.size)
            ]
            for n in range(len(choice.candidates))
        ]

    def expression(self) -> Polynomial:
        """Return the number of channels as a polynomial."""
        total = Polynomial.constant(0)
        for segment in self.segments:
            if segment.choice is None:
                total = total + segment.size
            else:
                sizes = [segment.size * (rank > 0) for rank in segment.ranks]
                total = total + Polynomial.of(segment.choice.name, sizes)
        return total

    def record_uses(self) -> None:
        """Tell the tracer what each candidate means: which channels it keeps."""
        tracer = active_tracer()
        assert tracer is not None
        for choice in self.choices:
            mine = [s for s in self.segments if _is_about(s, choice) and s.size]
            tracer.use(
                choice,
                [tuple(s.ranks[n] > 0 for s in mine) for n in range(len(choice.candidates))],
            )


AnyWidth = int | Choice | Width | JointWidth


def _is_about(segment: Segment, choice: Choice) -> bool:
    """Tell whether a decision is about these channels; what `map` made of it is the same one."""
    return segment.choice is not None and segment.choice.name == choice.name


def width_of(width: AnyWidth) -> Width | JointWidth:
    """Return any way of giving a width as a row of segments.

    A choice of widths keeps the first channels: candidate 8 of (8, 12) keeps the first 8 of 12.

    Raises:
        ValueError: if a width is not a positive number.
    """
    if isinstance(width, Width | JointWidth):
        return width
    values = (width,) if isinstance(width, int) else width.values
    if any(not isinstance(value, int) or value < 1 for value in values):
        raise ValueError(f"a width is a positive number of channels, got {values}")
    if isinstance(width, int):
        return Width((Segment(size=width),))
    steps = sorted(set(values))
    segments = [Segment(size=steps[0])]
    for below, above in pairwise(steps):
        ranks = tuple(int(value >= above) for value in values)
        segments.append(Segment(size=above - below, choice=width, ranks=ranks))
    if len(steps) == 1:
        segments = [Segment(size=steps[0], choice=width, ranks=(1,) * len(values))]
    return Width(tuple(segments))


def grouped(size: int, kernels: tuple[int | Choice, ...]) -> int | Width:
    """Return the width of groups of `size` channels, absent where their kernel size is 0.

    Args:
        size: channels of each group.
        kernels: kernel size of each group, chosen or to be chosen.

    Example:
        >>> grouped(16, (3, 0, 5))
        32
    """
    if not any(isinstance(kernel, Choice) for kernel in kernels):
        return size * sum(kernel != 0 for kernel in cast(tuple[int, ...], kernels))
    segments = []
    for kernel in kernels:
        if isinstance(kernel, Choice):
            segments.append(Segment(size=size, choice=kernel, ranks=tuple(kernel.values)))
        else:
            segments.append(Segment(size=size if kernel else 0, ranks=(kernel,)))
    return Width(tuple(segments))


def is_plain(*values: object) -> bool:
    """Tell whether no argument of an operator contains a choice."""
    return not any(
        isinstance(v, Choice | Width | JointWidth) or (isinstance(v, tuple) and not is_plain(*v))
        for v in values
    )


def repeated(width: AnyWidth, times: int) -> AnyWidth:
    """Return a width side by side with itself, as the outputs of fused linear maps are.

    Example:
        >>> repeated(64, 3)
        192
    """
    if isinstance(width, int):
        return width * times
    row = width_of(width)
    if isinstance(row, JointWidth):
        return JointWidth(row.choices, np.concatenate([row.table] * times, axis=-1))
    return Width(row.segments * times)


def cut(weight: Tensor, width: Width | JointWidth, dim: int) -> Tensor:
    """Return a weight without the channels of `dim` that the decisions made so far exclude.

    Neighbouring channels are a view, which costs nothing.
    """
    index = width.possible()
    if len(index) == weight.shape[dim]:
        return weight
    start = int(index[0])
    if np.array_equal(index, np.arange(start, start + len(index))):
        return weight.narrow(dim, start, len(index))
    return weight.index_select(dim, torch.from_numpy(index).to(weight.device))


def selection(width: Width | JointWidth, device: torch.device) -> Tensor | slice:
    """Return what selects the channels that the decisions made so far do not exclude."""
    if isinstance(width, JointWidth):
        return torch.from_numpy(width.possible()).to(device)
    if not width.choices or not width.is_hard:
        return slice(None)
    return width.kept().to(device)
