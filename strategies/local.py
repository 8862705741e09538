"""Local search: walk downhill from neighbour to neighbour, start again at the bottom."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..core.arch import Arch
from ..core.asktell import Sampler
from ..core.budget import Budget, reachable_band
from ..core.neighbours import Draws, Key, Neighbours
from ..core.space import Space
from .black_box import BlackBox


@dataclass(frozen=True, kw_only=True)
class LocalSearch(BlackBox):
    """Local search (arXiv:2005.02960) that moves at the first improvement.

    Neighbours of the best arch of the walk are visited in random order; the first better one takes
    its place. When none is better, the walk starts again at a random arch. Moving only after all
    neighbours would spend most of a small budget around the first start.

    Attributes:
        starts: random archs evaluated first; the walk begins at the best of them.
    """

    name: ClassVar[str] = "local"

    starts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts < 1:
            raise ValueError(f"local takes as starts at least 1; got {self.starts}")

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what walks."""
        return LocalSampler(space, budget, seed, self.starts)


class LocalSampler(Sampler):
    """Visits the neighbours of the best arch of the present walk."""

    def __init__(self, space: Space, budget: Budget, seed: int, starts: int = 1) -> None:
        self._neighbours = Neighbours(space, reachable_band(space, budget))
        self._draws = Draws(self._neighbours, seed)
        self._generator = np.random.default_rng((seed, 1))
        self._starts = starts
        self._asked: set[Key] = set()
        self._begun: set[Key] = set()
        self._centre: tuple[float, Key] | None = None
        self._changes: list[tuple[int, int]] = []

    def ask(self) -> Arch:
        """Return the next neighbour, or a random arch where all have been visited."""
        key = self._next_neighbour()
        if key is None:
            key = self._draws.next(self._asked)
            self._begun.add(key)
            self._starts -= 1
        self._asked.add(key)
        return self._neighbours.arch(key)

    def _next_neighbour(self) -> Key | None:
        if self._centre is None or self._starts > 0:
            return None
        while self._changes:
            change = self._changes.pop()
            key = self._neighbours.change(self._centre[1], *change, self._generator)
            if key is not None and key not in self._asked:
                return key
        return None

    def tell(self, arch: Arch, loss: float) -> None:
        """Move to a better arch; to a new start also where the present walk has ended."""
        key = self._neighbours.key(arch)
        is_start = key in self._begun
        self._begun.discard(key)
        has_ended = is_start and not self._changes
        if self._centre is None or has_ended or loss < self._centre[0]:
            self._centre = (loss, key)
            changes = self._neighbours.changes(key)
            order = self._generator.permutation(len(changes))
            self._changes = [changes[i] for i in order]
