"""The band of FLOPs in which archs of a budget are looked for, and how many archs it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .budget import Budget, check_budget
from .listing import all_archs, flops_of
from .loop import Report
from .run import Run
from .sampler import estimate
from .space import Space

# A plain budget means archs from this percentage of it on: near enough to its top to be no
# smaller network, and wide enough to hold a choice.
PERCENT = 90
# Of fewer archs there is little to choose: the band is widened downward until it holds so many.
FEWEST = 200
_STEP_PERCENT = 10  # by which it is widened where the archs are too many to be listed


@dataclass(frozen=True, kw_only=True)
class Band:
    """Bounds of the FLOPs of archs that count as of one budget.

    Attributes:
        low: smallest FLOPs.
        high: largest FLOPs: the budget, which no arch exceeds.
        num_archs: how many different archs lie inside: a whole number if counted, about so many
            if not, None where random draws meet none.
        is_exact: whether they were counted, and not estimated.
        is_widened: whether `low` was lowered to hold more archs.
    """

    low: int
    high: int
    num_archs: float | None
    is_exact: bool
    is_widened: bool = False

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest FLOPs."""
        return (self.low, self.high)

    def describe(self) -> str:
        """Say in one line where a search looks, and among how many archs.

        Example:
            >>> Band(low=90, high=100, num_archs=2_345_678, is_exact=False).describe()
            'looking in 90 to 100 FLOPs: about 10^6 archs'
        """
        widened = f", from below {PERCENT} % of the budget to hold {FEWEST}"
        known = "archs that random draws all but miss"
        if self.num_archs is not None:
            known = f"{_number(self.num_archs, self.is_exact)} arch{'s' * (self.num_archs != 1)}"
        if self.is_exact and self.is_widened and (self.num_archs or 0) < FEWEST:
            widened = ", all that there are"
        end = widened if self.is_widened else ""
        return f"looking in {self.low:,} to {self.high:,} FLOPs: {known}{end}"


@lru_cache(maxsize=64)
def band_of(space: Space, budget: Budget) -> Band:
    """Return the band of a budget in a space, the same for all that looks for archs.

    A plain budget B is looked for in [0.9 B, B], which is widened downward until it holds 200
    archs or all that lie below B. A range, `0:B` among them, is taken as it is.

    Raises:
        InfeasibleBudgetError: if no arch lies within the budget.
    """
    check_budget(budget, space)
    if budget.low is not None:
        return _counted(space, budget.low, budget.high)[0]
    for percent in range(PERCENT, -1, -_STEP_PERCENT):
        low = -(-percent * budget.high // 100)
        band, is_enough = _counted(space, low, budget.high, is_widened=percent < PERCENT)
        if is_enough:
            break
    if band.is_exact and band.is_widened:
        return _tightened(space, band)
    return band


def say_band(run: Run, space: Space, budget: Budget, report: Report) -> dict[str, Any]:
    """Say and record where a search looks, and return what was recorded."""
    band = band_of(space, budget)
    about = {
        "band": list(band.bounds),
        "band_archs": band.num_archs,
        "band_is_exact": band.is_exact,
    }
    run.update_manifest(about)
    report({"phase": "band", "step": 0, "total": 1, "say": band.describe()})
    return about


def say_evaluated(run: Run, report: Report) -> dict[str, Any]:
    """Return how many evaluations a search has made; say so where no arch of the band is left."""
    trials = [event for event in run.events() if "trial" in event]
    num_archs = len({event.get("arch") for event in trials if event.get("share", 1) == 1})
    manifest = run.manifest
    is_all = manifest.band_is_exact and num_archs == manifest.band_archs
    if is_all:
        what = f"all {num_archs:,} archs" if num_archs > 1 else "the only arch"
        say = f"evaluated {what} of the band: nothing is left to search"
        report({"phase": "band", "step": 1, "total": 1, "say": say})
    return {"evaluations": len(trials), "all_evaluated": is_all}


def _counted(space: Space, low: int, high: int, is_widened: bool = False) -> tuple[Band, bool]:
    """Return a band, and whether it holds enough archs."""
    rows_AD = all_archs(space, low, high)
    if rows_AD is not None:
        found: float | None = len(rows_AD)
        is_enough = len(rows_AD) >= FEWEST
    else:
        about, num_met = estimate(space, (low, high))
        found, is_enough = float(f"{about:.2g}") if num_met else None, num_met >= FEWEST
    is_exact = rows_AD is not None
    band = Band(low=low, high=high, num_archs=found, is_exact=is_exact, is_widened=is_widened)
    return band, is_enough


def _tightened(space: Space, band: Band) -> Band:
    """Return a widened band that begins at its last arch that is wanted."""
    rows_AD = all_archs(space, *band.bounds)
    assert rows_AD is not None and len(rows_AD)
    flops_A = np.sort(flops_of(space, rows_AD))[::-1]
    low = int(flops_A[min(FEWEST, len(flops_A)) - 1])
    return _counted(space, low, band.high, is_widened=True)[0]


def _number(count: float, is_exact: bool) -> str:
    if is_exact:
        return f"{count:,}"
    magnitude = math.log10(count)
    return f"about 10^{magnitude:.0f}" if magnitude >= 6 else f"about {float(f'{count:.1g}'):,.0f}"
