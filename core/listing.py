"""All archs within bounds on their costs, where they are few enough to be written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import Bounds
from .cost import Indices
from .polynomial import Polynomial, Table
from .space import Space

# A archs, D choices

LIMIT = 50_000  # of archs, and of beginnings of archs that may still lead into the band


@lru_cache(maxsize=64)
def all_archs(space: Space, bounds: Bounds) -> NDArray[np.int64] | None:
    """Return [A, D] the different archs within bounds in a fixed order, None where they are many.

    Choices are set one after the other. A beginning is given up when the least or the most that
    the open choices can add to a cost leaves its bounds.

    Args:
        space: the space.
        bounds: on its costs.

    Returns:
        Candidate indices in the order of the space's choices, idle ones 0.
    """
    counts, order = space.num_candidates, _order(space, bounds)
    rows_AD = np.zeros((1, 0), dtype=np.int64)
    for ends in _ends(space, bounds):
        rows_AD = _grown(space, order, rows_AD, ends)
        if len(rows_AD) > LIMIT:
            return None
    rows_AD = rows_AD[:, [order.index(name) for name in counts]]
    result: NDArray[np.int64] = rows_AD[np.lexsort(rows_AD.T[::-1])] if counts else rows_AD
    return result


def holds(space: Space, bounds: Bounds, count: int) -> bool | None:
    """Tell whether at least so many archs lie within bounds, None where that takes too long.

    Like `all_archs`, but deep first: it ends where it has met enough of them.
    """
    order, ends = _order(space, bounds), _ends(space, bounds)
    waiting, found, seen = [np.zeros((1, 0), dtype=np.int64)], 0, 0
    while waiting:
        rows_AD = waiting.pop()
        if rows_AD.shape[1] == len(order):
            found += len(rows_AD)
            if found >= count:
                return True
            continue
        rows_AD = _grown(space, order, rows_AD, ends[rows_AD.shape[1]])
        seen += len(rows_AD)
        if seen > LIMIT:
            return None
        waiting += [rows_AD[at : at + count] for at in range(0, len(rows_AD), count)]
    return False


def costs_of(space: Space, rows_AD: NDArray[np.int64], metric: str) -> NDArray[np.int64]:
    """Return [A] one cost of archs that are rows of candidate indices."""
    indices: Indices = dict(zip(space.num_candidates, rows_AD.T, strict=True))
    return space.cost.polynomial(metric).evaluate(indices)


@dataclass(frozen=True)
class _End:
    """What may be at most so much: a polynomial of the choices that are done, and its bound."""

    value: Polynomial
    most: float


@lru_cache(maxsize=8)
def _ends(space: Space, bounds: Bounds) -> tuple[tuple[_End, ...], ...]:
    """Return for each choice in their order what beginnings that end with it have to keep."""
    order = _order(space, bounds)
    known = []
    for number in range(len(order)):
        done = set(order[: number + 1])
        ends = [_End(_bound(r.polynomial, done, np.min), r.high) for r in space.constraints]
        for polynomial, low, high in bounds.on(space.cost):
            ends.append(_End(_bound(polynomial, done, np.min), high))
            ends.append(_End(_bound(polynomial, done, np.max) * -1, -low))
        known.append(tuple(ends))
    return tuple(known)


def _grown(
    space: Space, order: list[str], rows_AD: NDArray[np.int64], ends: tuple[_End, ...]
) -> NDArray[np.int64]:
    """Return beginnings with one choice more, those that may still lead within the bounds."""
    number = rows_AD.shape[1]
    size = space.num_candidates[order[number]]
    added_A = np.tile(np.arange(size), len(rows_AD))
    rows_AD = np.concatenate([np.repeat(rows_AD, size, 0), added_A[:, None]], 1)
    indices = {n: rows_AD[:, i] if i <= number else added_A * 0 for i, n in enumerate(order)}
    kept = space.cost.active(indices)[order[number]] | (added_A == 0)
    for end in ends:
        kept &= end.value.evaluate(indices) <= end.most
    beginnings: NDArray[np.int64] = rows_AD[kept]
    return beginnings


def _order(space: Space, bounds: Bounds) -> list[str]:
    """Return the choices: gates before what they make idle, and what costs most before the rest."""
    spread = dict.fromkeys(space.num_candidates, 0.0)
    metric = bounds.parts[0].metric if bounds.parts else "flops"
    for key, table in space.cost.polynomial(metric).tables.items():
        for axis, name in enumerate(key):
            others = tuple(other for other in range(table.ndim) if other != axis)
            spread[name] += float(np.ptp(table.mean(others)))
    uses = space.cost.uses
    depth = {name: max((len(use.gates) for use in uses[name]), default=0) for name in spread}
    return sorted(spread, key=lambda name: (depth[name], -spread[name]))


def _bound(polynomial: Polynomial, done: set[str], extreme: Callable[..., Any]) -> Polynomial:
    """Return a polynomial of the choices that are done, at an extreme of each table's others."""
    result = Polynomial.constant(0)
    for key, table in polynomial.tables.items():
        open_axes = tuple(axis for axis, name in enumerate(key) if name not in done)
        reduced: Table = np.asarray(extreme(table, axis=open_axes) if open_axes else table)
        result = result + Polynomial({tuple(n for n in key if n in done): reduced})
    return result
