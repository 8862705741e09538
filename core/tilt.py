"""Weights of candidates that make a rare corner of a space likely to be drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .bounds import Bound, Bounds
from .budget import cost_range
from .cost import Indices
from .space import Space

# A archs, M costs that are bounded

Logs = dict[str, NDArray[np.float64]]
"""For each choice, the logarithm of the weight of each candidate."""

Draw = Callable[[Space, int, np.random.Generator, "Logs | None"], Indices]
"""Draws archs of the whole space: uniform ones, or in proportion to weights."""

LIKELY = 0.002  # share of uniform draws inside from which on no tilt is needed
_PROBE = 20_000
_DRAWN = 2000
_HALVINGS = 24
_NEWTON = 24
_DAMPING = 0.1


def log_tilt(space: Space, band: Bounds, draw: Draw, generator: np.random.Generator) -> Logs | None:
    """Return the logarithms of weights that make a band likely, None where it is anyway.

    The logarithm is a multiple of what a candidate adds to each cost that is bounded.
    """
    probe = draw(space, _PROBE, generator, None)
    if np.mean(band.allows(space.cost, probe)) > LIKELY:
        return None
    effects = [main_effects(space, part.metric) for part in band.parts]

    def logs(steps_M: NDArray[np.float64]) -> Logs:
        pairs = list(zip(steps_M, effects, strict=True))
        return {name: sum(step * effect[name] for step, effect in pairs) for name in effects[0]}

    def costs(steps_M: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        vectors = logs(steps_M)
        tilt = {name: np.exp(vector) for name, vector in vectors.items()}
        drawn = draw(space, _DRAWN, generator, tilt)
        tilts_A = sum((v[drawn[name]] for name, v in vectors.items()), np.zeros(_DRAWN))
        return np.stack([cost.evaluate(drawn) for cost, _, _ in band.on(space.cost)]), tilts_A

    limits = np.array([_steepest(space, *pair) for pair in zip(band.parts, effects, strict=True)])
    if len(limits) == 1:
        (part,), ((polynomial, _, _),) = band.parts, band.on(space.cost)
        aim = _crowded(space, part, float(polynomial.evaluate(probe).mean()))
        return logs(_bisected(aim, limits, costs))
    return logs(_balanced(band, limits, costs))


def _steepest(space: Space, part: Bound, effects: Logs) -> float:
    """Return the steepest step on a cost that is worth a try."""
    smallest, largest = cost_range(space, part.metric)
    steepest = max(float(np.ptp(vector)) for vector in effects.values())
    if smallest == largest or steepest == 0:
        return 0.0
    return min(4000 / (largest - smallest), 30 / steepest)


Costs = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Draws [M, A] costs of archs and [A] logarithms of their weights under tilts of M steps."""


def _crowded(space: Space, part: Bound, mean: float) -> float:
    """Return where in a band most of its archs are: near the end where random archs lie."""
    smallest, largest = cost_range(space, part.metric)
    low, high = max(part.low, smallest), min(part.high, largest)
    if mean > high:
        low = max(low, 0.9 * high)
    elif mean < low:
        high = min(high, low / 0.9)
    return (low + high) / 2


def _bisected(aim: float, limits_M: NDArray[np.float64], costs: Costs) -> NDArray[np.float64]:
    """Return the step whose mean is the aim: the mean grows with the step."""
    below, above = -limits_M, limits_M
    step_M = below
    for _ in range(_HALVINGS):
        step_M = (below + above) / 2
        below, above = (step_M, above) if costs(step_M)[0].mean() < aim else (below, step_M)
    return step_M


def _balanced(band: Bounds, limits_M: NDArray[np.float64], costs: Costs) -> NDArray[np.float64]:
    """Return steps under which most draws count: their means lie just inside of what binds.

    The means change by the covariance times the change of the steps (Newton's method, damped). Of
    all steps on the way those are best by which most archs inside are left when they are thinned
    out to uniform ones; or, where none is met, those that come nearest.
    """
    lows_M, highs_M = np.array([(part.low, part.high) for part in band.parts], dtype=float).T
    sizes_M = np.array([part.size for part in band.parts])
    steps_M = best_M = np.zeros(len(limits_M))
    reached = (-1.0, 0.0)
    for _ in range(_NEWTON):
        costs_MA, tilts_A = costs(steps_M)
        above_MA, below_MA = costs_MA - highs_M[:, None], lows_M[:, None] - costs_MA
        outside_MA = np.maximum(0.0, np.maximum(above_MA, below_MA))
        tilts_A = tilts_A[~outside_MA.any(0)]
        left = float(np.exp(tilts_A.min() - tilts_A).sum()) if len(tilts_A) else 0.0
        if (found := (left, -float((outside_MA.mean(1) / sizes_M).sum()))) > reached:
            reached, best_M = found, steps_M
        steps_M = _moved(steps_M, costs_MA, lows_M, highs_M, limits_M)
    return best_M


def _moved(
    steps_M: NDArray[np.float64],
    costs_MA: NDArray[np.float64],
    lows_M: NDArray[np.float64],
    highs_M: NDArray[np.float64],
    limits_M: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the next steps of `_balanced`.

    A step that pushes down aims just below the upper end, and is 0 as soon as none is needed for
    that; one that pushes up likewise. A cost whose mean lies inside without a step gets none.
    """
    means_M, deviations_M = costs_MA.mean(1), costs_MA.std(1)
    margins_M = np.minimum(deviations_M / 2, (highs_M - lows_M) / 2)
    least_M, most_M = lows_M + margins_M, highs_M - margins_M
    aims_M = np.clip(means_M, least_M, most_M)
    aims_M = np.where(steps_M < 0, most_M, np.where(steps_M > 0, least_M, aims_M))
    ways_M = np.clip(aims_M - means_M, -deviations_M, deviations_M)
    free = np.flatnonzero(((steps_M != 0) | (ways_M != 0)) & (deviations_M > 0))
    if not len(free):
        return steps_M
    scales_F = deviations_M[free]
    correlation_FF = np.corrcoef(costs_MA[free]).reshape(len(free), len(free))
    damped_FF = correlation_FF + _DAMPING * np.eye(len(free))
    moves_F = np.linalg.solve(damped_FF, ways_M[free] / scales_F) / scales_F
    moved_F = np.clip(steps_M[free] + moves_F, -limits_M[free], limits_M[free])
    moved_M = steps_M.copy()
    moved_M[free] = np.where(moved_F * steps_M[free] < 0, 0.0, moved_F)
    return moved_M


def gates_of(space: Space, name: str) -> tuple[tuple[str, tuple[bool, ...]], ...]:
    """Return the gates of a choice, outermost first; none where its uses disagree on them."""
    contexts = {use.gates for use in space.cost.uses[name]}
    return contexts.pop() if len(contexts) == 1 else ()


def main_effects(space: Space, metric: str) -> Logs:
    """Return how much each candidate adds to one cost of an arch, others at their mean."""
    counts = space.num_candidates
    effects = {name: np.zeros(count) for name, count in counts.items()}
    for key, table in space.cost.polynomial(metric).tables.items():
        for axis, name in enumerate(key):
            gates = dict(gates_of(space, name))
            value = np.moveaxis(table.astype(float), axis, 0)
            for other in reversed([n for n in key if n != name]):
                alive = np.array(gates.get(other, (True,) * counts[other]), dtype=float)
                value = value @ (alive / alive.sum())
            effects[name] += value
    # The first candidate is the zero point, so that an idle choice carries no weight.
    return {name: vector - vector[0] for name, vector in effects.items()}
