"""Archs as tuples of candidate indices: which lie around one, and which come back into a band."""

from __future__ import annotations

from collections.abc import Container
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .arch import Arch
from .asktell import AllAskedError
from .bounds import Bounds
from .budget import solve
from .listing import all_archs
from .polynomial import Polynomial
from .sampler import sample
from .space import Space
from .streams import Stream

# A archs, D choices

Key = tuple[int, ...]
"""Candidate index of every choice, idle ones 0, in the order of the space's choices."""

_DRAWN = 64
_MAX_BATCHES = 3


class Neighbours:
    """The archs of a space within a band of costs, as a graph.

    Two archs are neighbours if one choice differs; or, where that leaves the band, if in addition
    the fewest other choices differ that bring it back. Choices that become idle or active by the
    change follow it and do not count.

    Attributes:
        space: whose costs are bounded.
        band: bounds on its costs, a pair on its FLOPs.
    """

    def __init__(self, space: Space, band: Bounds | tuple[float, float]) -> None:
        self.space, self.band = space, Bounds.of(band)
        choices = space.choices()
        self.names = list(choices)
        self._candidates = [choice.candidates for choice in choices.values()]
        self._index = [{value: i for i, value in enumerate(c)} for c in self._candidates]

    def arch(self, key: Key) -> Arch:
        """Return the arch of a key."""
        values = zip(self.names, self._candidates, key, strict=True)
        return Arch(
            space=self.space.name,
            options=self.space.options,
            choices={name: candidates[index] for name, candidates, index in values},
        )

    def key(self, arch: Arch) -> Key:
        """Return the key of an arch of the space."""
        named = zip(self.names, self._index, strict=True)
        return tuple(index[arch.choices[name]] for name, index in named)

    def distances(self, keys_AD: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [A] how far A archs lie outside of the band, 0 inside."""
        indices = dict(zip(self.names, keys_AD.T, strict=True))
        return self.band.distance(self.space.cost, indices)

    def changes(self, key: Key) -> list[tuple[int, int]]:
        """Return all (choice, candidate) by which one active choice of an arch would differ."""
        active = self._active(np.array([key]))[0]
        return [
            (choice, candidate)
            for choice, candidates in enumerate(self._candidates)
            if active[choice]
            for candidate in range(len(candidates))
            if candidate != key[choice]
        ]

    def change(
        self, key: Key, choice: int, candidate: int, generator: np.random.Generator
    ) -> Key | None:
        """Return a neighbour in which one choice takes another candidate.

        Where several neighbours bring that change back into the band with equally few other
        changes, one of them is drawn.

        Args:
            key: of an arch.
            choice: position of an active choice.
            candidate: its new candidate.
            generator: of the draw.

        Returns:
            The neighbour, None where no arch within the band is found.
        """
        changed = [*key]
        changed[choice] = candidate
        return self._repair(tuple(changed), choice, generator)

    def project(self, key: Key, generator: np.random.Generator) -> Key | None:
        """Return an arch of the band in which few choices differ, None if none is found.

        The choice that brings the costs nearest to the band is changed, and the next one, until a
        single change or, in thin bands, one of two choices leads inside.

        Args:
            key: of any arch, maybe outside of the band.
            generator: of the draw where several changes lead inside.
        """
        distance = np.inf
        while True:
            rows = self._changed(key, 1)
            distances = self.distances(np.where(self._active(rows), rows, 0))
            if distances.min() <= 0 or distances.min() >= distance:
                return self._repair(key, None, generator)
            distance = distances.min()
            key = tuple(rows[distances.argmin()].tolist())

    def _repair(self, key: Key, kept: int | None, generator: np.random.Generator) -> Key | None:
        """Return a nearest arch of the band in which a choice, if one is given, is kept."""
        for count in range(3):
            rows = self._changed(key, count, kept)
            found = self._inside(rows, key, kept)
            if len(found):
                chosen = found[0] if len(found) == 1 else found[generator.integers(len(found))]
                return tuple(chosen.tolist())
        return self._solved(key, kept)

    def _changed(self, key: Key, count: int, kept: int | None = None) -> NDArray[np.int64]:
        """Return all keys in which so many choices differ, but not the one that is kept."""
        others = [
            (position, index)
            for position, candidates in enumerate(self._candidates)
            if position != kept
            for index in range(len(candidates))
            if index != key[position]
        ]
        sets = [s for s in combinations(others, count) if len({choice for choice, _ in s}) == count]
        rows = np.repeat(np.array([key]), len(sets), 0)
        for number in range(count):
            columns, values = np.array([s[number] for s in sets], dtype=int).reshape(-1, 2).T
            rows[np.arange(len(sets)), columns] = values
        return rows

    def _inside(self, rows_AD: NDArray[np.int64], key: Key, kept: int | None) -> NDArray[np.int64]:
        """Return the archs of the band in which the kept choice is active and as in the key."""
        active = self._active(rows_AD)
        rows = np.where(active, rows_AD, 0)
        keep = self.distances(rows) <= 0
        if kept is not None:
            keep &= active[:, kept] & (rows[:, kept] == key[kept])
        for constraint in self.space.constraints:
            keep &= constraint.allows(dict(zip(self.names, rows.T, strict=True)))
        result: NDArray[np.int64] = rows[keep]
        return result

    def _active(self, rows_AD: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [A, D] whether each choice matters."""
        active = self.space.cost.active(dict(zip(self.names, rows_AD.T, strict=True)))
        return np.stack([active[name] for name in self.names], 1)

    def _solved(self, key: Key, kept: int | None) -> Key | None:
        """Return an arch within the band that differs least from a key, by integer programming."""
        agreement = Polynomial()
        for position, (name, index) in enumerate(zip(self.names, key, strict=True)):
            weights = np.zeros(len(self._candidates[position]))
            weights[index] = len(key) if position == kept else 1
            agreement = agreement + Polynomial.of(name, weights)
        found = solve(self.space, agreement, self.band)
        if found is None:
            return None
        rows = self._inside(np.array([[found[n] for n in self.names]]), key, kept)
        return tuple(rows[0].tolist()) if len(rows) else None


class Draws:
    """A stream of archs drawn uniformly over a band, each of them new."""

    def __init__(self, neighbours: Neighbours, seed: int) -> None:
        self._neighbours, self._seed = neighbours, seed
        self._waiting: list[Key] = []
        self._num_batches = 0
        self._is_exhausted = False

    def next(self, known: Container[Key]) -> Key:
        """Return an arch that is not known.

        Where random draws meet known ones only, what is left is listed. A known one is returned
        where that is too much to list.

        Raises:
            AllAskedError: if all archs of the band are known.
        """
        for _ in range(0 if self._is_exhausted else _MAX_BATCHES):
            if not self._waiting:
                self._draw()
            while self._waiting:
                key = self._waiting.pop()
                if key not in known:
                    return key
        self._is_exhausted = True
        if (left := self._left(known)) is not None:
            return left
        while not self._waiting:
            self._draw()
        return self._waiting.pop()

    def _left(self, known: Container[Key]) -> Key | None:
        """Return one of the archs that are left, None where they cannot be listed."""
        rows_AD = all_archs(self._neighbours.space, self._neighbours.band)
        if rows_AD is None:
            return None
        left = [key for key in map(tuple, rows_AD.tolist()) if key not in known]
        if not left:
            raise AllAskedError
        drawn = Stream.NEW_ARCHS.generator(self._seed, self._num_batches)
        self._num_batches += 1
        return left[drawn.integers(len(left))]

    def _draw(self) -> None:
        """Draw a batch of a stream that nothing else draws from; a single arch is drawn alone."""
        count = min(_DRAWN, 4**self._num_batches)
        drawn = Stream.NEW_ARCHS.generator(self._seed, self._num_batches)
        self._num_batches += 1
        columns = sample(self._neighbours.space, count, drawn, self._neighbours.band)
        rows = np.stack([columns[name] for name in self._neighbours.names], 1)
        self._waiting = [tuple(row) for row in reversed(rows.tolist())]
