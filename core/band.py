"""The band of costs in which archs of a budget are looked for, and how many archs it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .bounds import WORDS, Bounds
from .budget import Budget, check_budget
from .listing import all_archs, costs_of, holds
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
    """Bounds of the costs of archs that count as of one budget.

    Attributes:
        bounds: on each cost that the budget names; the upper ends are the budget's.
        num_archs: how many different archs lie inside: a whole number if counted, about so many
            if not, None where random draws meet none.
        is_exact: whether they were counted, and not estimated.
        is_widened: whether the first lower end was lowered to hold more archs.
    """

    bounds: Bounds
    num_archs: float | None
    is_exact: bool
    is_widened: bool = False

    @property
    def low(self) -> float:
        """The smallest value of the first cost, FLOPs if they are bounded."""
        return self.bounds.parts[0].low

    @property
    def high(self) -> float:
        """The largest value of the first cost, FLOPs if they are bounded."""
        return self.bounds.parts[0].high

    def describe(self) -> str:
        """Say in one line where a search looks, and among how many archs.

        Example:
            >>> Band(bounds=Bounds.of((90, 100)), num_archs=2_345_678, is_exact=False).describe()
            'looking in 90 to 100 FLOPs: about 10^6 archs'
        """
        widened = f", from below {PERCENT} % of the budget to hold {FEWEST}"
        known = "archs that random draws all but miss"
        if self.num_archs is not None:
            known = f"{_number(self.num_archs, self.is_exact)} arch{'s' * (self.num_archs != 1)}"
        if self.is_exact and self.is_widened and (self.num_archs or 0) < FEWEST:
            widened = ", all that there are"
        end = widened if self.is_widened else ""
        ends = (f"{p.low:,.0f} to {p.high:,.0f} {WORDS[p.metric]}" for p in self.bounds.parts)
        return f"looking in {' and '.join(ends)}: {known}{end}"


@lru_cache(maxsize=64)
def band_of(space: Space, budget: Budget) -> Band:
    """Return the band of a budget in a space, the same for all that looks for archs.

    A plain budget B is looked for in [0.9 B, B], which is widened downward until it holds 200
    archs or all that lie below B. A range, `0:B` among them, is taken as it is. Of a budget on
    several costs the first (FLOPs, else params) is looked for so, among archs that keep the
    others; plain ones of these are upper ends alone.

    Raises:
        InfeasibleBudgetError: if no arch lies within the budget.
    """
    check_budget(budget, space)
    if budget.low is not None:
        return _counted(space, budget.bounds)[0]
    for percent in range(PERCENT, -1, -_STEP_PERCENT):
        bounds = _from(budget.bounds, -(-percent * budget.high // 100))
        band, is_enough = _counted(space, bounds, is_widened=percent < PERCENT)
        if is_enough:
            break
    if band.is_exact and band.is_widened:
        return _tightened(space, band)
    return band


def say_band(run: Run, space: Space, budget: Budget, report: Report) -> dict[str, Any]:
    """Say and record where a search looks, and return what was recorded."""
    band = band_of(space, budget)
    about = {
        "bands": band.bounds.to_json(),
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


def _from(bounds: Bounds, low: float) -> Bounds:
    """Return bounds with another lower end of the first cost."""
    first, *others = bounds.parts
    return Bounds((replace(first, low=low), *others))


def _counted(space: Space, bounds: Bounds, is_widened: bool = False) -> tuple[Band, bool]:
    """Return a band, and whether it holds enough archs."""
    rows_AD = all_archs(space, bounds)
    if rows_AD is not None:
        found: float | None = len(rows_AD)
        is_enough = len(rows_AD) >= FEWEST
    else:
        about, num_met = estimate(space, bounds)
        found = float(f"{about:.2g}") if num_met else None
        is_enough = num_met >= FEWEST or holds(space, bounds, FEWEST) is True
    is_exact = rows_AD is not None
    band = Band(bounds=bounds, num_archs=found, is_exact=is_exact, is_widened=is_widened)
    return band, is_enough


def _tightened(space: Space, band: Band) -> Band:
    """Return a widened band that begins at its last arch that is wanted."""
    rows_AD = all_archs(space, band.bounds)
    assert rows_AD is not None and len(rows_AD)
    costs_A = np.sort(costs_of(space, rows_AD, band.bounds.parts[0].metric))[::-1]
    low = int(costs_A[min(FEWEST, len(costs_A)) - 1])
    return _counted(space, _from(band.bounds, low), is_widened=True)[0]


def _number(count: float, is_exact: bool) -> str:
    if is_exact:
        return f"{count:,}"
    magnitude = math.log10(count)
    return f"about 10^{magnitude:.0f}" if magnitude >= 6 else f"about {float(f'{count:.1g}'):,.0f}"
