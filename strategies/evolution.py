"""Regularised evolution: the oldest dies, whatever it was worth, so that lucky losses pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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

_MAX_MUTATIONS = 20


@dataclass(frozen=True, kw_only=True)
class Evolution(BlackBox):
    """Ageing evolution of Real et al. (arXiv:1802.01548, section 3 and algorithm 1).

    The mutation is nastk's: one choice changes, and where that leaves the band of the budget, the
    fewest others that bring it back, drawn by the exact cost polynomial.

    Attributes:
        population: archs alive, random ones until there are so many; 2 sqrt(evaluations) if None.
        tournament: archs drawn, the best of which is the parent; half the population if None.
    """

    name: ClassVar[str] = "evolution"

    population: int | None = counted(None)
    tournament: int | None = counted(None)

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what breeds."""
        population = self.population or max(2, round(2 * self.evaluations**0.5))
        tournament = self.tournament or max(1, population // 2)
        return EvolutionSampler(space, budget, seed, population, tournament)


class EvolutionSampler(Sampler):
    """Keeps the youngest archs and mutates the best of a random few."""

    def __init__(
        self, space: Space, budget: Budget, seed: int, population: int, tournament: int
    ) -> None:
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)
        self._draws = Draws(self._neighbours, seed)
        self._generator = Stream.EVOLUTION.generator(seed)
        self._size, self._tournament = population, tournament
        self._population: deque[tuple[float, Key]] = deque(maxlen=population)
        self._asked: set[Key] = set()

    def ask(self) -> Arch:
        """Return a random arch until the population is full, then a child."""
        key = None
        if len(self._asked) >= self._size and self._population:
            key = self._child()
        if key is None:
            key = self._draws.next(self._asked)
        self._asked.add(key)
        return self._neighbours.arch(key)

    def tell(self, arch: Arch, loss: float) -> None:
        """Let the arch into the population; the oldest leaves a full one."""
        self._population.append((loss, self._neighbours.key(arch)))

    def _child(self) -> Key | None:
        """Return a mutation that was not asked for, None where none is found.

        Where the neighbours of a parent have all been asked for, theirs are tried.
        """
        losses = [loss for loss, _ in self._population]
        key: Key = self._population[fittest(losses, self._tournament, self._generator)][1]
        for attempt in range(_MAX_MUTATIONS):
            changes = self._neighbours.changes(key)
            if not changes:
                return None
            change = changes[self._generator.integers(len(changes))]
            mutated = self._neighbours.change(key, *change, self._generator)
            if mutated is not None and mutated not in self._asked:
                return mutated
            if mutated is not None and attempt >= _MAX_MUTATIONS // 2:
                key = mutated
        return None


def fittest(losses: Sequence[Any], tournament: int, generator: np.random.Generator) -> int:
    """Return the position of the lowest of a few losses, which are drawn without replacement."""
    rivals = generator.choice(len(losses), min(tournament, len(losses)), replace=False)
    return int(min(rivals, key=lambda position: losses[position]))
