"""Local search: from the best arch to its neighbours, and on from the first that is better."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..core.arch import Arch
from ..core.asktell import Sampler
from ..core.band import band_of
from ..core.budget import Budget
from ..core.neighbours import Draws, Key, Neighbours
from ..core.space import Space
from ..core.streams import Stream
from ..training.setting import counted
from .black_box import BlackBox


@dataclass(frozen=True, kw_only=True)
class LocalSearch(BlackBox):
    """Local search (arXiv:2005.02960) that moves at the first improvement.

    Neighbours of the best arch are visited in random order, and the first better one takes its
    place. Losses of single trainings are noisy, and around a lucky one no neighbour looks better:
    the search gives up on an arch after `patience` neighbours and goes on from the next best,
    where all of them are exhausted from a random one. On a simulated table with the noise of
    short trainings this was far better than visiting all neighbours, at 16 to 150 evaluations.

    Attributes:
        starts: random archs evaluated first; at most half of the evaluations.
        patience: neighbours visited of an arch; None visits all, as the paper does.
    """

    name: ClassVar[str] = "local"

    starts: int = counted(8)
    patience: int | None = counted(3)

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what walks."""
        starts = min(self.starts, max(1, self.evaluations // 2))
        return LocalSampler(space, budget, seed, starts, self.patience)


class LocalSampler(Sampler):
    """Visits neighbours of the best arch that has some left."""

    def __init__(
        self, space: Space, budget: Budget, seed: int, starts: int, patience: int | None
    ) -> None:
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)
        self._draws = Draws(self._neighbours, seed)
        self._generator = Stream.LOCAL.generator(seed)
        self._starts, self._patience = starts, patience
        self._asked: set[Key] = set()
        self._ranked: list[tuple[float, int, _Centre]] = []
        self._num_told = 0

    def ask(self) -> Arch:
        """Return the next neighbour, or a random arch where none is left."""
        key = self._next_neighbour() if self._starts <= 0 else None
        if key is None:
            key = self._draws.next(self._asked)
            self._starts -= 1
        self._asked.add(key)
        return self._neighbours.arch(key)

    def _next_neighbour(self) -> Key | None:
        while self._ranked:
            centre = self._ranked[0][2]
            key = centre.next(self._neighbours, self._generator, self._asked)
            if key is not None:
                return key
            self._ranked.pop(0)
        return None

    def tell(self, arch: Arch, loss: float) -> None:
        """Rank the arch among those whose neighbours are still to be visited."""
        centre = _Centre(self._neighbours.key(arch), self._patience)
        insort(self._ranked, (loss, self._num_told, centre))
        self._num_told += 1


class _Centre:
    """An arch and the changes of it that were not tried yet, in random order."""

    def __init__(self, key: Key, patience: int | None) -> None:
        self.key, self.patience = key, patience
        self.changes: list[tuple[int, int]] | None = None

    def next(
        self, neighbours: Neighbours, generator: np.random.Generator, asked: set[Key]
    ) -> Key | None:
        """Return a neighbour that was not asked for, None if none is left or patience has gone."""
        if self.changes is None:
            changes = neighbours.changes(self.key)
            self.changes = [changes[i] for i in generator.permutation(len(changes))]
        while self.changes and self.patience != 0:
            key = neighbours.change(self.key, *self.changes.pop(), generator)
            if key is not None and key not in asked:
                if self.patience is not None:
                    self.patience -= 1
                return key
        return None
