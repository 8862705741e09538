"""The arch of a budget's band that is best by some polynomial, found exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .arch import Arch
from .band import band_of
from .budget import NEARLY, Budget, solve
from .choice import Value
from .polynomial import Polynomial
from .space import Space

# Relative distance from the most of a cost that is bounded itself: to prove the last thousandth
# takes the solver a minute in large spaces.
_BOUNDED_GAP = 3e-3
# Rules that choose an arch of a budget and cost no search.
FREE = ("most-params", "most-flops", "most-activations")


def log_probability(log_probs: Mapping[str, Sequence[float]]) -> Polynomial:
    """Return the log of an arch's probability over that of the most probable arch.

    Idle choices score as their most probable candidate, so that skipping a block looks neither
    likely nor unlikely by the number of choices that it hides.

    Args:
        log_probs: for every choice, the logarithm of the probability of each candidate.
    """
    scores = Polynomial()
    for name, values in log_probs.items():
        scores = scores + Polynomial.of(name, np.asarray(values) - np.max(values))
    return scores


def log_probability_of(
    space: Space, choices: Mapping[str, Value], log_probs: Mapping[str, Sequence[float]]
) -> float:
    """Return the log-probability of one arch, its idle choices as their most probable candidates.

    Args:
        space: of the arch.
        choices: of the arch.
        log_probs: as `log_probability` takes them.
    """
    indices = space.indices(choices)
    one = {name: np.array([index]) for name, index in indices.items()}
    for name, is_active in space.cost.active(one).items():
        if not is_active[0]:
            one[name] = np.array([np.argmax(log_probs[name])])
    return float(log_probability(log_probs).evaluate(one)[0])


def most_params(space: Space, budget: Budget) -> Arch:
    """Return the arch of the budget's band with the most parameters, up to a thousandth of them.

    Raises:
        InfeasibleBudgetError: if no arch lies within the budget.
    """
    return best_arch(space, space.cost.params, budget, gap=NEARLY)


def free_archs(space: Space, budget: Budget) -> dict[str, Arch]:
    """Return what the rules that cost no search choose: the most of each cost, within the budget.

    Returns:
        Archs of the budget's band by the rule's name, in the order of `FREE`; each arch once. They
        have the most up to a thousandth of it, of what is bounded up to three.

    Raises:
        InfeasibleBudgetError: if no arch lies within the budget.
    """
    found: dict[str, Arch] = {}
    bounded = [part.metric for part in budget.parts]
    for rule in FREE:
        metric = rule.removeprefix("most-")
        gap = _BOUNDED_GAP if metric in bounded else NEARLY
        arch = best_arch(space, getattr(space.cost, metric), budget, gap=gap)
        if all(arch.id != other.id for other in found.values()):
            found[rule] = arch
    return found


def best_arch(space: Space, objective: Polynomial, budget: Budget, gap: float = 0.0) -> Arch:
    """Return the arch of the budget's band that maximises an objective.

    Args:
        space: the space whose costs are bounded.
        objective: what to maximise.
        budget: bounds on its costs.
        gap: relative distance from the largest objective that is good enough; 0 is exact.

    Raises:
        InfeasibleBudgetError: if no arch lies within the budget.
    """
    best = solve(space, objective, band_of(space, budget).bounds, gap)
    assert best is not None, "a band holds an arch"
    return space.arch_at(best)


def best_other(
    space: Space, objective: Polynomial, budget: Budget, known: Sequence[Arch], gap: float = 0.0
) -> Arch | None:
    """Return the best arch of the budget's band that is not known, None if all are."""
    forbidden = [_settings(space, arch) for arch in known]
    best = solve(space, objective, band_of(space, budget).bounds, gap, forbidden)
    return None if best is None else space.arch_at(best)


def _settings(space: Space, arch: Arch) -> dict[str, int]:
    """Return the indices of the choices that are not idle: whoever has them is that arch."""
    indices = space.indices(arch)
    active = space.cost.active({name: np.array([index]) for name, index in indices.items()})
    return {name: index for name, index in indices.items() if active[name][0]}
