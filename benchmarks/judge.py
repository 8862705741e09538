"""What an arch that was found under a budget is worth by a table in which all results stand."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..comparison.ranking import tau
from ..core.band import band_of
from ..core.budget import Budget, flops_range, parse_budget
from .public_table import Floats, PublicTable

# A archs of the table, F archs found

Figures = dict[str, float | None]


class Judge:
    """One budget of a table: which archs it allows, and how good the best and the usual ones are.

    Attributes:
        table: of all archs.
        name: of the budget, as people write it; `none` for the whole space.
        budget: which archs keep.
        under_A: [A] whether an arch lies under the upper end of the budget.
        band_A: [A] whether it lies in the band in which searches look.
    """

    def __init__(self, table: PublicTable, text: str | None) -> None:
        space = table.space
        self.table, self.name = table, text or "none"
        self.budget = Budget(*flops_range(space)) if text is None else parse_budget(text, space)
        cost, indices = space.cost, table.indices
        self.under_A = cost.flops.evaluate(indices) <= self.budget.high
        self.band_A = band_of(space, self.budget).bounds.allows(cost, indices)

    @property
    def text(self) -> str:
        """The budget as `nastk search` takes it, with the lower end where one is meant."""
        return f"{self.budget.low}:{self.budget.high}" if self.budget.low else self.name

    @cached_property
    def best(self) -> float:
        """Accuracy of the best arch under the budget."""
        return float(self.table.accuracy[self.under_A].max())

    @cached_property
    def band(self) -> tuple[float, float]:
        """Mean and standard deviation of the accuracies of the band."""
        inside = self.table.accuracy[self.band_A]
        return float(inside.mean()), float(inside.std())

    @cached_property
    def percentile(self) -> Floats:
        """[A] percent of the archs under the budget that are worse, those alike by half."""
        accuracy_A = self.table.accuracy
        ordered = np.sort(accuracy_A[self.under_A])
        worse = [np.searchsorted(ordered, accuracy_A, side) for side in ("left", "right")]
        result: Floats = 50 * (worse[0] + worse[1]) / len(ordered)
        return result

    def figures(self, found: ArrayLike, shares: ArrayLike | None = None) -> Figures:
        """Return what archs are worth that are found, or their expectation.

        Args:
            found: [F] numbers of archs.
            shares: [F] how probable each is; all alike unless given.

        Returns:
            `accuracy` in percent, `lost` points to the best arch under the budget, `percentile`
            under the budget, and `deviations` of the band above its mean.
        """
        rows = np.atleast_1d(np.asarray(found, dtype=np.int64))
        accuracy = float(np.average(self.table.accuracy[rows], weights=shares))
        mean, deviation = self.band
        return {
            "accuracy": accuracy,
            "lost": self.best - accuracy,
            "percentile": float(np.average(self.percentile[rows], weights=shares)),
            "deviations": (accuracy - mean) / deviation if deviation > 0 else None,
        }

    def taus(self, score_A: Floats) -> Figures:
        """Return Kendall's tau of scores with accuracies, under the budget and in its band."""
        parts = {"tau_under": self.under_A, "tau_band": self.band_A}
        return {name: self._tau(score_A, mask_A) for name, mask_A in parts.items()}

    def _tau(self, score_A: Floats, mask_A: NDArray[np.bool_]) -> float | None:
        return tau(score_A[mask_A], -self.table.accuracy[mask_A])  # type: ignore[arg-type]

    def describe(self) -> dict[str, Any]:
        """Return what is known of the budget before anything is searched."""
        mean, deviation = self.band
        flops_A = self.table.space.cost.flops.evaluate(self.table.indices)
        inside = flops_A[self.band_A]
        return {
            "flops": self.budget.high,
            "archs": int(self.under_A.sum()),
            "best": self.best,
            "band": [int(inside.min()), int(inside.max())],
            "band_archs": int(self.band_A.sum()),
            "band_mean": mean,
            "band_deviation": deviation,
        }


def tau_all(table: PublicTable, score_A: Floats) -> float | None:
    """Return Kendall's tau of scores with accuracies over all archs of a table."""
    return tau(score_A, -table.accuracy)  # type: ignore[arg-type]
