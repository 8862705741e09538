"""What a search by mixtures has learned, in words and for its run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.arch import Arch
from ..core.best import best_arch, best_other, most_params
from ..core.budget import NEARLY
from ..core.loop import Report
from ..core.run import Run, write_json
from ..core.space import Space
from ..training.strategy import Problem
from .ranking import Ranking
from .reading import read_ranking
from .thompson import Learned

FILE = "ranking.json"

_LISTED = 5  # best archs of a budget that are looked at
_GUESSING = 0.9  # of the loss of guessing: a supernet that ends above has learned nothing
_EXPLAINED = 0.05  # share below which a ranking knows nothing


def learned_from(run: Run, problem: Problem, report: Report) -> Learned:
    """Read what the events of a search say of every arch, tell it, and return the best arch."""
    ranking = read_ranking(problem.space, run.events(), problem.seed)
    if ranking.knows:
        arch = best_arch(problem.space, ranking.polynomial, problem.budget)
    else:  # a warning says so
        arch = most_params(problem.space, problem.budget)
    tell_learned(run, problem, ranking, arch, report)
    return Learned(arch=arch, score=ranking.polynomial)


def tell_learned(
    run: Run, problem: Problem, ranking: Ranking, arch: Arch, report: Report
) -> dict[str, Any]:
    """Write what was learned into the run, say it in one line, and warn where it is nothing.

    Args:
        run: of the search.
        problem: that was searched.
        ranking: of all archs.
        arch: the best one of the budget.
        report: gets the lines.

    Returns:
        The content of the file.
    """
    tied, is_more = tied_archs(ranking, problem, arch)
    explained = explained_share(ranking)
    end = _loss_at_the_end(run.events())
    warnings = _warnings(ranking, end, problem.task.loss_of_guessing(problem.task.sizes))
    sentence = in_words(explained, len(tied), is_more)
    content = {
        "choices": _effects(problem.space, ranking),
        "figures": [
            {
                "name": figures.name,
                "number": len(figures.values),
                "weight": ranking.weights[figures.name],
                "explained": figures.explained,
                "has_pairs": figures.has_pairs,
            }
            for figures in ranking.figures
        ],
        "explained": explained,
        "found_score": _score_of(problem.space, ranking, arch),
        "tested_scores": tested_scores(problem.space, ranking, run.events()),
        "num_tied": len(tied),
        "more_tied": is_more,
        "sentence": sentence,
        "warnings": warnings,
    }
    write_json(run.path / FILE, content)
    phase = {"phase": "learned", "step": 1, "total": 1}
    for line in (sentence, *(f"warning: {warning}" for warning in warnings)):
        report(phase | {"say": line})
    return content


def explained_share(ranking: Ranking) -> float | None:
    """Return how much of the losses of tested archs the additive model tells unseen.

    It is the mean over supernets; None where no arch was tested.
    """
    shares = [f.explained for f in ranking.figures if f.is_measure]
    return float(np.mean(shares)) if shares else None


def tied_archs(ranking: Ranking, problem: Problem, arch: Arch) -> tuple[list[Arch], bool]:
    """Return the best archs of the budget that differ by less than the error, the best first.

    Returns:
        The archs, and whether there may be more than those.
    """
    space = problem.space
    found = [arch]
    while len(found) < _LISTED:
        other = best_other(space, ranking.polynomial, problem.budget, found, gap=NEARLY)
        if other is None:
            return found, False
        rows = [space.indices(one) for one in (arch, other)]
        pair = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        behind, errors = ranking.behind(pair)
        if behind[1] > errors[1]:
            return found, False
        found.append(other)
    return found, True


def tested_scores(
    space: Space, ranking: Ranking, events: Sequence[Mapping[str, Any]]
) -> list[float]:
    """Return the scores of the archs that supernets were tested on, by their numbers."""
    rows = {event["tested"]: event["indices"] for event in events if "tested" in event}
    if not rows:
        return []
    table_AD = np.array([rows[number] for number in sorted(rows)], dtype=np.int64)
    scores_A = ranking.score(dict(zip(space.num_candidates, table_AD.T, strict=True)))
    return [float(f"{score:.5g}") for score in scores_A]


def _score_of(space: Space, ranking: Ranking, arch: Arch) -> float:
    one = {name: np.array([index]) for name, index in space.indices(arch).items()}
    return float(ranking.score(one)[0])


def in_words(explained: float | None, num_tied: int, is_more: bool) -> str:
    """Say in one line what was learned, and what would decide what was not.

    Example:
        >>> in_words(0.71, 5, False)
        "the ranking explains 71 % of what the losses of archs with the supernet's weights say; \
the 5 best of this budget differ by less than its error: --finalists 5 decides"
    """
    known = "the ranking comes from training losses alone"
    if explained is not None:
        known = (
            f"the ranking explains {100 * explained:.0f} % of what the losses of archs with the "
            "supernet's weights say"
        )
    if num_tied < 2:
        return f"{known}; the best arch of this budget leads by more than its error"
    best = f"the {num_tied} best" + (" and more" if is_more else "")
    return (
        f"{known}; {best} of this budget differ by less than its error: "
        f"--finalists {num_tied} decides"
    )


def _warnings(ranking: Ranking, end: float | None, guessing: float | None) -> list[str]:
    """Return what a user has to know before believing the ranking."""
    result = []
    explained = explained_share(ranking)
    if not ranking.knows:
        result.append(
            "no loss said anything of any candidate: the arch with the most params of the budget "
            "is taken"
        )
    if end is not None and guessing is not None and end > _GUESSING * guessing:
        result.append(
            f"the supernet's loss ends at {end:.2f}, where guessing has {guessing:.2f}: it has "
            "learned little, and the ranking says little; give it more --steps"
        )
    elif explained is not None and explained < _EXPLAINED:
        result.append(
            "the losses of archs with the supernet's weights follow no order that could be "
            "learned: the ranking says little; give it more --steps"
        )
    return result


def _loss_at_the_end(events: Sequence[dict[str, Any]]) -> float | None:
    """Return the mean loss of the last tenth of the updates."""
    losses = [float(event["loss"]) for event in events if "mixture" in event]
    return float(np.mean(losses[-max(len(losses) // 10, 1) :])) if losses else None


def _effects(space: Space, ranking: Ranking) -> dict[str, dict[str, list[float]]]:
    """Return for every choice what its candidates add to the score, and the errors of that."""
    result: dict[str, dict[str, list[float]]] = {
        name: {"effects": [], "errors": []} for name in space.num_candidates
    }
    rows = zip(ranking.features.names, ranking.added, ranking.errors, strict=True)
    for (name, _), effect, error in rows:
        result[name]["effects"].append(float(f"{effect:.4g}"))
        result[name]["errors"].append(float(f"{error:.4g}"))
    return result
