"""Terms of a loss that press the expected costs of mixtures towards a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.band import band_of
from ..core.budget import Budget
from ..core.polynomial import Expectation
from ..core.space import Space

BUDGET_TERMS = ("smooth", "three_case", "fbnet")

Aim = tuple[Expectation, float, float]
"""An expected cost, and the smallest and the largest value that it should have."""


def aims_of(space: Space, budget: Budget, order: Sequence[str]) -> list[Aim]:
    """Return what each cost of a budget aims at: of several that they stay within their bounds.

    Args:
        space: whose costs are bounded.
        budget: one cost aims at `Budget.target`.
        order: names of the choices, in the order of the rows of mixtures.
    """
    band, aims = band_of(space, budget).bounds, []
    for part, bound in zip(budget.parts, band.parts, strict=True):
        cost = space.cost.polynomial(part.metric).expectation(order)
        low, high = bound.low, part.target if part.low is None else part.high
        aims.append((cost, low, high) if budget.others else (cost, part.target, part.target))
    return aims


def with_aims(
    loss: Tensor, probs_DN: Tensor, aims: Sequence[Aim], term: str, weight: float
) -> Tensor:
    """Return a loss with what presses the expected costs of mixtures towards their aims.

    Args:
        loss: a scalar.
        probs_DN: [D, N] mixture of each choice.
        aims: of each cost that is bounded.
        term: of `BUDGET_TERMS`, where one cost is bounded.
        weight: factor of what is added.
    """
    if len(aims) > 1:
        ways = [beyond(cost(probs_DN), low, high) for cost, low, high in aims]
        return loss + (weight * torch.stack(ways).sum()).to(loss)
    ((cost, _, target),) = aims
    return with_budget(loss, cost(probs_DN), target, term, weight)


def beyond(expected: Tensor, low: float, high: float) -> Tensor:
    """Return how far an expected cost lies outside of [low, high], in logarithms; 0 inside."""
    above = torch.log(expected / high).clamp(min=0.0)
    return above + torch.log(low / expected).clamp(min=0.0) if low > 0 else above


def with_budget(
    loss: Tensor, expected: Tensor, target: float, term: str, weight: float = 2.0
) -> Tensor:
    """Return a loss with a budget term, whose descent lowers an expected cost above the target.

    Args:
        loss: a scalar.
        expected: the cost under the mixtures, a scalar.
        target: cost that the budget aims at.
        term: of `BUDGET_TERMS`, see `Differentiable`.
        weight: factor of the terms that are added.
    """
    if term == "fbnet":
        return loss * (0.2 * torch.log(expected / 1e3) ** 0.6).to(loss)
    distance = torch.log(expected / target).abs()
    if term == "three_case":
        distance = torch.where(distance < math.log(1.1), 0.0, distance)
    return loss + (weight * distance).to(loss)
