"""Strategies that learn logits by gradient beside the weights, and derive the best arch exactly."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ..core.arch import Arch
from ..core.budget import most_probable
from ..core.loop import Loop, Report
from ..core.polynomial import Expectation
from ..core.run import Run
from ..core.schedule import geometric
from ..core.strategy import Problem
from ..ops.mixture import MIXTURES, Logits, dirichlet, snapshot
from ..ops.score import ScoreFunction
from .supernet_strategy import LONG_STEPS, SupernetStrategy, SupernetTraining

LEVELS = ("single", "bilevel")
BUDGET_TERMS = ("smooth", "three_case", "fbnet")


@dataclass(frozen=True, kw_only=True)
class Differentiable(SupernetStrategy, ABC):
    """Trains weights and logits of one supernet and returns the most probable arch.

    From 5000 steps on a search is bilevel with SGD, so that the logits do not overfit; shorter
    ones are single-level with AdamW.

    Attributes:
        kinds: the mixtures among which `mixture` chooses.
        sums_features: whether candidates run one by one and their features are summed.
        is_sampled: whether a mixture leaves candidates out, in the warm-up too. Weights that took
            no part in a step then keep still: neither momentum nor decay moves them.
        level: `single` trains weights and logits on one batch; `bilevel` (first order) trains the
            logits on the architecture split, at twice the passes.
        mixture: how logits become mixtures.
        warmup: share of the steps in which only weights learn, under random mixtures.
        temperature_start: of the mixtures, falling geometrically...
        temperature_end: ...to this, 0.2 in short and 0.1 in long searches.
        logits_lr: learning rate of Adam for the logits: 0.05 in short, 3e-3 in long searches.
            Short searches have betas (0.5, 0.99), long ones (0.5, 0.999) and weight decay 5e-4.
        budget_term: with E the expected FLOPs of the target and R what the budget aims at,
            `smooth` adds |log(E / R)|; `three_case` the same, but 0 while E is within 10 % of R
            (Dong and Yang 2019); `fbnet` multiplies the loss by 0.2 log(E in thousands)^0.6
            (arXiv:1812.03443), which presses on E without aiming at R.
        budget_weight: factor of the first two terms.
    """

    kinds: ClassVar[tuple[str, ...]] = MIXTURES
    sums_features: ClassVar[bool] = False
    is_sampled: ClassVar[bool] = False
    default_steps: ClassVar[Mapping[str, int]] = {
        "sandglass": 300,
        "mbconv": 200,
        "sandglass-micro": 450,
        "t2t-micro": 1200,  # transformers start slowly, and a step trains one slice of the weights
    }

    level: str | None = None
    mixture: str = "gumbel"
    warmup: float = 0.1
    temperature_start: float = 5.0
    temperature_end: float | None = None
    logits_lr: float | None = None
    budget_term: str = "smooth"
    budget_weight: float = 2.0

    def known_values(self) -> dict[str, tuple[str | None, ...]]:
        """Return for settings that are names those that exist."""
        return {
            **super().known_values(),
            "level": (*LEVELS, None),
            "mixture": self.kinds,
            "budget_term": BUDGET_TERMS,
        }

    def ranges(self) -> dict[str, tuple[bool, str]]:
        """Return for numbers whether anything can be learned with them, and what is wanted."""
        above_zero: dict[str, tuple[bool, str]] = {
            name: ((value := getattr(self, name)) is None or value > 0, "a number above 0")
            for name in ("temperature_start", "temperature_end", "logits_lr")
        }
        return {
            **super().ranges(),
            **above_zero,
            "warmup": (0 <= self.warmup < 1, "a share of at least 0 and below 1"),
            "budget_weight": (self.budget_weight >= 0, "at least 0"),
        }

    def defaults(self, total: int, rates: Mapping[str, float]) -> dict[str, Any]:
        """Return the settings that depend on the length of a search of `total` steps."""
        is_long = total >= LONG_STEPS
        return {
            **super().defaults(total, rates),
            "level": "bilevel" if is_long else "single",
            "temperature_end": 0.1 if is_long else 0.2,
            "logits_lr": 3e-3 if is_long else 0.05,
        }

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Train the supernet on the proxy and return the most probable arch within the budget."""
        total = self.num_steps(problem.space.name)
        search = _Search(self.resolved(total, problem.proxy.learning_rates), problem)
        loop = Loop(model=search.model, optimizers=search.optimizers, total=total, run=run)
        for step in loop:
            event = search.step(step)
            run.log(step=step, **event, **snapshot(search.logits, search.order, step, total))
            phase = "warm-up" if search.is_warmup(step) else "search"
            report({"phase": phase, "step": step + 1, "total": total, **event})
        return most_probable(problem.space, search.log_probs(), problem.budget)


