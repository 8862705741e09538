"""What untrained networks say by zero-cost proxies, read as meta_kernel reads its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.best import best_arch
from ..core.clock import cpu_seconds
from ..core.cost import Indices
from ..core.lookup import lookup
from ..core.loop import Report
from ..core.naswot import NoActivationsError
from ..core.polynomial import Polynomial
from ..core.record import Record, Seconds, read_record
from ..core.run import write_json
from ..core.sampler import sample
from ..evaluators import EVALUATORS
from ..evaluators.zero_cost import ZeroCost
from ..strategies.effects import Features, ranks, ridge
from ..tasks.named import make_task
from ..training.strategy import Problem
from ..training.task import Task
from .judge import Judge
from .public_rows import Row, Trial, scored
from .public_table import PublicTable

# A archs, F features

PROXIES = {name: kind for name, kind in EVALUATORS.items() if issubclass(kind, ZeroCost)}

_STREAM = 31  # of random numbers, beside those of searches
_SAVED = 10  # archs after which what was measured is written down


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured(Record):
    """`NAME-ARCHS-seedS.json`: scores of random archs in the order in which they were drawn."""

    cpu_seconds: Seconds = 0.0
    scores: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, eq=False)
class Untrained:
    """Random archs of a table's space, measured by zero-cost proxies without any training.

    Attributes:
        table: of all archs.
        data: name of the data whose images are shown to the networks.
        archs: random ones of the whole space, for each seed others.
        folder: where what was measured is kept.
    """

    table: PublicTable
    data: str
    archs: int
    folder: Path

    def row(self, name: str, seeds: int, judges: Sequence[Judge], report: Report) -> Row:
        """Return what the additive fit of a proxy finds, with seeds from 0.

        The ranks of its scores are regressed on the candidates of the archs, as `meta_kernel` does
        with its third score, and the best arch of every budget by the fit is the answer.

        Args:
            name: of the proxy.
            seeds: how many.
            judges: of the budgets.
            report: receives progress events.

        Raises:
            ValueError: if there is no such proxy.
        """
        lookup("proxy", name, PROXIES)
        trials = [self._trial(name, seed, judges, report) for seed in range(seeds)]
        return Row(name=f"{name}, fit of {self.archs} untrained archs", kind="proxy", trials=trials)

    def _trial(self, name: str, seed: int, judges: Sequence[Judge], report: Report) -> Trial:
        drawn = sample(self.table.space, self.archs, np.random.default_rng((seed, _STREAM)))
        scores, seconds = self._measured(name, seed, drawn, report)
        costs_A = [math.inf if s is None or math.isnan(s) else -s for s in scores]
        features = Features(self.table.space)
        rows_AS = features.of_archs(drawn)[:, : len(features.names)]
        score = features.polynomial(-ridge(rows_AS, ranks(costs_A), 1.0))
        return by_score(self.table, judges, score, seed=seed, cpu_seconds=seconds)

    def _measured(
        self, name: str, seed: int, drawn: Indices, report: Report
    ) -> tuple[list[float | None], float]:
        """Return the scores of archs, None where a network has none, and their CPU seconds."""
        file = self.folder / f"{name}-{self.archs}-seed{seed}.json"
        known = read_record(file, Measured) if file.is_file() else Measured()
        scores, earlier = list(known.scores), known.cpu_seconds
        if len(scores) == self.archs:
            return scores, earlier
        # What it takes to read data and to describe the proxy is no score's cost.
        self._task.batch("weights", seed=seed, step=0, batch_size=1)
        self.table.space.proxy().choices()
        start = cpu_seconds()
        for number in range(len(scores), self.archs):
            one = {key: int(column[number]) for key, column in drawn.items()}
            scores.append(self._score(name, seed, one))
            if (number + 1) % _SAVED == 0 or number + 1 == self.archs:
                file.parent.mkdir(parents=True, exist_ok=True)
                spent = earlier + cpu_seconds() - start
                write_json(file, {"cpu_seconds": spent, "scores": scores})
            phase = f"{self.table.space.name} {name} {seed}"
            report({"phase": phase, "step": number + 1, "total": self.archs})
        return scores, spent

    def _score(self, name: str, seed: int, indices: dict[str, int]) -> float | None:
        space = self.table.space
        proxy = space.proxy()
        problem = Problem(space=space, proxy=proxy, task=self._task, budget=self._any, seed=seed)
        evaluator: Any = PROXIES[name](problem=problem)
        arch = proxy.arch(space.arch_at(indices).choices)
        try:
            return float(evaluator.evaluate(arch)[evaluator.chosen_by()[0]])
        except NoActivationsError:
            return None

    @cached_property
    def _any(self) -> Any:
        return Judge(self.table, None).budget

    @cached_property
    def _task(self) -> Task:
        return make_task(self.data, self.table.space.proxy().resolution)


def ceiling(table: PublicTable, judges: Sequence[Judge]) -> Row:
    """Return what an additive model finds that is fitted to the real accuracies of all archs."""
    features = Features(table.space)
    rows_AS = features.of_archs(table.indices)[:, : len(features.names)]
    trial = by_score(table, judges, features.polynomial(ridge(rows_AS, table.accuracy, 1e-6)))
    return Row(name="additive fit of all real accuracies", kind="ceiling", trials=[trial])


def by_score(
    table: PublicTable,
    judges: Sequence[Judge],
    score: Polynomial,
    *,
    seed: int | None = None,
    cpu_seconds: float | None = None,
    about: Mapping[str, float] | None = None,
) -> Trial:
    """Return what a score of every arch finds, for every budget.

    Args:
        table: of all archs.
        judges: of the budgets.
        score: of which more is better.
        seed: of what was measured.
        cpu_seconds: that it took.
        about: further figures.
    """

    def found(judge: Judge) -> int:
        return table.position(best_arch(table.space, score, judge.budget))

    score_A = score.evaluate(table.indices).astype(np.float64)
    return scored(table, judges, score_A, found, seed=seed, cpu_seconds=cpu_seconds, about=about)
