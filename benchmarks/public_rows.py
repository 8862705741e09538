"""Rows of the comparison on a public table: what was tried, seed by seed and budget by budget."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .judge import Figures, Judge, tau_all
from .public_table import Floats, PublicTable

# A archs

AVERAGED = ("accuracy", "lost", "percentile", "deviations", "tau_under", "tau_band")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One search, or one rule: what it found under every budget, and what that cost.

    Attributes:
        seed: None of what knows none.
        budgets: by budget, figures of `Judge` and maybe `arch`.
        tau_all: of its score, over all archs.
        cpu_seconds: None where it costs none.
        trainings: that were told from the table.
        about: further figures, such as the `weight` of a part in its ranking.
    """

    budgets: Mapping[str, Mapping[str, Any]]
    seed: int | None = None
    tau_all: float | None = None
    cpu_seconds: float | None = None
    trainings: int | None = None
    about: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was tried, with all of its trials.

    Attributes:
        name: for people.
        kind: `search`, `part` (one kind of figure of the search above), `rule`, `random`,
            `proxy`, `ceiling` or `told` (a search that is told results of the table).
        trials: one for each seed.
    """

    name: str
    kind: str
    trials: Sequence[Trial] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return means over the trials, the spread of the points lost, and the trials."""
        names = list(self.trials[0].budgets)
        by_budget = {
            name: {
                key: _mean([trial.budgets[name].get(key) for trial in self.trials])
                for key in AVERAGED
            }
            for name in names
        }
        lost = [statistics.mean(t.budgets[name]["lost"] for name in names) for t in self.trials]
        return {
            "name": self.name,
            "kind": self.kind,
            "searches": len(self.trials),
            "lost": _mean(lost),
            "lost_deviation": statistics.stdev(lost) if len(lost) > 1 else None,
            "tau_all": _mean([trial.tau_all for trial in self.trials]),
            "cpu_seconds": _mean([trial.cpu_seconds for trial in self.trials]),
            "trainings": _mean([trial.trainings for trial in self.trials]),
            "about": {
                key: _mean([trial.about.get(key) for trial in self.trials])
                for key in self.trials[0].about
            },
            "budgets": by_budget,
            "trials": [vars(trial) for trial in self.trials],
        }


def rules(table: PublicTable, judges: Sequence[Judge]) -> Iterator[Row]:
    """Yield what needs no search: random archs, and the most params and FLOPs of the band."""
    yield Row(name="random arch of the band", kind="random", trials=[_drawn(judges, 1)])
    for count in (3, 5, 10, 20):
        name = f"best of {count} random archs by their real accuracy"
        yield Row(name=name, kind="random", trials=[_drawn(judges, count)])
    for metric, word in (("params", "params"), ("flops", "FLOPs")):
        score_A = table.space.cost.polynomial(metric).evaluate(table.indices).astype(float)
        trial = scored(table, judges, score_A, lambda judge, s=score_A: _largest(judge, s))  # type: ignore[misc]
        yield Row(name=f"most {word} of the band", kind="rule", trials=[trial])


def scored(
    table: PublicTable,
    judges: Sequence[Judge],
    score_A: Floats,
    found: Callable[[Judge], Any],
    *,
    seed: int | None = None,
    cpu_seconds: float | None = None,
    about: Mapping[str, float] | None = None,
) -> Trial:
    """Return a trial of one score for all budgets.

    Args:
        table: of all archs.
        judges: of the budgets.
        score_A: [A] higher is better.
        found: numbers of the archs that it finds under a budget, alike in score.
        seed: of the search.
        cpu_seconds: that it took.
        about: further figures.
    """
    budgets = {judge.name: judge.figures(found(judge)) | judge.taus(score_A) for judge in judges}
    return Trial(
        budgets=budgets,
        seed=seed,
        tau_all=tau_all(table, score_A),
        cpu_seconds=cpu_seconds,
        about=about or {},
    )


def _largest(judge: Judge, score_A: Floats) -> Any:
    """Return the archs of the band with the largest score: several where they are alike."""
    inside = np.where(judge.band_A, score_A, -np.inf)
    return np.flatnonzero(inside == inside.max())


def _drawn(judges: Sequence[Judge], count: int) -> Trial:
    """Return what the best of so many random archs of the band is worth, in expectation."""
    budgets: dict[str, Figures] = {}
    for judge in judges:
        rows = np.flatnonzero(judge.band_A)
        rows = rows[np.argsort(judge.table.accuracy[rows])]
        below = np.arange(len(rows) + 1) / len(rows)
        budgets[judge.name] = judge.figures(rows, np.diff(below**count))
    return Trial(budgets=budgets)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None
