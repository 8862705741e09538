"""Archs as tuples of candidate indices: which lie around one, and which come back into a band."""

from __future__ import annotations

from collections.abc import Container
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .arch import Arch
from .budget import solve
from .polynomial import Polynomial
from .sampler import sample
from .space import Space

# A archs, D choices

Key = tuple[int, ...]
"""Candidate index of every choice, idle ones 0, in the order of the space's choices."""

_DRAWN = 64
_STREAM = 3  # of random numbers, beside those of strategies
_MAX_BATCHES = 3


class Neighbours:
    """The archs of a space within a band of FLOPs, as a graph.

    Two archs are neighbours if one choice differs; or, where that leaves the band, if in addition
    the fewest other choices differ that bring it back. Choices that become idle or active by the
    change follow it and do not count.

    Attributes:
        space: whose FLOPs are bounded.
        band: smallest and largest FLOPs.
    """

    def __init__(self, space: Space, band: tuple[float, float]) -> None:
        self.space, self.band = space, band
        choices = space.choices()
        self.names = list(choices)
        self._candidates = [choice.candidates for choice in choices.values()]
        self._index = [{value: i for i, value in enumerate(c)} for c in self._candidates]
        self._gates = self._find_gates()

    def _find_gates(self) -> dict[int, list[list[tuple[int, NDArray[np.bool_]]]]]:
        """Return the uses of each choice that can be idle, by position of the choice."""
        position = {name: i for i, name in enumerate(self.names)}
        result = {}
        for name, uses in self.space.cost.uses.items():
            contexts = {use.gates for use in uses}
            if () not in contexts:
                result[position[name]] = [
                    [(position[gate], np.array(alive)) for gate, alive in gates]
                    for gates in contexts
                ]
        return result

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

    def flops(self, keys_AD: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return [A] FLOPs of A archs."""
        return self.space.cost.flops.evaluate(dict(zip(self.names, keys_AD.T, strict=True)))

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
        changed = np.array([key])
        changed[0, choice] = candidate
        others = [
            (position, index)
            for position, candidates in enumerate(self._candidates)
            if position != choice
            for index in range(len(candidates))
            if index != changed[0, position]
        ]
        for count in range(3):
            sets = list(combinations(others, count))
            rows = np.repeat(changed, len(sets), 0)
            for number in range(count):
                columns, values = np.array([s[number] for s in sets], dtype=int).reshape(-1, 2).T
                rows[np.arange(len(sets)), columns] = values
            if count == 2:
                rows = rows[[a[0] != b[0] for a, b in sets]] if sets else rows
            found = self._inside(rows, choice, candidate)
            if len(found):
                chosen = found[0] if len(found) == 1 else found[generator.integers(len(found))]
                return tuple(chosen.tolist())
        return self._nearest(tuple(changed[0].tolist()), choice)

    def _inside(self, rows_AD: NDArray[np.int64], choice: int, candidate: int) -> NDArray[np.int64]:
        """Return the archs of the band in which the choice is active and takes the candidate."""
        active = self._active(rows_AD)
        rows = np.where(active, rows_AD, 0)
        flops = self.flops(rows)
        keep = active[:, choice] & (flops >= self.band[0]) & (flops <= self.band[1])
        for constraint in self.space.constraints:
            keep &= constraint.allows(dict(zip(self.names, rows.T, strict=True)))
        result: NDArray[np.int64] = rows[keep]
        return result

    def _active(self, rows_AD: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [A, D] whether each choice matters."""
        active = np.ones(rows_AD.shape, dtype=bool)
        for position, contexts in self._gates.items():
            used = np.zeros(len(rows_AD), dtype=bool)
            for gates in contexts:
                runs = np.ones(len(rows_AD), dtype=bool)
                for gate, alive in gates:
                    runs &= alive[rows_AD[:, gate]]
                used |= runs
            active[:, position] = used
        return active

    def _nearest(self, key: Key, choice: int) -> Key | None:
        """Return an arch within the band that differs least from a key, by integer programming."""
        kept = Polynomial()
        for position, (name, index) in enumerate(zip(self.names, key, strict=True)):
            weights = np.zeros(len(self._candidates[position]))
            weights[index] = len(key) if position == choice else 1
            kept = kept + Polynomial.of(name, weights)
        found = solve(self.space, kept, *self.band)
        if found is None or found[self.names[choice]] != key[choice]:
            return None
        rows = self._inside(np.array([[found[n] for n in self.names]]), choice, key[choice])
        return tuple(rows[0].tolist()) if len(rows) else None


class Draws:
    """An endless stream of archs drawn uniformly over a band, new ones while there are any."""

    def __init__(self, neighbours: Neighbours, seed: int) -> None:
        self._neighbours, self._seed = neighbours, seed
        self._waiting: list[Key] = []
        self._num_batches = 0
        self._is_exhausted = False

    def next(self, known: Container[Key]) -> Key:
        """Return an arch that is not known, or a known one where no other is met."""
        for _ in range(_MAX_BATCHES):
            if not self._waiting:
                self._draw()
            while self._waiting:
                key = self._waiting.pop()
                if key not in known or self._is_exhausted:
                    return key
        self._is_exhausted = True
        return key

    def _draw(self) -> None:
        """Draw a batch of a stream that nothing else draws from; a single arch is drawn alone."""
        count = min(_DRAWN, 4**self._num_batches)
        seed = (self._seed, _STREAM, self._num_batches)
        self._num_batches += 1
        columns = sample(self._neighbours.space, count, seed, self._neighbours.band)
        rows = np.stack([columns[name] for name in self._neighbours.names], 1)
        self._waiting = [tuple(row) for row in reversed(rows.tolist())]
