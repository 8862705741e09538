"""Searches of one strategy on the space of a public table, each in a run folder of its own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.best import log_probability
from ..core.files import hash_of
from ..core.loop import Report
from ..core.polynomial import Polynomial
from ..core.run import Run
from ..records.execution import Execution
from ..records.named import Named, find_strategy
from ..strategies.effects import Features
from ..strategies.linear_model import LinearModel
from ..strategies.ranking import Ranking
from ..strategies.reading import has_ranking, read_log_probs, read_ranking
from ..workflows.search import resume, search
from .judge import Judge, tau_all
from .public_rows import Row, Trial
from .public_table import PublicTable
from .untrained import by_score

PARTS = {
    "training": "losses of training steps",
    "inherited": "losses with inherited weights",
    "untrained": "patterns of untrained archs",
}
"""What a ranking by mixtures sums, by the beginnings of the names of its figures."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How searches are made.

    Attributes:
        data: on which networks are trained.
        seeds: searches of each strategy.
        steps: updates of each supernet; the space's if None.
        folder: of the runs.
        device: where networks run.
        strategies: options of each by its name.
        proxies: by which untrained archs are measured...
        untrained: ...so many of them.
        told: black-box strategies that are told results of the table...
        told_searches: ...so many times.
    """

    data: str
    seeds: int
    steps: int | None
    folder: Path
    device: str
    strategies: Mapping[str, Mapping[str, Any]]
    proxies: Sequence[str]
    untrained: int
    told: Sequence[str]
    told_searches: int


def search_rows(
    name: str, table: PublicTable, judges: Sequence[Judge], settings: Settings, report: Report
) -> list[Row]:
    """Return the row of a strategy, and below it those of what its ranking consists of."""
    if not serves_all(name, settings.strategies[name]):
        trials = [_by_budget(name, table, judges, settings, s, report) for s in _seeds(settings)]
        return [Row(name=f"{name}, one search a budget", kind="search", trials=trials)]
    whole: list[Trial] = []
    parts: dict[str, list[Trial]] = {}
    for seed in _seeds(settings):
        found = _searched(name, table, judges[0], settings, seed, report)
        ranking = read_ranking(table.space, Run.open(found.run).events(), seed)
        how = {"seed": seed, "cpu_seconds": found["cpu_seconds"]}
        whole.append(by_score(table, judges, ranking.polynomial, **how))
        for part, said in PARTS.items():
            if trial := _alone(table, judges, ranking, part, seed):
                parts.setdefault(said, []).append(trial)
    rows = [Row(name=name, kind="search", trials=whole)]
    return rows + [Row(name=f"its {said}", kind="part", trials=t) for said, t in parts.items()]


def serves_all(name: str, options: Mapping[str, Any]) -> bool:
    """Tell whether one search of a strategy answers for every budget."""
    return find_strategy(name).ranks_all and not options.get("finalists")


def _seeds(settings: Settings) -> range:
    return range(settings.seeds)


def _alone(
    table: PublicTable, judges: Sequence[Judge], ranking: Ranking, part: str, seed: int
) -> Trial | None:
    """Return what one kind of figure finds by itself, None where it says nothing."""
    features = Features(table.space)
    rows_AF = features.of_archs(table.indices)
    chosen = [figures for figures in ranking.figures if figures.name.startswith(part)]
    effects = [figures.effects() for figures in chosen]
    deviations = [float((rows_AF @ costs_F).std()) for costs_F in effects]
    scaled = [-costs_F / d for costs_F, d in zip(effects, deviations, strict=True) if d > 0]
    if not scaled:
        return None
    about = {
        "weight": statistics.mean(ranking.weights[figures.name] for figures in chosen),
        "explained": statistics.mean(figures.explained for figures in chosen),
    }
    score = features.polynomial(np.sum(scaled, 0))
    return by_score(table, judges, score, seed=seed, about=about)


def _by_budget(
    name: str,
    table: PublicTable,
    judges: Sequence[Judge],
    settings: Settings,
    seed: int,
    report: Report,
) -> Trial:
    """Return what searches for one budget each have found; their costs add up."""
    budgets, spent, taus = {}, 0.0, []
    for judge in judges:
        found = _searched(name, table, judge, settings, seed, report)
        spent += found["cpu_seconds"]
        figures = judge.figures(table.position(found.arch))
        score = score_of(Run.open(found.run), judge)
        if score is not None:
            score_A = score.evaluate(table.indices).astype(float)
            figures |= judge.taus(score_A)
            taus.append(tau_all(table, score_A))
        budgets[judge.name] = figures
    known = [value for value in taus if value is not None]
    mean = statistics.mean(known) if known else None
    return Trial(budgets=budgets, seed=seed, tau_all=mean, cpu_seconds=spent)


def score_of(run: Run, judge: Judge) -> Polynomial | None:
    """Return what a search for one budget has learned of every arch, higher is better.

    That is its ranking by mixtures, else the logarithm of the probability by its last logits, else
    a linear model of the losses of the archs that it has tested; None where there is none of them.
    """
    events, space = run.events(), judge.table.space
    if has_ranking(events):
        return read_ranking(space, events, run.manifest.seed).polynomial
    if logs := read_log_probs(space, events):
        return log_probability(logs)
    tested = [e for e in events if "trial" in e and math.isfinite(e.get("loss", math.nan))]
    if not tested:
        return None
    model = LinearModel(space, judge.budget, [], run.manifest.seed)
    archs = [space.arch(event["choices"]) for event in tested]
    mean_F, _ = model.posterior(archs, [event["loss"] for event in tested])
    return model.score(mean_F)


def _searched(
    name: str,
    table: PublicTable,
    judge: Judge,
    settings: Settings,
    seed: int,
    report: Report,
) -> Any:
    """Search, go on with a search that was interrupted, or return what a finished one found."""
    options = dict(settings.strategies[name])
    about = f"{sorted(options.items())} {settings.data} {settings.steps} {settings.device}"
    short = find_strategy(name).name
    folder = settings.folder / table.space.name / f"{short}-{hash_of(about)}" / f"seed{seed}"
    if not serves_all(name, options):
        folder = folder.with_name(f"{folder.name}-{judge.text.replace('%', 'percent')}")
    told = _told(report, f"{table.space.name} {short} {seed}")
    if (folder / "manifest.json").is_file():
        return resume(folder, processes=1, progress=told)
    length = {} if settings.steps is None else {"steps": settings.steps}
    return search(
        table.space.name,
        judge.text,
        data=settings.data,
        strategy=Named(name, options | length),
        seed=seed,
        execution=Execution(processes=1, device=settings.device),
        out=folder,
        progress=told,
    )


def _told(report: Report, about: str) -> Report:
    """Return a report that says whose events it gets, and passes on what a search has learned."""

    def tell(event: dict[str, Any]) -> None:
        phase = f"{about}: {event['phase']}"
        if "say" not in event:
            report(event | {"phase": phase})
        elif event["phase"] == "learned":
            report(event | {"phase": phase, "say": f"{about}: {event['say']}"})

    return tell
