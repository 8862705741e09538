"""Strategies that learn logits by gradient beside the weights, and derive the best arch exactly."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ..core.best import best_arch, log_probability
from ..core.loop import Loop, Report
from ..core.optimizer import backward, step_all
from ..core.polynomial import Expectation
from ..core.run import Run
from ..core.schedule import geometric
from ..core.space import Space
from ..core.streams import Stream
from ..ops.mixture import MIXTURES, Logits, dirichlet, snapshot
from ..ops.score import ScoreFunction
from ..training.batch import Batch
from ..training.setting import setting
from ..training.strategy import Problem
from .budget_term import BUDGET_TERMS, aims_of, with_aims
from .length import LONG_STEPS
from .multiplier import ExponentiatedGradient, Multiplier, direction
from .supernet_strategy import SupernetStrategy, runs_whole
from .supernet_training import SupernetTraining
from .thompson import Learned

LEVELS = ("single", "bilevel")
EXACT = "exact"


@dataclass(frozen=True, kw_only=True)
class Differentiable(SupernetStrategy, ABC):
    """Trains weights and logits of one supernet and returns the most probable arch.

    From 5000 steps on a search is bilevel with SGD, so that the logits do not overfit; shorter
    ones are single-level with AdamW.

    Attributes:
        is_sampled: whether a mixture leaves candidates out, in the warm-up too. Weights that took
            no part in a step then keep still: neither momentum nor decay moves them.
        level: `single` trains weights and logits on one batch; `bilevel` (first order) trains the
            logits on the architecture split, at twice the passes.
        mixture: how logits become mixtures.
        warmup: share of the steps in which only weights learn, under random mixtures.
        temperature_start: of the mixtures, falling geometrically...
        temperature_end: ...to this, 0.2 in short and 0.1 in long searches.
        logits_lr: learning rate of the logits. By exponentiated gradient (with `exact`) it is
            0.05 in short, 0.015 in long searches, for a gradient of deviation 1. Otherwise it is
            that of Adam, 0.05 and 3e-3, with betas (0.5, 0.99) in short searches, (0.5, 0.999)
            and weight decay 5e-4 in long ones.
        budget_term: with E the expected FLOPs of the target (or params, activations where these
            are bounded) and R what the budget aims at, `exact` takes marginal costs times a
            multiplier off the logits, solved for in every step so that E = R, and the arch is
            found by the logits alone; `smooth` adds |log(E / R)| to the loss; `three_case`
            the same, but 0 while E is within 10 % of R (Dong and Yang 2019); `fbnet` multiplies
            the loss by 0.2 log(E in thousands)^0.6 (arXiv:1812.03443), which presses on E without
            aiming at R.
            Of a budget on several costs `exact` keeps every E within its bounds; the others add
            the sum over those that are outside of the logarithm of how far.
        budget_weight: factor of `smooth` and `three_case`.
    """

    is_sampled: ClassVar[bool] = False
    accumulates: ClassVar[bool] = False

    level: str | None = setting(None, among=LEVELS)
    mixture: str = setting("gumbel", among=MIXTURES)
    warmup: float = setting(0.1, least=0, below=1)
    temperature_start: float = setting(5.0, above=0)
    temperature_end: float | None = setting(None, above=0)
    logits_lr: float | None = setting(None, above=0)
    budget_term: str = setting(EXACT, among=(EXACT, *BUDGET_TERMS))
    budget_weight: float = setting(2.0, least=0)

    def defaults(self, total: int) -> dict[str, Any]:
        """Return the settings that depend on the length of a search of `total` steps."""
        is_long = total >= LONG_STEPS
        rate = 0.05 if not is_long else 0.015 if self.budget_term == EXACT else 3e-3
        return {
            "level": "bilevel" if is_long else "single",
            "temperature_end": 0.1 if is_long else 0.2,
            "logits_lr": rate,
        }

    def work_left(self, step: int, total: int) -> float:
        """Return the passes of a batch that are left: two a bilevel step after the warm-up."""
        level = self.level or ("bilevel" if total >= LONG_STEPS else "single")
        single = max(self.warmup * total - step, 0.0)
        return single + (total - step - single) * (2 if level == "bilevel" else 1)

    def can_record(self, space: Space) -> bool:
        """Tell whether steps do the same work: not where each runs candidates of its own."""
        return not self.is_sampled and runs_whole(space)

    def learn(self, problem: Problem, run: Run, report: Report) -> Learned:
        """Train the supernet on the proxy; the most probable arch within the budget is the best."""
        total = self.num_steps(problem.space)
        search = _Search(self.resolved(total, problem.proxy.supernet_recipes), problem)
        loop = Loop(model=search.model, optimizers=search.optimizers, total=total, run=run)
        for step in loop:
            event = search.step(step)
            run.log(step=step, **event, **snapshot(search.logits, search.order, step, total))
            phase = "warm-up" if search.is_warmup(step) else "search"
            report({"phase": phase, "step": step + 1, "total": total, **event})
        scores = log_probability(search.scores())
        return Learned(arch=best_arch(problem.space, scores, problem.budget), score=scores)


class _Search:
    """The state of one search: supernet, logits and their optimisers."""

    def __init__(self, options: Differentiable, problem: Problem) -> None:
        self.options, self.problem, self.total = options, problem, cast(int, options.steps)
        self.training = SupernetTraining(options.recipe(problem), self.total, problem)
        self.learning = self.training.learning
        self.supernet = self.training.supernet
        logits = Logits(self.supernet.num_candidates, self.supernet.sampled)
        self.logits = logits.to(problem.device)
        self.score = ScoreFunction(self.supernet.choices.values()).to(problem.device)
        self.model = torch.nn.ModuleDict({**self.training.parts, "logits": self.logits})
        if self.score.rows:
            self.model["score"] = self.score
        self.order = list(self.supernet.choices)
        self.expected: Expectation = problem.space.cost.flops.expectation(self.order)
        self.aims = aims_of(problem.space, problem.budget, self.order)
        self.multiplier: Multiplier | None = None
        if options.budget_term == EXACT:
            self.multiplier = Multiplier(self.logits, self.aims)
            self.model["multiplier"] = self.multiplier
        self.logits_optimizer = self._logits_optimizer()
        self.optimizers = {**self.training.state, "logits": self.logits_optimizer}

    def _logits_optimizer(self) -> torch.optim.Optimizer:
        """Return the exponentiated gradient where multipliers keep the budget, else Adam."""
        rate = cast(float, self.options.logits_lr)
        if self.multiplier is not None:
            count = sum(self.supernet.num_candidates)
            return ExponentiatedGradient(self.logits.values, lr=rate, count=count)
        problem, is_long = self.problem, self.total >= LONG_STEPS
        is_cuda = problem.device.type == "cuda"
        return torch.optim.Adam(
            self.logits.parameters(),
            lr=rate,
            betas=(0.5, 0.999 if is_long else 0.99),
            weight_decay=5e-4 if is_long else 0.0,
            fused=is_cuda,
            capturable=is_cuda and problem.cuda_graph,
        )

    def is_warmup(self, step: int) -> bool:
        """Tell whether the logits still rest."""
        return step < self.options.warmup * self.total

    def step(self, step: int) -> dict[str, Any]:
        """Do one update of the weights and, after the warm-up, of the logits."""
        self.training.begin(step)
        is_single = self.options.level == "single"
        if self.is_warmup(step):
            inputs = self._inputs(step, "train" if is_single else "weights")
            figures = self.training.run("warm-up", self._learn_weights, inputs)
        elif is_single:
            figures = self.training.run("search", self._learn_both, self._inputs(step, "train"))
        else:
            inputs = (*self._inputs(step, "architecture"), *self._inputs(step, "weights"))
            figures = self.training.run("search", self._learn_in_turn, inputs)
        loss, expected, entropy = figures.tolist()
        self.training.check(step, loss=loss, expected_flops=expected)
        return {"loss": loss, "expected_flops": expected, "entropy": entropy}

    def _inputs(self, step: int, split: str) -> tuple[Batch, Tensor, Tensor]:
        """Return batch, random numbers of the mixture and temperature of a step."""
        level = ("train", "weights", "architecture").index(split)
        seed = Stream.MIXTURE.seed(self.problem.seed, step, level)
        generator = torch.Generator().manual_seed(seed)
        options = self.options
        end = cast(float, options.temperature_end)
        temperature = geometric(step / self.total, options.temperature_start, end)
        if self._draws_mixture(step):
            drawn = dirichlet(self.supernet.num_candidates, 1.0, generator)
        else:
            drawn = self.logits.noise(generator)
        (batch,) = self.training.batches(step, split)
        return batch, drawn, torch.tensor(temperature)

    def _draws_mixture(self, step: int) -> bool:
        return self.is_warmup(step) and not self.options.is_sampled

    def _learn_weights(self, batch: Batch, drawn: Tensor, temperature: Tensor) -> Tensor:
        mixture = None if self.options.is_sampled else drawn
        loss = self._loss(batch, drawn, temperature, mixture, teaches=False)
        self._update(loss)
        return self._figures(loss)

    def _learn_both(self, batch: Batch, noise: Tensor, temperature: Tensor) -> Tensor:
        loss = self._loss(batch, noise, temperature)
        self._teach(loss, learns=True)
        return self._figures(loss)

    def _learn_in_turn(self, *inputs: Any) -> Tensor:
        half = len(inputs) // 2
        loss = self._loss(*inputs[:half])
        self._teach(loss, learns=False)
        loss = self._loss(*inputs[half:], teaches=False)
        self._update(loss)
        return self._figures(loss)

    def _loss(
        self,
        batch: Batch,
        noise: Tensor,
        temperature: Tensor,
        mixture: Tensor | None = None,
        *,
        teaches: bool = True,
    ) -> Tensor:
        """Return the loss under the mixture given, or that of the logits, which it may teach."""
        options, taught = self.options, None
        if mixture is None:
            mixture = self.logits.mixture(options.mixture, temperature, noise=noise)
            self._mixture = mixture
            if options.is_sampled:
                mixture = mixture if teaches else mixture.detach()
                taught = self.logits.taught(options.mixture, noise)
        self.supernet.mix(mixture, features=options.sums_features, taught_DN=taught)
        return self.training.loss(batch)

    def _teach(self, loss: Tensor, *, learns: bool) -> None:
        """Update logits, and weights where they learn by it, by a loss and by the budget."""
        loss = self.score(loss, self.logits.log_probs())
        if self.multiplier is None:
            term, weight = self.options.budget_term, self.options.budget_weight
            probs = self.logits.probs()
            self._update(with_aims(loss, probs, self.aims, term, weight), True, learns)
            return
        self._mixture.retain_grad()
        backward(loss, self.model, self.learning.scaler)
        self.logits.values.grad = direction(self.logits, self._mixture)
        self._step(True, learns)
        self.multiplier.update(self.logits)

    def _update(self, loss: Tensor, teaches: bool = False, learns: bool = True) -> None:
        backward(loss, self.model, self.learning.scaler)
        if self.options.is_sampled:
            _forget_zeros(self.supernet)
        self._step(teaches, learns)

    def _step(self, teaches: bool, learns: bool) -> None:
        """Let the optimisers step of weights, of logits, or of both."""
        others = [self.logits_optimizer] if teaches else []
        if learns:
            self.learning.step(*others)
        else:
            step_all(self.learning.scaler, *others)

    @torch.no_grad()
    def _figures(self, loss: Tensor) -> Tensor:
        """Return loss, expected FLOPs and entropy after the update, float64."""
        expected, entropy = self.expected(self.logits.probs()), self.logits.entropy()
        return torch.stack([loss.double(), expected, entropy.double()])

    def scores(self) -> dict[str, list[float]]:
        """Return the score of each candidate: the logarithm of its probability at no budget."""
        rows = self.logits.scores().detach().double().tolist()
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
