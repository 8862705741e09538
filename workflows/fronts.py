"""Several budgets of one search: how they are asked for, and the best arch of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.best import best_arch
from ..core.budget import Budget, cost_range, parse_budget
from ..core.loop import Report
from ..core.manifest import MOST_BUDGETS
from ..core.run import Run
from ..core.space import Space
from ..records.front import front_row, in_words, write_front
from ..strategies.reading import read_ranking, serves_all_budgets
from ..training.strategy import Problem

HIGHEST = "90%"  # of the largest arch, where a front is asked for without a budget


def split_budgets(
    texts: Mapping[str, str], space: Space
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return one budget of each cost, and all of the one that has several, the largest last.

    Args:
        texts: by name of the cost; `100M,200M` are two budgets.
        space: whose largest arch percentages refer to.

    Raises:
        ValueError: if two costs have several, or one has too many.
    """
    several = {metric: text.split(",") for metric, text in texts.items() if "," in text}
    if len(several) > 1:
        raise ValueError(
            f"only one cost may have several budgets; got {' and '.join(several)} with several"
        )
    ordered = {metric: _ordered(metric, parts, space) for metric, parts in several.items()}
    return {**texts, **{metric: parts[-1] for metric, parts in ordered.items()}}, ordered


def _ordered(metric: str, texts: Sequence[str], space: Space) -> list[str]:
    """Return budgets of one cost by their upper ends, each once."""
    if len(texts) > MOST_BUDGETS:
        raise ValueError(f"a front takes at most {MOST_BUDGETS} budgets, got {len(texts)}")
    largest = cost_range(space, metric)[1] if any("%" in text for text in texts) else None
    highs = {text: Budget.parse(text, largest, metric).high for text in texts}
    return sorted(highs, key=lambda text: highs[text])


def every_budget(
    texts: Mapping[str, str], several: Mapping[str, Sequence[str]], space: Space
) -> list[Budget]:
    """Return the budgets that `split_budgets` told apart; the one there is where none are several.

    Raises:
        InfeasibleBudgetError: if no arch of the space keeps one of them.
    """
    if not several:
        return [parse_budget(texts, space)]
    ((metric, parts),) = several.items()
    return [parse_budget({**texts, metric: text}, space) for text in parts]


def check_front(number: int | None, several: object, strategy: str, ranks: bool) -> None:
    """Refuse several budgets where the strategy knows one, and numbers that mean nothing.

    Raises:
        ValueError: naming what to leave out.
    """
    if number is None and not several:
        return
    if number is not None and several:
        raise ValueError("--front spreads budgets, and several are given: leave one out")
    if number is not None and not 2 <= number <= MOST_BUDGETS:
        raise ValueError(
            f"--front takes at least 2 budgets and at most {MOST_BUDGETS}, got {number}"
        )
    if not ranks:
        raise ValueError(
            f"{strategy} searches one budget at a time: give one, or a strategy that ranks all "
            "archs, such as meta_kernel"
        )


def asked_front(run: Run, problem: Problem) -> list[Budget]:
    """Return the budgets of the front that a search was asked for, none where it has one budget."""
    manifest, budget = run.manifest, problem.budget
    if manifest.front_budgets:
        return every_budget(manifest.asked, manifest.front_budgets, problem.space)
    if manifest.front is None:
        return []
    smallest = cost_range(problem.space, budget.metric)[0]
    number, room = manifest.front, budget.high - smallest
    highs = [smallest + room * n // number for n in range(1, number)]
    return [*(replace(budget, low=None, high=high) for high in highs), budget]


def add_to_front(
    run: Run, problem: Problem, budgets: Sequence[Budget], report: Report
) -> list[dict[str, Any]]:
    """Find the best arch of each budget by what the search has learned, and return the front.

    Raises:
        ValueError: if the search has no ranking of all archs.
        InfeasibleBudgetError: if no arch keeps one of the budgets.
    """
    events = run.events()
    if not serves_all_budgets(events):
        raise ValueError(
            f"{run.path} has no ranking that serves other budgets: search with meta_kernel"
        )
    space, rows = problem.space, []
    ranking = read_ranking(space, events, problem.seed)
    for number, budget in enumerate(budgets, 1):
        is_own = budget == problem.budget and run.arch_path.is_file()
        arch = run.arch if is_own else best_arch(space, ranking.polynomial, budget)
        indices = {name: np.array([index]) for name, index in space.indices(arch).items()}
        score = float(ranking.score(indices)[0])
        rows.append(front_row(run, space, arch, budget.to_json(), score))
        event = {"phase": "front", "step": number, "total": len(budgets)}
        report(event | {"say": f"best of {in_words(budget.to_json())}: arch {arch.id}"})
    return write_front(run, rows)
