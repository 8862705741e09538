"""Searches of one strategy on the space of a public table, each in a run folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .benchmarks.judge import Judge
from .benchmarks.public_rows import Row, Trial, scored
from .benchmarks.public_table import PublicTable
from .core.best import best_arch
from .core.loop import Report
from .core.run import Run
from .nasbench.compare import hash_of
from .plugins import find_strategy
from .searching import resume, search
from .strategies import MetaKernel
from .strategies.ranking import Ranking
from .strategies.reading import read_ranking

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
    """

    data: str
    seeds: int
    steps: int | None
    folder: Path
    device: str
    strategies: Mapping[str, Mapping[str, Any]]


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
        whole.append(_ranked(table, judges, ranking, seed, found["cpu_seconds"]))
        for part, said in PARTS.items():
            figures = [f for f in ranking.figures if f.name.startswith(part)]
            if figures:
                alone = Ranking(table.space, figures, seed)
                parts.setdefault(said, []).append(_ranked(table, judges, alone, seed, None))
    rows = [Row(name=name, kind="search", trials=whole)]
    return rows + [Row(name=f"its {said}", kind="part", trials=t) for said, t in parts.items()]


def serves_all(name: str, options: Mapping[str, Any]) -> bool:
    """Tell whether one search of a strategy answers for every budget."""
    return issubclass(find_strategy(name), MetaKernel) and not options.get("finalists")


def _seeds(settings: Settings) -> range:
    return range(settings.seeds)


def _ranked(
    table: PublicTable,
    judges: Sequence[Judge],
    ranking: Ranking,
    seed: int,
    cpu_seconds: float | None,
) -> Trial:
    """Return what a ranking finds under every budget."""

    def found(judge: Judge) -> int:
        return table.position(best_arch(table.space, ranking.polynomial, judge.budget))

    score_A = ranking.score(table.indices)
    return scored(table, judges, score_A, found, seed=seed, cpu_seconds=cpu_seconds)


def _by_budget(
    name: str,
    table: PublicTable,
    judges: Sequence[Judge],
    settings: Settings,
    seed: int,
    report: Report,
) -> Trial:
    """Return what searches for one budget each have found; their costs add up."""
    budgets, spent = {}, 0.0
    for judge in judges:
        found = _searched(name, table, judge, settings, seed, report)
        spent += found["cpu_seconds"]
        budgets[judge.name] = judge.figures(table.position(found.arch))
    return Trial(budgets=budgets, seed=seed, cpu_seconds=spent)


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
        return resume(folder, told, processes=1)
    return search(
        table.space.name,
        judge.text,
        data=settings.data,
        strategy=name,
        strategy_options=options,
        steps=settings.steps,
        seed=seed,
        processes=1,
        device=settings.device,
        out=folder,
        report=told,
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
