"""A rule between choices that samplers, solver and archs of a space obey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .choice import Choice
from .polynomial import Polynomial


@dataclass(frozen=True, kw_only=True, eq=False)
class Constraint:
    """The values of some choices, summed, are at most a bound: linear in the one-hots.

    Attributes:
        name: what the rule is called in messages.
        terms: choices whose values (`choice.map` makes them) are summed.
        high: the largest allowed sum.

    Example:
        >>> width, depth = Choice("width", (64, 128)), Choice("depth", (1, 2))
        >>> narrow = Constraint(name="narrow", terms=(width, depth.map(lambda n: -64 * n)), high=0)
        >>> narrow.allows({"width": np.array([0, 1, 1]), "depth": np.array([0, 0, 1])})
        array([ True, False,  True])
    """

    name: str
    terms: tuple[Choice, ...]
    high: float

    @property
    def polynomial(self) -> Polynomial:
        """The sum that is bounded."""
        total = Polynomial.constant(0)
        for term in self.terms:
            total = total + Polynomial.of(term.name, term.values)
        return total

    def allows(self, indices: Mapping[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
        """Return [A] whether each of A archs, given as candidate indices, keeps the rule."""
        result: NDArray[np.bool_] = self.polynomial.evaluate(indices) <= self.high
        return result
