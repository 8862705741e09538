"""Statistics of searches and random archs at equal cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

# A archs, S searches


def chosen(points: Sequence[Mapping[str, Any]], trainings: float) -> Mapping[str, Any] | None:
    """Return the last choice of a search that had spent no more, None before its first."""
    return next((p["choices"] for p in reversed(points) if p["trainings"] <= trainings), None)


def best_of(count: int, told_A: ArrayLike, losses_A: ArrayLike) -> float:
    """Return the mean loss of the arch with the best told loss among `count` random ones.

    Archs are drawn with replacement, so that more can be drawn than were trained.
    """
    order = np.argsort(told_A)
    ranks = np.arange(len(order) + 1)
    behind = (1 - ranks / len(order)) ** count  # all of the draws rank at this or behind
    shares = behind[:-1] - behind[1:]
    return float(np.dot(shares, np.asarray(losses_A)[order]))


def random_curve(
    told_A: Sequence[float], losses_A: Sequence[float], affordable: Sequence[int]
) -> list[tuple[float, float]]:
    """Return mean and standard error of random search, resampling the archs of the pool."""
    generator = np.random.default_rng(0)
    result = []
    for count in affordable:
        again = []
        for _ in range(500):
            rows = generator.integers(len(told_A), size=len(told_A))
            again.append(best_of(count, np.take(told_A, rows), np.take(losses_A, rows)))
        result.append((best_of(count, told_A, losses_A), float(np.std(again))))
    return result


def difference(
    losses_S: Sequence[float], rival: float, rival_error: float
) -> tuple[float, float, float]:
    """Return mean over searches minus the rival, and its 95 % interval (Student's t)."""
    mean, count = statistics.mean(losses_S), len(losses_S)
    error = (statistics.variance(losses_S) / count + rival_error**2) ** 0.5
    half = float(student.ppf(0.975, count - 1)) * error
    return mean - rival, mean - rival - half, mean - rival + half
