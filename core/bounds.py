"""Bounds on what archs cost: where solver, samplers and neighbours look, one cost or several."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cost import Cost, Indices
from .polynomial import Polynomial

# A archs

WORDS = {"flops": "FLOPs", "params": "params", "activations": "activations"}
"""What the costs of `cost.METRICS` are called."""

Bounded = tuple[Polynomial, float, float]
"""A cost with its smallest and its largest value."""


@dataclass(frozen=True)
class Bound:
    """The smallest and the largest value of one cost.

    Attributes:
        metric: `flops`, `params` or `activations`.
        low: smallest value.
        high: largest value.

    Example:
        >>> str(Bound("flops", 340, 360)), str(Bound("params", 0, 4_000_000))
        ('340 to 360 FLOPs', 'at most 4,000,000 params')
    """

    metric: str
    low: float
    high: float

    def __str__(self) -> str:
        start = f"{self.low:,.0f} to " if self.low > 0 else "at most "
        return f"{start}{self.high:,.0f} {WORDS[self.metric]}"

    @property
    def size(self) -> float:
        """A value of the cost that tells its scale."""
        return max(1.0, next(filter(math.isfinite, (self.high, self.low)), 1.0))


@dataclass(frozen=True)
class Bounds:
    """The bounds on several costs, of which an arch keeps all; on none of them, if it is empty.

    Attributes:
        parts: each on another cost.

    Example:
        >>> str(Bounds.of((340, 360)))
        '340 to 360 FLOPs'
    """

    parts: tuple[Bound, ...] = ()

    @classmethod
    def of(cls, given: Bounds | tuple[float, float]) -> Bounds:
        """Return bounds as they are, and a pair as the bounds of FLOPs."""
        return given if isinstance(given, Bounds) else cls((Bound("flops", *given),))

    def __str__(self) -> str:
        *most, last = map(str, self.parts)
        return f"{', '.join(most)} and {last}" if most else last

    def of_metric(self, metric: str) -> Bound | None:
        """Return the bounds on one cost, None where it is free."""
        return next((part for part in self.parts if part.metric == metric), None)

    def to_json(self) -> list[dict[str, Any]]:
        """Return what a run records, one object a cost: `metric low high`."""
        return [{"metric": p.metric, "low": p.low, "high": p.high} for p in self.parts]

    def on(self, cost: Cost) -> list[Bounded]:
        """Return the polynomials of a space's cost that are bounded, each with its bounds."""
        return [(cost.polynomial(part.metric), part.low, part.high) for part in self.parts]

    def allows(self, cost: Cost, indices: Indices) -> NDArray[np.bool_]:
        """Return [A] whether each of A archs, given as candidate indices, lies inside."""
        return self.distance(cost, indices) <= 0

    def distance(self, cost: Cost, indices: Indices) -> NDArray[np.float64]:
        """Return [A] how far archs lie outside, 0 inside, in units of the first cost."""
        count = len(next(iter(indices.values()))) if indices else 1
        total_A = np.zeros(count)
        for part, (polynomial, low, high) in zip(self.parts, self.on(cost), strict=True):
            values_A = polynomial.evaluate(indices).astype(float)
            outside_A = np.maximum(0.0, np.maximum(low - values_A, values_A - high))
            total_A += outside_A * (self.parts[0].size / part.size)
        return total_A
