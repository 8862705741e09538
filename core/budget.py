"""A budget of costs: how people write it, and whether a space can meet it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from .bounds import WORDS, Bound, Bounds
from .cost import METRICS
from .manifest import Manifest
from .polynomial import Polynomial
from .resolution import as_typed
from .solver import maximise
from .space import Space

_SCALES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:e([+-]?\d+))?\s*([KMG]?)", re.IGNORECASE)
_GRAMMAR = "write it like 357M, 0.357G, 357e6, 60%, 340M:360M or 0:357M"

# Where cost and objective are nearly one function, proving the last digits can take for ever.
NEARLY = 1e-3


ANY = Bounds()


class InfeasibleBudgetError(ValueError):
    """A budget that no arch of the space can meet."""


@dataclass(frozen=True)
class Budget:
    """Bounds on the FLOPs of an arch, or on another cost, and maybe on further ones beside it.

    Attributes:
        low: smallest value allowed by the user, or None for a plain upper bound, which means
            archs of a band below it, see `nastk.core.band`. A low of 0 allows all below `high`.
        high: largest value allowed, never exceeded.
        metric: what is bounded: `flops`, `params` or `activations`.
        others: bounds on other costs, which an arch keeps as well, see `Budget.joined`.
    """

    low: int | None
    high: int
    metric: str = "flops"
    others: tuple[Budget, ...] = ()

    @classmethod
    def parse(cls, text: str, largest: int | None = None, metric: str = "flops") -> Budget:
        """Read a budget as people write it.

        Args:
            text: `357M`, `0.357G`, `357e6`, `60%` (of the largest arch) or `340M:360M`.
            largest: cost of the largest arch, needed for a percentage.
            metric: what is bounded.

        Raises:
            ValueError: if the text is no budget.

        Example:
            >>> Budget.parse("0.357G")
            Budget(low=None, high=357000000)
            >>> Budget.parse("340M:360M").low
            340000000
        """
        parts = text.strip().split(":")
        if len(parts) > 2 or not all(part.strip() for part in parts):
            raise ValueError(f"{text!r} is not a budget; {_GRAMMAR}")
        values = [_parse_count(part.strip(), text, largest) for part in parts]
        low, high = (values[0], values[1]) if len(values) == 2 else (None, values[0])
        if high < 1 or (low is not None and low > high):
            raise ValueError(
                f"{text!r} is an empty budget, its upper end must be positive and not "
                f"below its lower end; {_GRAMMAR}"
            )
        return cls(low, high, metric)

    @classmethod
    def joined(cls, parts: Sequence[Budget]) -> Budget:
        """Return the budget that bounds several costs: FLOPs first, then params and activations.

        Args:
            parts: at least one, each on another cost.

        Example:
            >>> Budget.joined([Budget(0, 4, "params"), Budget(None, 357)])
            Budget(low=None, high=357, others=(Budget(low=0, high=4, metric='params'),))
        """
        first, *others = sorted(parts, key=lambda part: METRICS.index(part.metric))
        return replace(first, others=tuple(others))

    def __repr__(self) -> str:
        metric = "" if self.metric == "flops" else f", metric={self.metric!r}"
        others = f", others={self.others!r}" if self.others else ""
        return f"Budget(low={self.low}, high={self.high}{metric}{others})"

    def __str__(self) -> str:
        return str(self.bounds)

    @property
    def parts(self) -> tuple[Budget, ...]:
        """The bounds on each cost by itself."""
        return (replace(self, others=()), *self.others)

    @property
    def bounds(self) -> Bounds:
        """What the user allows: a plain budget allows all below it."""
        return Bounds(tuple(Bound(part.metric, part.low or 0, part.high) for part in self.parts))

    def to_json(self) -> list[dict[str, Any]]:
        """Return what a run records, one object a cost: `metric low high`."""
        return [{"metric": p.metric, "low": p.low, "high": p.high} for p in self.parts]

    def of(self, metric: str) -> Budget | None:
        """Return the bounds on one cost, None where it is free."""
        return next((part for part in self.parts if part.metric == metric), None)

    @property
    def target(self) -> float:
        """What the budget term of a search aims at: inside the band, a little below its top."""
        return 0.985 * self.high if self.low is None else (self.low + self.high) / 2


def _parse_count(part: str, text: str, largest: int | None) -> int:
    percent = part.endswith("%")
    match = _NUMBER.fullmatch(part.rstrip("%").strip())
    if match is None or (percent and match[3]):
        raise ValueError(f"{text!r} is not a budget; {_GRAMMAR}")
    mantissa, exponent, scale = match[1], int(match[2] or 0), match[3].upper()
    if abs(exponent) > 30:
        raise ValueError(f"{text!r} is not a budget; {_GRAMMAR}")
    # Decimal digits are kept exact: 0.357G is 357000000, whatever binary floats make of it.
    whole, _, fraction = mantissa.partition(".")
    numerator = int((whole or "0") + fraction)
    shift = exponent - len(fraction)
    factor = _SCALES[scale]
    if percent:
        if largest is None:
            raise ValueError(f"{text!r} needs a space to be a percentage of; {_GRAMMAR}")
        numerator, shift = numerator * largest, shift - 2
    value = numerator * factor
    result: int = value * 10**shift if shift >= 0 else value // 10**-shift
    return result


def flops_range(space: Space) -> tuple[int, int]:
    """Return the FLOPs of the smallest and of the largest arch of a space."""
    return cost_range(space, "flops")


@lru_cache(maxsize=64)
def cost_range(space: Space, metric: str) -> tuple[int, int]:
    """Return the smallest and the largest cost of an arch of a space, of `cost.METRICS`."""
    return extremes(space, space.cost.polynomial(metric))


def extremes(
    space: Space, polynomial: Polynomial, bounds: Bounds = ANY, gap: float = 0.0
) -> tuple[int, int]:
    """Return the smallest and largest value of a cost over all archs within bounds.

    Args:
        space: the space.
        polynomial: the cost.
        bounds: that some arch keeps.
        gap: relative distance from the ends that is good enough; 0 is exact.
    """
    ends = []
    for sign in (-1, 1):
        best = solve(space, polynomial * sign, bounds, gap)
        assert best is not None
        one = {name: np.array([index]) for name, index in best.items()}
        ends.append(int(polynomial.evaluate(one)[0]))
    return ends[0], ends[1]


def parse_budget(texts: str | Mapping[str, str], space: Space) -> Budget:
    """Read a budget for a space and refuse what no arch of it can meet.

    Args:
        texts: of the FLOPs, or of several costs by their names: `{"flops": "60%", "params": "4M"}`.
        space: the space.

    Raises:
        ValueError: if a text is no budget.
        InfeasibleBudgetError: if it lies outside of what the space reaches.
    """
    parts = []
    for metric, text in ({"flops": texts} if isinstance(texts, str) else texts).items():
        largest = cost_range(space, metric)[1] if "%" in text else None
        parts.append(Budget.parse(text, largest, metric))
    budget = Budget.joined(parts)
    check_budget(budget, space)
    return budget


def recorded_budget(manifest: Manifest) -> Budget:
    """Return the budget of a run.

    Raises:
        ValueError: if the run is no search, or has not got so far as to know it.
    """
    if not manifest.limits:
        raise ValueError(f"{manifest.source} says no budget: it is of no search that has begun")
    return Budget.joined([Budget(one.low, one.high, one.metric) for one in manifest.limits])


def check_budget(budget: Budget, space: Space) -> None:
    """Refuse a budget outside of what the space reaches, and ranges that hold none of its archs.

    Raises:
        InfeasibleBudgetError: with the smallest and the largest cost that the space reaches, and
            with the costs whose bounds exclude each other.
    """
    first, *others = budget.parts
    _check_reach(first, space, first.high if first.low is None else first.low)
    for part in others:  # a plain one is an upper end alone: above all archs it excludes none
        _check_reach(part, space, part.low or 0)
    if budget.low is None and not budget.others:
        return
    if solve(space, Polynomial(), budget.bounds) is None:
        raise InfeasibleBudgetError(_conflict(budget.bounds, space))


def _check_reach(part: Budget, space: Space, least: int) -> None:
    """Refuse bounds on one cost that lie outside of what the space reaches.

    Args:
        part: the bounds.
        space: the space.
        least: what some arch has to have.
    """
    smallest, largest = cost_range(space, part.metric)
    if part.high < smallest or least > largest:
        wanted = f"{part.high:,}" if part.low is None else f"{part.low:,} to {part.high:,}"
        px = as_typed(space.resolution)
        raise InfeasibleBudgetError(
            f"no arch of space {space.name!r} has {wanted} {WORDS[part.metric]}; it reaches from "
            f"{smallest:,} to {largest:,} at {px} px and {space.num_classes} "
            "classes: choose a budget in between"
        )


def _conflict(bounds: Bounds, space: Space) -> str:
    """Say which bounds no arch keeps together: the fewest of them, and what they reach."""
    sizes = range(1, len(bounds.parts) + 1)
    sets = (Bounds(parts) for size in sizes for parts in combinations(bounds.parts, size))
    excluded = next(some for some in sets if solve(space, Polynomial(), some) is None)
    reached = []
    for part in excluded.parts:
        kept = Bounds(tuple(other for other in excluded.parts if other != part))
        polynomial = space.cost.polynomial(part.metric)
        low, high = extremes(space, polynomial, kept, NEARLY if kept.parts else 0.0)
        within = f"with {kept} " if kept.parts else ""
        reached.append(f"{within}it reaches from {low:,} to {high:,} {WORDS[part.metric]}")
    if not kept.parts:
        return (
            f"no arch of space {space.name!r} has {excluded}, though {reached[0]}: widen the budget"
        )
    *most, last = map(str, excluded.parts)
    return (
        f"{', '.join(most)} and {last} exclude each other in space {space.name!r}: "
        f"{'; '.join(reached)}: relax one of them"
    )


def solve(
    space: Space,
    objective: Polynomial,
    bounds: Bounds = ANY,
    gap: float = 0.0,
    forbidden: Sequence[Mapping[str, int]] = (),
) -> dict[str, int] | None:
    """Return the arch of the space with the largest objective within the bounds, or None.

    See `solver.maximise`; the space's constraints are kept.
    """
    costs, counts = bounds.on(space.cost), space.num_candidates
    return maximise(objective, counts, costs, gap, space.constraints, forbidden)


def largest_below(space: Space, budget: Budget) -> int | None:
    """Return FLOPs that no arch below all ends of a budget exceeds by more than a thousandth."""
    ends = Bounds(tuple(Bound(part.metric, -np.inf, part.high) for part in budget.parts))
    best = solve(space, space.cost.flops, ends, NEARLY)
    return None if best is None else space.cost.count(best)["flops"]
