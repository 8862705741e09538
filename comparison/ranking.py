"""What trained archs say: which score ranks them, and whether a search was worth its cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import kendalltau

from ..core.best import FREE
from ..core.ranked import as_ranked
from ..training.task import Metric

# A rank correlation of fewer archs than this says nothing.
FEWEST = 4
# A difference counts from so many of its standard errors on.
SURE = 2.0


def tau(scores: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of scores (higher is better) with losses (lower is better).

    Returns:
        1 where the scores rank as the losses do, -1 where they rank the other way round; None
        for fewer than four archs, or where all are alike.

    Example:
        >>> tau([1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6])
        1.0
    """
    if len(scores) < FEWEST:
        return None
    value = float(kendalltau(scores, [-loss for loss in losses]).statistic)
    return value if math.isfinite(value) else None


def taus(scores: Sequence[float], losses: Sequence[float]) -> dict[str, float | None]:
    """Return `all` and `best_fifth`: tau over all archs and over the fifth of the lowest loss."""
    order = sorted(range(len(losses)), key=losses.__getitem__)[: math.ceil(len(losses) / 5)]
    best = tau([scores[i] for i in order], [losses[i] for i in order])
    return {"all": tau(scores, losses), "best_fifth": best}


def chance(count: int) -> float:
    """Return what the size of a tau over so many archs stays below by chance in 19 of 20 cases.

    By the normal approximation, variance 2 (2n + 5) / (9 n (n - 1)) (Kendall 1938).
    """
    return 1.96 * math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))


def ceiling(losses_AS: Sequence[Sequence[float]]) -> float | None:
    """Return the tau of one training with the mean of the others, averaged over seeds.

    No score that is known before training can be expected to do better than a training itself.

    Args:
        losses_AS: for each arch its loss by seed.
    """
    count = min((len(losses) for losses in losses_AS), default=0)
    if count < 2:
        return None
    found = []
    for seed in range(count):
        others = [statistics.mean([*row[:seed], *row[seed + 1 : count]]) for row in losses_AS]
        found.append(tau([-row[seed] for row in losses_AS], others))
    known = [value for value in found if value is not None]
    return statistics.mean(known) if known else None


def rank_scores(rows: Sequence[Mapping[str, Any]], metric: Metric) -> dict[str, Any] | None:
    """Return how well each score ranks the random archs of a comparison.

    The random archs alone: those that a search or a solver chose by a score are no fair sample.

    Args:
        rows: with `kind`, values of the metric, `flops`, `params`, and maybe `scores` by name,
            higher being better.
        metric: by which archs are compared, the first of their task.

    Returns:
        `num_archs`, `chance`, `ceiling` and `taus` by score; None for fewer than four archs.
    """
    drawn = [row for row in rows if row["kind"] == "random"]
    if len(drawn) < FEWEST:
        return None
    losses = [_cost(row[metric.name], metric) for row in drawn]
    names = set.intersection(*(set(row.get("scores", {})) for row in drawn))
    scores = {name: [_score(row["scores"][name]) for row in drawn] for name in sorted(names)}
    for name in ("params", "flops"):
        scores[name] = [float(row[name]) for row in drawn]
    return {
        "num_archs": len(drawn),
        "chance": chance(len(drawn)),
        "ceiling": ceiling([_costs(row, metric) for row in drawn]),
        "taus": {name: taus(values, losses) for name, values in scores.items()},
    }


def best_of(count: int, losses_AS: Sequence[Sequence[float]]) -> float:
    """Return the mean loss of the best of `count` archs drawn from these, each trained once.

    The best is told by one training and its loss measured by the other seeds, averaged over
    which seed tells; with a single seed the same training does both, which flatters.
    """
    seeds = min(len(losses) for losses in losses_AS)
    total, size = 0.0, len(losses_AS)
    count = min(count, size)
    for seed in range(seeds):
        order = sorted(losses_AS, key=lambda losses: losses[seed])
        for place, losses in enumerate(order[: size - count + 1]):
            # The arch is the best of those drawn if the others come from behind it.
            share = math.comb(size - place - 1, count - 1) / math.comb(size, count)
            others = [*losses[:seed], *losses[seed + 1 : seeds]] or [losses[seed]]
            total += share * statistics.mean(others)
    return total / seeds


