"""Successive halving: many archs with little effort, the better ones again with more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.arch import Arch
from ..core.asktell import Sampler
from ..core.budget import Budget, reachable_band
from ..core.neighbours import Draws, Key, Neighbours
from ..core.space import Space
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

    in_flight: int = 64
    eta: int = 2
    rungs: int = 3

    def least(self) -> dict[str, int]:
        """Return for numbers the smallest that makes sense."""
        return super().least() | {"eta": 2, "rungs": 1}

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
    """Asks for random archs, then for the best of the rung before."""

    def __init__(self, space: Space, budget: Budget, seed: int, sizes: list[int]) -> None:
        self._neighbours = Neighbours(space, reachable_band(space, budget))
        self._draws = Draws(self._neighbours, seed)
        self._sizes = sizes
        self._asked: set[Key] = set()
        self._rung = 0
        self._waiting = [self._draw() for _ in range(sizes[0])]
        self._told: list[tuple[float, Key]] = []

    def _draw(self) -> Key:
        key = self._draws.next(self._asked)
        self._asked.add(key)
        return key

    def ask(self) -> Arch:
        """Return the next arch of the rung.

        Raises:
            ValueError: if the next rung waits for losses, or the last one is over.
        """
        if not self._waiting:
            raise ValueError(
                f"rung {self._rung + 1} of {len(self._sizes)} has no arch left to ask for; tell "
                "the losses of all of its archs first"
            )
        return self._neighbours.arch(self._waiting.pop(0))

    def tell(self, arch: Arch, loss: float) -> None:
        """Rank the rung when its last loss is told, and promote its best."""
        self._told.append((loss, self._neighbours.key(arch)))
        if len(self._told) < self._sizes[self._rung] or self._rung + 1 == len(self._sizes):
            return
        self._rung += 1
        ranked = sorted(self._told, key=lambda member: member[0])
        self._waiting = [key for _, key in ranked[: self._sizes[self._rung]]]
        self._told = []
