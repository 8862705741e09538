"""A FLOP budget: how people write it, and whether a space can meet it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .polynomial import Polynomial
from .solver import maximise
from .space import Space

_SCALES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:e([+-]?\d+))?\s*([KMG]?)", re.IGNORECASE)
_GRAMMAR = "write it like 357M, 0.357G, 357e6, 60%, 340M:360M or 0:357M"

# Where cost and objective are nearly one function, proving the last digits can take for ever.
NEARLY = 1e-3


class InfeasibleBudgetError(ValueError):
    """A budget that no arch of the space can meet."""


@dataclass(frozen=True)
class Budget:
    """Bounds on the FLOPs of an arch.

    Attributes:
        low: smallest FLOPs allowed by the user, or None for a plain upper bound, which means
            archs of a band below it, see `nastk.core.band`. A low of 0 allows all below `high`.
        high: largest FLOPs allowed, never exceeded.
    """

    low: int | None
    high: int

    @classmethod
    def parse(cls, text: str, largest: int | None = None) -> Budget:
        """Read a budget as people write it.

        Args:
            text: `357M`, `0.357G`, `357e6`, `60%` (of the largest arch) or `340M:360M`.
            largest: FLOPs of the largest arch, needed for a percentage.

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
        return cls(low, high)

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


@lru_cache(maxsize=16)
def flops_range(space: Space) -> tuple[int, int]:
    """Return the FLOPs of the smallest and of the largest arch of a space."""
    return extremes(space, space.cost.flops)


def extremes(space: Space, polynomial: Polynomial) -> tuple[int, int]:
    """Return the smallest and largest value of a cost over all archs of a space."""
    counts = space.num_candidates
    ends = []
    for sign in (-1, 1):
        best = maximise(polynomial * sign, polynomial, counts, constraints=space.constraints)
        assert best is not None
        one = {name: np.array([index]) for name, index in best.items()}
        ends.append(int(polynomial.evaluate(one)[0]))
    return ends[0], ends[1]


def parse_budget(text: str, space: Space) -> Budget:
    """Read a budget for a space and refuse what no arch of it can meet.

    Raises:
        ValueError: if the text is no budget.
        InfeasibleBudgetError: if it lies outside of what the space reaches.
    """
    largest = flops_range(space)[1] if "%" in text else None
    budget = Budget.parse(text, largest)
    check_budget(budget, space)
    return budget


def check_budget(budget: Budget, space: Space) -> None:
    """Refuse a budget outside of what the space reaches, and a range between its archs.

    Raises:
        InfeasibleBudgetError: with the smallest and the largest FLOPs of the space.
    """
    smallest, largest = flops_range(space)
    if budget.high < smallest or (budget.low or budget.high) > largest:
        wanted = f"{budget.high:,}" if budget.low is None else f"{budget.low:,} to {budget.high:,}"
        raise InfeasibleBudgetError(
            f"no arch of space {space.name!r} has {wanted} FLOPs; it reaches from {smallest:,} to "
            f"{largest:,} at {space.resolution} px and {space.num_classes} classes: "
            "choose a budget in between"
        )
    if budget.low is None:
        return
    bounds = (budget.low, budget.high)
    if solve(space, Polynomial(), *bounds) is None:
        raise InfeasibleBudgetError(
            f"no arch of space {space.name!r} has {budget.low:,} to {budget.high:,} FLOPs, though "
            f"it reaches from {smallest:,} to {largest:,}: widen the budget"
        )


def solve(
    space: Space,
    objective: Polynomial,
    low: float = -np.inf,
    high: float = np.inf,
    gap: float = 0.0,
    forbidden: Sequence[Mapping[str, int]] = (),
) -> dict[str, int] | None:
    """Return the arch of the space with the largest objective and FLOPs in [low, high], or None.

    See `solver.maximise`; the space's constraints are kept.
    """
    cost, counts, rules = space.cost.flops, space.num_candidates, space.constraints
    return maximise(objective, cost, counts, low, high, gap, rules, forbidden)


def largest_below(space: Space, high: float) -> int | None:
    """Return FLOPs, at most `high`, that no arch exceeds by more than a thousandth below it."""
    cost = space.cost.flops
    best = solve(space, cost, high=high, gap=NEARLY)
    return None if best is None else space.cost.count(best)["flops"]
