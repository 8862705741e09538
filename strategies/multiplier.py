"""An exact budget of mixtures: each cost takes so much off the scores that its expectation fits.

A term of the loss presses on expected costs by gradient, and its gradient is many times that of the
loss. Multipliers that are solved for leave the gradient of the loss to itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..ops.mixture import Logits
from .budget_term import Aim

# D choices, N candidates, M costs, K multipliers that are tried at once

_POINTS, _ROUNDS = 32, 4  # each round of the search leaves one of 31 intervals
_MOST = 1e6  # of a multiplier, in nats of the choice on which its cost depends most
_TURNS = 4  # through the costs, where there are several
_FOLLOWED = 0.2  # share by which marginal costs follow those at the present probabilities
_AT_FIRST = 20  # updates in which the marginal costs settle, before anything is learned


class Multiplier(nn.Module):
    r"""Keeps probabilities proportional to exp(score - sum_m lambda_m x marginal cost_m).

    An expected cost is a polynomial that is linear in the probabilities of each choice, and the
    marginal cost of a candidate is its derivative, at the present probabilities (a moving average
    of them, for alone two factors of one cost could trade places for ever). The multiplier of the
    only cost is such that the expected cost is what it aims at. Of several costs each multiplier is
    0 where the expected cost is within its bounds, else such that it is at the nearer bound.

    Where no multiplier does that, the mixtures are as near as they come: the multiplier ends at a
    million nats, and every choice stands at its cheapest (dearest) candidate.

    Nothing is read on the host, so that a step can be recorded.

    Attributes:
        marginal: [M, D, N] marginal costs, of each choice above that of its cheapest candidate.
        multipliers: [M] of the marginal costs as shares of their largest.
    """

    marginal: Tensor
    multipliers: Tensor

    def __init__(self, logits: Logits, aims: Sequence[Aim]) -> None:
        super().__init__()
        self._aims = list(aims)
        device = logits.valid.device
        logits.offset = torch.zeros_like(logits.values)
        shape = (len(self._aims), *logits.valid.shape)
        self.register_buffer("marginal", torch.zeros(shape, dtype=torch.float64, device=device))
        start = torch.zeros(len(self._aims), dtype=torch.float64, device=device)
        self.register_buffer("multipliers", start)
        grid = torch.linspace(0, 1, _POINTS, dtype=torch.float64, device=device)
        self.register_buffer("_grid_K", grid, persistent=False)
        self._follow(logits, 1.0)
        for _ in range(_AT_FIRST):
            self.update(logits)

    @torch.no_grad()
    def update(self, logits: Logits) -> None:
        """Set the offset of the logits so that the expected costs of their mixtures fit."""
        self._follow(logits, _FOLLOWED)
        valid = logits.valid
        scores_DN = logits.values.double()
        slopes_MDN = self.marginal / self.marginal.amax((1, 2), keepdim=True).clamp_min(1e-300)
        for _ in range(_TURNS if len(self._aims) > 1 else 1):
            for number, aim in enumerate(self._aims):
                self.multipliers[number] = 0.0
                rest_DN = scores_DN - torch.einsum("m,mdn->dn", self.multipliers, slopes_MDN)
                found = self._solve(rest_DN, slopes_MDN[number], valid, aim)
                self.multipliers[number] = found
        offset_DN = torch.einsum("m,mdn->dn", self.multipliers, slopes_MDN)
        assert logits.offset is not None
        logits.offset.copy_(offset_DN)

    def _follow(self, logits: Logits, share: float) -> None:
        """Bring the marginal costs nearer to those at the present probabilities."""
        probs_DN, valid = logits.probs(), logits.valid
        for number, (cost, _, _) in enumerate(self._aims):
            slope_DN = cost.slope(probs_DN)
            cheapest = slope_DN.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
            self.marginal[number].lerp_((slope_DN - cheapest).masked_fill(~valid, 0.0), share)

    def _solve(self, scores_DN: Tensor, slope_DN: Tensor, valid: Tensor, aim: Aim) -> Tensor:
        """Return the multiplier of one cost, a scalar, by a section search in its asinh."""
        cost, low, high = aim

        def expected(multipliers_K: Tensor) -> Tensor:
            shifted_KDN = scores_DN - multipliers_K[:, None, None] * slope_DN
            return cost(torch.softmax(shifted_KDN.masked_fill(~valid, -torch.inf), dim=-1))

        (free,) = expected(torch.zeros_like(self._grid_K[:1]))
        target = free.clamp(low, high)
        start = torch.full_like(free, -math.asinh(_MOST))
        end = -start
        for _ in range(_ROUNDS):
            points_K = torch.lerp(start, end, self._grid_K)
            values_K = expected(points_K.sinh())
            # The first that is not above; the cost falls between it and the one before.
            first = (values_K > target).cumprod(0).sum().clamp(1, _POINTS - 1)
            ends = torch.stack([first - 1, first])
            start, end = points_K.index_select(0, ends)
            above, below = values_K.index_select(0, ends)
        # The last interval is so short that the cost is straight in it.
        share = ((above - target) / (above - below)).clamp(0, 1).nan_to_num(1.0)
        found = torch.lerp(start, end, share).sinh()
        return torch.where(target == free, torch.zeros_like(found), found)


class ExponentiatedGradient(Optimizer):
    """Takes the gradient in the probabilities off the scores, brought to deviation 1.

    Scores are logarithms of probabilities, so that these are multiplied by the exponential of it
    (Kivinen and Warmuth 1997). One factor for all choices keeps what matters more ahead of what
    matters less; an optimiser that divides each by its own deviation does not.

    Args:
        scores: [D, N]; its gradient is that in the probabilities.
        lr: nats by which a deviation moves a score.
        count: number of candidates of all choices; the rest of the gradient is 0.
    """

    def __init__(self, scores: nn.Parameter, *, lr: float, count: int) -> None:
        super().__init__([scores], {"lr": lr, "count": count})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the scores."""
        for group in self.param_groups:
            for scores in group["params"]:
                if (gradient := scores.grad) is None:
                    continue
                deviation = gradient.norm() / math.sqrt(group["count"])
                tiny = torch.finfo(gradient.dtype).tiny
                scores.sub_(group["lr"] * (gradient / deviation.clamp_min(tiny)))


def direction(logits: Logits, mixture_DN: Tensor) -> Tensor:
    """Return [D, N] the gradient in the probabilities, around its mean over each choice.

    Choices that run one candidate a step have no gradient in the others' probabilities; theirs is
    that of their logits.

    Args:
        logits: after the backward pass.
        mixture_DN: that was run, whose gradient was retained.
    """
    gradient, valid = mixture_DN.grad, logits.valid
    assert gradient is not None and logits.values.grad is not None
    mean = (gradient * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
    centred = (gradient - mean) * valid
    if not logits.has_sampled:
        return centred
    return torch.where(logits.sampled, logits.values.grad, centred)
