"""Archs of a band so thin that random draws miss it: found by the solver, then walked from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .bounds import Bounds
from .budget import solve
from .cost import Indices
from .polynomial import Polynomial
from .space import Space

# A archs, D choices

Draw = Callable[[Space, int, np.random.Generator], dict[str, NDArray[np.int64]]]

_log = logging.getLogger(__name__)
_FEW = 32  # a band of fewer archs is enumerated
_WALKERS = 1024
_MOVES_PER_CHOICE = 15
_MAX_CHANGES = 3
_LOOSE = 0.1  # relative gap: any arch of the band will do, in a random direction
_SURVIVORS = 0.25  # share of the walks that are within the next, narrower band
_MOVES_PER_BAND = 1  # for each choice
_MAX_STALLS = 10


def walk(
    space: Space,
    count: int,
    generator: np.random.Generator,
    band: Bounds,
    draw: Draw,
) -> dict[str, NDArray[np.int64]]:
    """Draw archs of a band, uniformly where it has few, else by random walks within it.

    The solver finds different archs in random directions. Where it runs out of them, they are all
    that the band has, and the draw among them is uniform. Otherwise uniform archs of the whole
    space walk through bands of falling width until they are within this one (multilevel
    splitting): a move changes one to three choices, and what leaves the band is not done. Uniform
    is what such walks tend to; after finitely many moves they are there nearly, not exactly.

    Args:
        space: the space.
        count: number of archs, drawn with replacement.
        generator: of the draws.
        band: bounds on the costs.
        draw: returns so many uniform archs of the whole space.

    Returns:
        For each choice [count] candidate indices, idle choices at their first.

    Raises:
        ValueError: if no arch lies in the band.
    """
    found_AD, is_all = _found(space, band, draw)
    size = count if is_all else min(count, _WALKERS)
    rows_AD = found_AD[generator.integers(len(found_AD), size=size)]
    if not is_all:
        walks = _Walks(space, band, rows_AD, generator)
        parts = [walks.after(_MOVES_PER_CHOICE)]
        while len(parts) * size < count:
            parts.append(walks.after(1))
        rows_AD = np.concatenate(parts)[:count]
    return dict(zip(space.choices(), rows_AD.T, strict=True))


@lru_cache(maxsize=64)
def _found(space: Space, band: Bounds, draw: Draw) -> tuple[NDArray[np.int64], bool]:
    """Return [A, D] archs of a band, and whether these are all of them."""
    solved_AD = _solved(space, band)
    if len(solved_AD) < _FEW:
        return solved_AD, True
    _log.warning(
        "warning: random draws of %s all but miss the thin band of %s; random archs come from "
        "walks within it and are only nearly uniform",
        *(space.name, band),
    )
    generator = np.random.default_rng(0)
    drawn_AD = np.stack(list(draw(space, _WALKERS, generator).values()), 1)
    walks = _Walks(space, band, drawn_AD, generator)
    return (walks.after(1) if walks.reach() else solved_AD), False


def _solved(space: Space, band: Bounds) -> NDArray[np.int64]:
    """Return [A, D] a few different archs of a band, all of them if it has few.

    Raises:
        ValueError: if no arch lies in the band.
    """
    counts, generator = space.num_candidates, np.random.default_rng(0)
    rows: list[list[int]] = []
    active_ones: list[dict[str, int]] = []
    while len(rows) < _FEW:
        objective = Polynomial()
        for name, count in counts.items():
            objective = objective + Polynomial.of(name, generator.normal(size=count))
        arch = solve(space, objective, band, gap=_LOOSE, forbidden=active_ones)
        if arch is None:
            break
        active = space.cost.active({name: np.array([index]) for name, index in arch.items()})
        active_ones.append({name: index for name, index in arch.items() if active[name][0]})
        rows.append([index if active[name][0] else 0 for name, index in arch.items()])
    if not rows:
        raise ValueError(f"no arch of {space.name} has {band}")
    return np.array(rows, dtype=np.int64)


class _Walks:
    """Many walks at once, over all settings of all choices, idle ones included.

    An arch with idle choices has many settings, which share the weight of one arch.
    """

    def __init__(
        self,
        space: Space,
        band: Bounds,
        starts_AD: NDArray[np.int64],
        generator: np.random.Generator,
    ) -> None:
        self._space, self._band, self._generator = space, band, generator
        self._sizes_D = np.array(list(space.num_candidates.values()))
        self._margin = 0.0  # by which costs may lie outside of the band
        drawn_AD = generator.integers(self._sizes_D, size=starts_AD.shape)
        self._rows_AD = np.where(self._active(starts_AD), starts_AD, drawn_AD)

    def after(self, moves_per_choice: int) -> NDArray[np.int64]:
        """Return [A, D] the archs where the walks stand after so many moves for each choice."""
        for _ in range(moves_per_choice * len(self._sizes_D)):
            self._move()
        result: NDArray[np.int64] = np.where(self._active(self._rows_AD), self._rows_AD, 0)
        return result

    def reach(self) -> bool:
        """Bring all walks into the band through wider ones; False where they get no nearer."""
        self._margin, num_stalls = np.inf, 0
        while self._margin > 0 and num_stalls <= _MAX_STALLS:
            distances_A = self._distances(self._rows_AD)
            margin = float(np.quantile(distances_A, _SURVIVORS, method="inverted_cdf"))
            num_stalls = num_stalls + 1 if margin >= self._margin else 0
            self._margin = margin
            survivors = np.flatnonzero(distances_A <= margin)
            self._rows_AD = self._rows_AD[self._generator.choice(survivors, len(distances_A))]
            self.after(_MOVES_PER_BAND)
        return self._margin == 0

    def _move(self) -> None:
        """Let every walk change one to three choices, if that keeps it near enough to the band."""
        generator, (num_walks, num_choices) = self._generator, self._rows_AD.shape
        moved_AD, walks_A = self._rows_AD.copy(), np.arange(num_walks)
        num_changes_A = generator.integers(1, _MAX_CHANGES + 1, num_walks)
        for number in range(_MAX_CHANGES):
            choices_A = generator.integers(num_choices, size=num_walks)
            drawn_A = generator.integers(self._sizes_D[choices_A])
            kept_A = moved_AD[walks_A, choices_A]
            moved_AD[walks_A, choices_A] = np.where(number < num_changes_A, drawn_A, kept_A)
        gain_A = self._log_settings(self._rows_AD) - self._log_settings(moved_AD)
        is_kept_A = np.log(generator.random(num_walks)) < gain_A
        is_kept_A &= self._distances(moved_AD) <= self._margin
        self._rows_AD[is_kept_A] = moved_AD[is_kept_A]

    def _distances(self, rows_AD: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [A] the way between archs and the band, infinite where a constraint is broken."""
        indices = self._indices(rows_AD)
        outside_A = self._band.distance(self._space.cost, indices)
        for constraint in self._space.constraints:
            outside_A[~constraint.allows(indices)] = np.inf
        return outside_A

    def _log_settings(self, rows_AD: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [A] the logarithm of how many settings give the same arch."""
        result: NDArray[np.float64] = ~self._active(rows_AD) @ np.log(self._sizes_D)
        return result

    def _active(self, rows_AD: NDArray[np.int64]) -> NDArray[np.bool_]:
        active = self._space.cost.active(self._indices(rows_AD))
        return np.stack(list(active.values()), 1)

    def _indices(self, rows_AD: NDArray[np.int64]) -> Indices:
        return dict(zip(self._space.choices(), rows_AD.T, strict=True))