class _Search:
    """The state of one search: supernet, logits and their optimisers."""

    def __init__(self, options: Differentiable, problem: Problem) -> None:
        self.options, self.problem, self.total = options, problem, cast(int, options.steps)
        self.training = SupernetTraining(options, problem)
        self.supernet = self.training.supernet
        logits = Logits(self.supernet.num_candidates, self.supernet.sampled)
        self.logits = logits.to(problem.device)
        self.score = ScoreFunction(self.supernet.choices.values()).to(problem.device)
        self.model = torch.nn.ModuleDict({"supernet": self.supernet, "logits": self.logits})
        if self.score.rows:
            self.model["score"] = self.score
        self.order = list(self.supernet.choices)
        self.expected: Expectation = problem.space.cost.flops.expectation(self.order)
        is_long = self.total >= LONG_STEPS
        self.logits_optimizer = torch.optim.Adam(
            self.logits.parameters(),
            lr=cast(float, options.logits_lr),
            betas=(0.5, 0.999 if is_long else 0.99),
            weight_decay=5e-4 if is_long else 0.0,
        )
        self.optimizers = {"weights": self.training.optimizer, "logits": self.logits_optimizer}

    def is_warmup(self, step: int) -> bool:
        """Tell whether the logits still rest."""
        return step < self.options.warmup * self.total

    def step(self, step: int) -> dict[str, Any]:
        """Do one update of the weights and, after the warm-up, of the logits."""
        self.training.begin(step)
        is_single = self.options.level == "single"
        learns_logits = not self.is_warmup(step)
        if learns_logits and not is_single:
            loss = self._loss(step, "architecture")
            self._update(self._with_budget(loss), self.logits_optimizer)
        loss = self._loss(step, "train" if is_single else "weights")
        if is_single and learns_logits:
            self._update(self._with_budget(loss), *self.optimizers.values())
        else:
            self._update(loss, self.training.optimizer)
        with torch.no_grad():
            expected = float(self.expected(self.logits.probs()))
            return {
                "loss": float(loss.detach()),
                "expected_flops": expected,
                "entropy": float(self.logits.entropy()),
            }

    def _update(self, loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.is_sampled:
            _forget_zeros(self.supernet)
        for optimizer in optimizers:
            optimizer.step()

    def _loss(self, step: int, split: str) -> Tensor:
        mixture = self._mixture(step, split).to(self.problem.device)
        self.supernet.mix(mixture, features=self.options.sums_features)
        return self.training.loss(step, split)

    def _mixture(self, step: int, split: str) -> Tensor:
        level = ("train", "weights", "architecture").index(split)
        seed = (self.problem.seed * 1_000_003 + step) * 3 + level
        generator = torch.Generator().manual_seed(seed)
        if self.is_warmup(step) and not self.options.is_sampled:
            return dirichlet(self.supernet.num_candidates, 1.0, generator)
        options = self.options
        end = cast(float, options.temperature_end)
        temperature = geometric(step / self.total, options.temperature_start, end)
        return self.logits.mixture(options.mixture, temperature, generator)

    def _with_budget(self, loss: Tensor) -> Tensor:
        """Return the loss with the budget term: descent lowers E above the target."""
        loss = self.score(loss, self.logits.log_probs())
        expected = self.expected(self.logits.probs())
        if self.options.budget_term == "fbnet":
            return loss * (0.2 * torch.log(expected / 1e3) ** 0.6).to(loss)
        distance = torch.log(expected / self.problem.budget.target).abs()
        if self.options.budget_term == "three_case" and float(distance.detach()) < math.log(1.1):
            return loss
        return loss + (self.options.budget_weight * distance).to(loss)

    def log_probs(self) -> dict[str, list[float]]:
        """Return the logarithm of the probability of each candidate."""
        rows = self.logits.log_probs().detach().double().tolist()
        return {
            name: [value for value in row if value > -math.inf]
            for name, row in zip(self.order, rows, strict=True)
        }


def _forget_zeros(network: torch.nn.Module) -> None:
    """Drop gradients that are zero throughout, so that optimisers pass over their weights."""
    weights = [weight for weight in network.parameters() if weight.grad is not None]
    took_part = torch.stack([cast(Tensor, weight.grad).any() for weight in weights])
    for weight, is_needed in zip(weights, took_part.tolist(), strict=True):
        if not is_needed:
            weight.grad = None
