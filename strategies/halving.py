"""Successive halving: many archs with little effort, the better ones again with more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from ..core.arch import Arch
from ..core.asktell import AllAskedError, Sampler
from ..core.band import band_of
from ..core.budget import Budget
from ..core.neighbours import Draws, Key, Neighbours
from ..core.space import Space
from ..training.setting import counted
from .black_box import BlackBox


@dataclass(frozen=True, kw_only=True)
class Halving(BlackBox):
    """Successive halving over the length of the training (Jamieson and Talwalkar 2016, figure 3).

    Every rung spends the same effort: with 16 evaluations and the defaults, 21 random archs train
    for a quarter of the steps, the best 10 for half and the best 5 in full, each training from
    scratch with a learning-rate schedule of its own. Together that costs no more than 16 trainings.

    Attributes:
        eta: factor between the efforts of two rungs; only one arch in `eta` goes on.
        rungs: lengths of training; few evaluations have fewer.
    """

    name: ClassVar[str] = "halving"

    in_flight: int = counted(64)
    eta: int = counted(2, least=2)
    rungs: int = counted(3)

    def rung_sizes(self) -> list[int]:
        """Return the number of archs of each rung, the shortest trainings first."""
        rungs = min(self.rungs, self.evaluations)
        powers = [self.eta ** (rungs - 1 - rung) for rung in range(rungs)]
        return [self.evaluations * power // rungs for power in powers]

    def shares(self) -> list[float]:
        """Return for each trial the share of the full training that it gets."""
        sizes = self.rung_sizes()
        last = len(sizes) - 1
        return [self.eta ** (rung - last) for rung, size in enumerate(sizes) for _ in range(size)]

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what draws the first rung and promotes the best of each."""
        return HalvingSampler(space, budget, seed, self.rung_sizes())


class HalvingSampler(Sampler):
    """Asks for random archs, then for the best of the rung before.

    Where the band holds fewer archs than the first rung asks for, the rungs are as much smaller.
    """

    def __init__(self, space: Space, budget: Budget, seed: int, sizes: list[int]) -> None:
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)
        self._sizes = sizes
        self._rung, self._num_asks = 0, 0
        self._waiting = list(self._drawn(Draws(self._neighbours, seed)))
        self._num_archs = len(self._waiting)
        self._told: list[tuple[float, Key]] = []

    def _drawn(self, draws: Draws) -> Iterator[Key]:
        """Yield the archs of the first rung, fewer where the band has no more."""
        asked: set[Key] = set()
        with suppress(AllAskedError):
            for _ in range(self._sizes[0]):
                key = draws.next(asked)
                asked.add(key)
                yield key

    def ask(self) -> Arch:
        """Return the next arch of the rung.

        Raises:
            AllAskedError: if the rung has asked for every arch that there is.
            ValueError: if the next rung waits for losses, or the last one is over.
        """
        if self._num_asks == self._sizes[self._rung]:
            self._promote()
        self._num_asks += 1
        if not self._waiting:
            raise AllAskedError
        return self._neighbours.arch(self._waiting.pop(0))

    def tell(self, arch: Arch, loss: float) -> None:
        """Note the loss; when all of the rung are known, its best are promoted."""
        self._told.append((loss, self._neighbours.key(arch)))

    def _promote(self) -> None:
        """Begin the next rung with the best of this one."""
        if len(self._told) < self._num_archs or self._rung + 1 == len(self._sizes):
            raise ValueError(
                f"rung {self._rung + 1} of {len(self._sizes)} has no arch left to ask for; tell "
                "the losses of all of its archs first"
            )
        self._rung, self._num_asks = self._rung + 1, 0
        ranked = sorted(self._told, key=lambda member: member[0])
        self._waiting = [key for _, key in ranked[: self._sizes[self._rung]]]
        self._num_archs = len(self._waiting)
        self._told = []
