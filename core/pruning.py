"""Candidates that no best arch can have, found by a Lagrangian bound before integer programming.

With a price on the cost in place of its bound, the best arch is found by eliminating one choice
after the other, which is fast where each meets few others (a chain of layers). What the best arch
with a candidate reaches so is never less than what it may reach within the bounds: where that is
less than what some arch within the bounds has, the candidate is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bounds import Bounded
from .polynomial import Polynomial

# A archs, N candidates

Indices = dict[str, NDArray[np.int64]]
Tables = dict[tuple[str, ...], NDArray[np.float64]]
_LARGEST = 1 << 16  # entries of a joint table: beyond, choices meet too many others
_PRICES = 60  # that are tried: halving this often leaves none between two archs


def worthwhile(
    objective: Polynomial,
    num_candidates: Mapping[str, int],
    bounded: Bounded,
    is_allowed: Callable[[Indices], NDArray[np.bool_]],
) -> dict[str, NDArray[np.int64]] | None:
    """Return of each choice the candidates that the best arch may have, at least its own.

    Args:
        objective: what to maximise.
        num_candidates: of every choice.
        bounded: a cost with its smallest and largest value.
        is_allowed: tells of archs, [A] candidate indices a choice, which ones count.

    Returns:
        Candidates in rising order; None where nothing can be told.
    """
    cost, low, high = bounded
    free = _Priced(objective, cost, num_candidates, 0.0)
    first = free.best()
    if first is None:
        return None
    spent = float(cost.evaluate(_one(first))[0])
    end = high if spent > high else low if spent < low else spent
    seen = [first]
    price = 0.0
    if spent != end:
        price = _price(objective, cost, num_candidates, end, spent > end, seen)
    good = [arch for arch in seen if is_allowed(_one(arch))[0]]
    if not good:
        return None
    values = [float(objective.evaluate(_one(arch))[0]) for arch in good]
    reached = _climbed(good[int(np.argmax(values))], objective, num_candidates, is_allowed)
    enough = reached - 1e-9 * max(1.0, abs(reached))
    priced = _Priced(objective, cost, num_candidates, price)
    found = {name: priced.most_with(name) + price * end for name in num_candidates}
    return {name: np.flatnonzero(most_N >= enough) for name, most_N in found.items()}


def _price(
    objective: Polynomial,
    cost: Polynomial,
    num_candidates: Mapping[str, int],
    end: float,
    is_above: bool,
    seen: list[dict[str, int]],
) -> float:
    """Return the price of a cost at which the bound is lowest, and note the archs on the way."""
    sign = 1.0 if is_above else -1.0

    def is_paid(price: float) -> bool:
        arch = _Priced(objective, cost, num_candidates, sign * price).best()
        assert arch is not None, "the same tables were eliminated before"
        seen.append(arch)
        return sign * float(cost.evaluate(_one(arch))[0]) <= sign * end

    spans = [
        sum(float(np.ptp(table)) for table in polynomial.tables.values())
        for polynomial in (objective, cost)
    ]
    little, much = 0.0, (spans[0] or 1.0) / (spans[1] or 1.0)
    tried = 0
    while not is_paid(much) and tried < _PRICES:
        little, much, tried = much, 4 * much, tried + 1
    for _ in range(_PRICES):
        if much - little <= 1e-12 * much:
            break
        middle = (little + much) / 2
        little, much = (little, middle) if is_paid(middle) else (middle, much)
    return sign * much


def _climbed(
    arch: dict[str, int],
    objective: Polynomial,
    num_candidates: Mapping[str, int],
    is_allowed: Callable[[Indices], NDArray[np.bool_]],
) -> float:
    """Return what the best arch reaches that changes of single choices lead to."""
    best = float(objective.evaluate(_one(arch))[0])
    sizes = list(num_candidates.values())
    changed = np.repeat(np.arange(len(sizes)), sizes)
    value = np.concatenate([np.arange(size) for size in sizes])
    while True:
        archs = {
            name: np.where(changed == number, value, arch[name])
            for number, name in enumerate(num_candidates)
        }
        scores = np.where(is_allowed(archs), objective.evaluate(archs), -np.inf)
        index = int(np.argmax(scores))
        if not scores[index] > best:
            return best
        best = float(scores[index])
        arch = {name: int(column[index]) for name, column in archs.items()}


class _Step(NamedTuple):
    """An eliminated choice: what the best arch reaches with it, by the others that it meets."""

    name: str
    others: tuple[str, ...]
    table: NDArray[np.float64]


class _Priced:
    """The objective less a price on the cost, without any bound.

    Args:
        objective: to be maximised.
        cost: what has a price.
        num_candidates: of every choice.
        price: of one unit of the cost.
    """

    def __init__(
        self,
        objective: Polynomial,
        cost: Polynomial,
        num_candidates: Mapping[str, int],
        price: float,
    ) -> None:
        self.sizes = dict(num_candidates)
        tables = (objective + cost * -price).tables
        self.tables: Tables = {key: table.astype(np.float64) for key, table in tables.items()}

    def best(self) -> dict[str, int] | None:
        """Return the best arch, None where choices meet too many others."""
        steps = self._eliminated(None)
        if steps is None:
            return None
        arch: dict[str, int] = {}
        for name, others, table in reversed(steps):
            arch[name] = int(np.argmax(table[tuple(arch[other] for other in others)]))
        return arch

    def most_with(self, name: str) -> NDArray[np.float64]:
        """Return [N] what the best arch with each candidate of a choice reaches."""
        steps = self._eliminated(name)
        assert steps is not None, "the same tables were eliminated before"
        return steps[-1].table

    def _eliminated(self, last: str | None) -> list[_Step] | None:
        """Eliminate one choice after the other, whichever makes the smallest table.

        Args:
            last: the choice that is eliminated behind all others.
        """
        tables, left, steps = dict(self.tables), set(self.sizes), list[_Step]()
        constant = float(tables.pop((), np.zeros(())))
        while left:
            free = left - {last} if len(left) > 1 and last is not None else left
            size, name, others = min(self._meeting(name, tables) for name in free)
            if size > _LARGEST:
                return None
            total = np.zeros([self.sizes[n] for n in (*others, name)])
            for key in [key for key in tables if name in key]:
                total += _spread(tables.pop(key), key, (*others, name))
            if others:
                rest = total.max(-1)
                tables[others] = tables[others] + rest if others in tables else rest
            else:
                total = total + constant
                constant = float(total.max())
            steps.append(_Step(name, others, total))
            left.remove(name)
        return steps

    def _meeting(self, name: str, tables: Tables) -> tuple[int, str, tuple[str, ...]]:
        """Return how large a joint table of a choice and those that it meets is, and which."""
        others = tuple(sorted({n for key in tables if name in key for n in key} - {name}))
        return math.prod(self.sizes[n] for n in (*others, name)), name, others


def _spread(
    table: NDArray[np.float64], key: tuple[str, ...], names: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return a table over some choices as one over more, in their order."""
    order = sorted(range(len(key)), key=lambda axis: names.index(key[axis]))
    sizes = dict(zip(key, table.shape, strict=True))
    return table.transpose(order).reshape([sizes.get(name, 1) for name in names])


def _one(arch: Mapping[str, int]) -> Indices:
    return {name: np.array([index]) for name, index in arch.items()}
