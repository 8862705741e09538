"""Meta-kernel search: train one folded supernet and its logits, derive the best arch exactly."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.arch import Arch
from ..core.budget import most_probable
from ..core.loop import Loop, Report
from ..core.polynomial import Expectation
from ..core.run import Run
from ..core.schedule import warmup_cosine
from ..core.strategy import Problem, Strategy
from ..ops.chain import set_memory
from ..ops.mixture import MIXTURES, Logits, Temperature, dirichlet

LEVELS = ("single", "bilevel")
BUDGET_TERMS = ("smooth", "three_case", "fbnet")
LONG_STEPS = 5000
_DEFAULT_STEPS = {"sandglass": 300, "mbconv": 200, "sandglass-micro": 450}


@dataclass(frozen=True, kw_only=True)
class MetaKernel(Strategy):
    """Differentiable search with one feature a choice (arXiv:1912.04749; settings are nastk's).

    Settings left at None follow the length: short searches (a few hundred steps) are single-level
    with AdamW; from 5000 steps on a search is bilevel with SGD, so that the logits do not overfit.

    Attributes:
        level: `single` trains weights and logits on one batch; `bilevel` (first order) trains the
            logits on the architecture split, at twice the passes.
        mixture: `gumbel`, `softmax` or `straight_through`.
        batch_size: images a step; 64 up to 64 px, else 32, unless given.
        warmup: share of the steps in which only weights learn, under random mixtures.
        temperature_start: of the mixtures, falling geometrically...
        temperature_end: ...to this, 0.2 in short and 0.1 in long searches.
        optimizer: of the weights: `adamw` in short, `sgd` with momentum 0.9 in long searches.
        weights_lr: peak learning rate of the weights: 3e-2 with AdamW, 0.1 with SGD.
        weight_decay: of the weights: 0.02 with AdamW, 4e-5 with SGD.
        logits_lr: learning rate of Adam for the logits: 0.05 in short, 3e-3 in long searches.
            Short searches have betas (0.5, 0.99), long ones (0.5, 0.999) and weight decay 5e-4.
        budget_term: with E the expected FLOPs of the target and R what the budget aims at,
            `smooth` adds |log(E / R)|; `three_case` the same, but 0 while E is within 10 % of R
            (Dong and Yang 2019); `fbnet` multiplies the loss by 0.2 log(E in thousands)^0.6
            (arXiv:1812.03443), which presses on E without aiming at R.
        budget_weight: factor of the first two terms.
    """

    name: ClassVar[str] = "meta_kernel"

    level: str | None = None
    mixture: str = "gumbel"
    batch_size: int | None = None
    warmup: float = 0.1
    temperature_start: float = 5.0
    temperature_end: float | None = None
    optimizer: str | None = None
    weights_lr: float | None = None
    weight_decay: float | None = None
    logits_lr: float | None = None
    budget_term: str = "smooth"
    budget_weight: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {
            "level": (*LEVELS, None),
            "mixture": MIXTURES,
            "optimizer": ("adamw", "sgd", None),
            "budget_term": BUDGET_TERMS,
        }
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                raise ValueError(
                    f"meta_kernel takes as {name} one of {', '.join(filter(None, values))}; "
                    f"got {value!r}"
                )
        self._check_ranges()

    def _check_ranges(self) -> None:
        """Refuse numbers with which nothing can be learned."""
        above_zero = ("temperature_start", "temperature_end", "weights_lr", "logits_lr")
        ranges: dict[str, tuple[bool, str]] = {
            "batch_size": (self.batch_size is None or self.batch_size >= 1, "at least 1"),
            "warmup": (0 <= self.warmup < 1, "a share of at least 0 and below 1"),
            "weight_decay": (self.weight_decay is None or self.weight_decay >= 0, "at least 0"),
            "budget_weight": (self.budget_weight >= 0, "at least 0"),
        }
        for name in above_zero:
            value = getattr(self, name)
            ranges[name] = (value is None or value > 0, "a number above 0")
        for name, (is_fine, wanted) in ranges.items():
            if not is_fine:
                raise ValueError(f"meta_kernel takes as {name} {wanted}; got {getattr(self, name)}")

    def resolved(self, total: int) -> MetaKernel:
        """Return the strategy with every setting that depends on the length filled in."""
        is_long = total >= LONG_STEPS
        optimizer = self.optimizer or ("sgd" if is_long else "adamw")
        defaults: dict[str, Any] = {
            "steps": total,
            "level": "bilevel" if is_long else "single",
            "temperature_end": 0.1 if is_long else 0.2,
            "optimizer": optimizer,
            "weights_lr": 0.1 if optimizer == "sgd" else 3e-2,
            "weight_decay": 4e-5 if optimizer == "sgd" else 0.02,
            "logits_lr": 3e-3 if is_long else 0.05,
        }
        missing = {name: v for name, v in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Train the supernet on the proxy and return the most probable arch within the budget."""
        total = self.steps or _DEFAULT_STEPS.get(problem.space.name, 300)
        search = _Search(self.resolved(total), problem, total)
        loop = Loop(
            model=search.model,
            optimizers={"weights": search.weights_optimizer, "logits": search.logits_optimizer},
            total=total,
            run=run,
        )
        for step in loop:
            event = search.step(step)
            run.log(step=step, **event)
            report(
                {
                    "phase": "warm-up" if search.is_warmup(step) else "search",
                    "step": step + 1,
                    "total": total,
                    **event,
                }
            )
        return most_probable(problem.space, search.log_probs(), problem.budget)


class _Search:
    """The state of one search: supernet, logits and their optimisers."""

    def __init__(self, options: MetaKernel, problem: Problem, total: int) -> None:
        self.options, self.problem, self.total = options, problem, total
        self.supernet = problem.proxy.supernet(seed=problem.seed)
        self.logits = Logits(self.supernet.num_candidates)
        self.model = torch.nn.ModuleDict({"supernet": self.supernet, "logits": self.logits})
        self.model.to(problem.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.train()
        set_memory(self.supernet, problem.memory)
        self.order = list(self.supernet.choices)
        self.expected: Expectation = problem.space.cost.flops.expectation(self.order)
        self.temperature = Temperature(
            start=options.temperature_start, end=cast(float, options.temperature_end)
        )
        self.weights_optimizer = _weights_optimizer(self.supernet, options)
        is_long = total >= LONG_STEPS
        self.logits_optimizer = torch.optim.Adam(
            self.logits.parameters(),
            lr=cast(float, options.logits_lr),
            betas=(0.5, 0.999 if is_long else 0.99),
            weight_decay=5e-4 if is_long else 0.0,
        )
        small = max(problem.proxy.input_shape[1:]) <= 64
        self.batch_size = options.batch_size or (64 if small else 32)

    def is_warmup(self, step: int) -> bool:
        """Tell whether the logits still rest."""
        return step < self.options.warmup * self.total

    def step(self, step: int) -> dict[str, Any]:
        """Do one update of the weights and, after the warm-up, of the logits."""
        factor = warmup_cosine(step / self.total, 0.15)
        peak = cast(float, self.options.weights_lr)
        self.weights_optimizer.param_groups[0]["lr"] = peak * factor
        # Dropout draws from the step, so that a resumed search drops the same features.
        torch.manual_seed(self.problem.seed * 1_000_003 + step)
        is_single = self.options.level == "single"
        learns_logits = not self.is_warmup(step)
        if learns_logits and not is_single:
            loss = self._loss(step, "architecture")
            self._update(self._with_budget(loss), self.logits_optimizer)
        loss = self._loss(step, "train" if is_single else "weights")
        if is_single and learns_logits:
            both = (self.weights_optimizer, self.logits_optimizer)
            self._update(self._with_budget(loss), *both)
        else:
            self._update(loss, self.weights_optimizer)
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
        for optimizer in optimizers:
            optimizer.step()

    def _loss(self, step: int, split: str) -> Tensor:
        task, device = self.problem.task, self.problem.device
        x, labels = task.batch(split, seed=self.problem.seed, step=step, batch_size=self.batch_size)
        self.supernet.mix(self._mixture(step, split).to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.supernet(x.to(device, memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), labels.to(device))

    def _mixture(self, step: int, split: str) -> Tensor:
        level = ("train", "weights", "architecture").index(split)
        seed = (self.problem.seed * 1_000_003 + step) * 3 + level
        generator = torch.Generator().manual_seed(seed)
        if self.is_warmup(step):
            return dirichlet(self.supernet.num_candidates, 1.0, generator)
        tau = self.temperature.at(step / self.total)
        return self.logits.mixture(self.options.mixture, tau, generator)

    def _with_budget(self, loss: Tensor) -> Tensor:
        """Return the loss with the budget term: descent lowers E above the target."""
        expected = self.expected(self.logits.probs())
        if self.options.budget_term == "fbnet":
            return loss * (0.2 * torch.log(expected / 1e3) ** 0.6).float()
        distance = torch.log(expected / self.problem.budget.target).abs()
        if self.options.budget_term == "three_case" and float(distance.detach()) < math.log(1.1):
            return loss
        return loss + (self.options.budget_weight * distance).float()

    def log_probs(self) -> dict[str, list[float]]:
        """Return the logarithm of the probability of each candidate."""
        rows = self.logits.log_probs().detach().double().tolist()
        return {
            name: [value for value in row if value > -math.inf]
            for name, row in zip(self.order, rows, strict=True)
        }


def _weights_optimizer(supernet: torch.nn.Module, options: MetaKernel) -> torch.optim.Optimizer:
    lr, decay = cast(float, options.weights_lr), cast(float, options.weight_decay)
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            supernet.parameters(), lr=lr, momentum=0.9, weight_decay=decay, fused=True
        )
    return torch.optim.AdamW(supernet.parameters(), lr=lr, weight_decay=decay, fused=True)