def judge(
    rows: Sequence[Mapping[str, Any]],
    trainings: float | None,
    share: float = 1.0,
    *,
    metric: Metric,
) -> dict[str, Any] | None:
    """Say in one plain sentence whether a search was worth its cost.

    It has to beat both the best of as many random archs as its cost would have trained, and the
    best of the free rules (the most params, FLOPs or activations of the budget), which cost
    nothing; each by two standard errors.

    Args:
        rows: of a comparison; see `rank_scores`.
        trainings: cost of the search in trainings, None where it is not known.
        share: of the recipe's updates that each training got.
        metric: by which archs are compared, the first of their task.

    Returns:
        `is_worth_it` (None where the difference is too small to tell), `sentence`,
        `found_METRIC`, `error_UNIT` (standard error of a difference), `trainings`, and by name
        the values of the `rivals`; None without rivals, or where one of these values is not
        finite. Trainings that diverged are the last among the random archs.
    """
    by_kind: dict[str, list[list[float]]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(_costs(row, metric))
    if "found" not in by_kind:
        return None
    found = statistics.mean(by_kind["found"][0])
    rivals = {}
    if drawn := by_kind.get("random"):
        affordable = None if trainings is None else max(1, round(trainings))
        count = min(affordable or len(drawn), len(drawn))
        rivals[_name_random(count, affordable)] = best_of(count, drawn)
    if free := {rule: statistics.mean(by_kind[rule][0]) for rule in FREE if rule in by_kind}:
        best = min(free, key=free.__getitem__)
        rivals[_name_free(best, len(free))] = free[best]
    if not rivals or not all(map(math.isfinite, (found, *rivals.values()))):
        return None
    error = _error([losses for group in by_kind.values() for losses in group], drawn or [])
    lead = min(rivals.values()) - found
    is_worth_it = None if error is None or abs(lead) <= SURE * error else lead > 0
    told = {name: metric.cost(cost) for name, cost in rivals.items()}
    order = sorted(rivals, key=rivals.__getitem__)
    sentence = _sentence(is_worth_it, metric.cost(found), told, order, metric.title)
    sentence += _doubt(error, share)
    if one_arch := _one_arch(by_kind):
        is_worth_it, sentence = False, one_arch
    return {
        "is_worth_it": is_worth_it,
        "sentence": sentence,
        f"found_{metric.name}": metric.cost(found),
        f"error_{metric.unit}": error,
        "trainings": trainings,
        "rivals": told,
    }


def _one_arch(by_kind: Mapping[str, Sequence[list[float]]]) -> str | None:
    """Say that there was nothing to choose, where all losses are equal to the last bit."""
    kinds = ("found", *FREE, "random")
    everyone = [losses for kind in kinds for losses in by_kind.get(kind, ())]
    if not by_kind.get("random") or any(losses != everyone[0] for losses in everyone):
        return None
    return (
        f"The search was not worth its cost: the {len(everyone)} networks compared are all the "
        "same arch, so that there was nothing to choose; give a budget that leaves a choice."
    )


def _costs(row: Mapping[str, Any], metric: Metric) -> list[float]:
    return [_cost(value, metric) for value in row.get(metric.values) or [row[metric.name]]]


def _cost(value: float | None, metric: Metric) -> float:
    return as_ranked(None if value is None else metric.cost(value))


def _score(value: float | None) -> float:
    return -as_ranked(None if value is None else -value)


def _error(groups: Sequence[Sequence[float]], drawn: Sequence[Sequence[float]]) -> float | None:
    """Return the standard error of the difference of two means, by the pooled variance of seeds.

    Where each arch was trained once, the spread of the random archs stands in for that of the
    seeds, which it contains.
    """
    finite = [losses for losses in groups if all(map(math.isfinite, losses))]
    if many := [losses for losses in finite if len(losses) > 1]:
        variance = statistics.mean(statistics.variance(losses) for losses in many)
        return math.sqrt(2 * variance / min(len(losses) for losses in many))
    firsts = [losses[0] for losses in drawn if math.isfinite(losses[0])]
    return math.sqrt(2) * statistics.stdev(firsts) if len(firsts) > 1 else None


def _name_free(rule: str, count: int) -> str:
    metric = rule.removeprefix("most-")
    what = f"the arch with the most {'FLOPs' if metric == 'flops' else metric}"
    best = f", the best of {count} free rules" if count > 1 else ""
    return f"{what}{best}, which costs no search"


def _name_random(count: int, affordable: int | None) -> str:
    if affordable is None:
        return f"the best of {count} random archs"
    if affordable == 1:
        return "a random arch"
    if count == affordable:
        return f"the best of {count} random archs, which the same cost would have trained"
    return f"the best of all {count} random archs (the same cost would have trained {affordable})"


def _sentence(
    is_worth_it: bool | None,
    found: float,
    rivals: Mapping[str, float],
    first: Sequence[str],
    title: str,
) -> str:
    one = ("an " if title[:1].lower() in "aeiou" else "a ") + title
    if is_worth_it is False:
        comma = "," if "," in first[0] else ""
        return (
            f"The search was not worth its cost: {first[0]}{comma} has {one} of "
            f"{rivals[first[0]]:.3f}, its own arch {found:.3f}"
        )
    claim = "The search was worth its cost" if is_worth_it else "It cannot be told whether"
    claim += "" if is_worth_it else " the search was worth its cost"
    against = "; ".join(f"{rivals[name]:.3f} for {name}" for name in first)
    return f"{claim}: its arch has {one} of {found:.3f}, against {against}"


def _doubt(error: float | None, share: float) -> str:
    parts = [] if error is None else [f"standard error of a difference {error:.3f}"]
    if share < 1:
        parts.append(f"each trained for {100 * share:.0f}% of the recipe")
    return f" ({', '.join(parts)})." if parts else "."
