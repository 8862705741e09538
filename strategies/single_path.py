"""Single-path search: train one supernet by random archs, then evolve archs on its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arch import Arch
from ..core.asktell import AllAskedError
from ..core.band import band_of
from ..core.inherit import inherited_metrics
from ..core.loop import Loop, Report
from ..core.optimizer import backward, step_all
from ..core.polynomial import Polynomial
from ..core.ranked import as_ranked
from ..core.run import Run
from ..core.sampler import sample
from ..core.schedule import geometric
from ..core.space import Space
from ..core.strategy import Problem
from ..ops.mixture import dirichlet
from .black_box import MOST_EVALUATIONS
from .evolution import Evolution
from .length import mean_flops, plain_flops
from .linear_model import LinearModel
from .supernet_strategy import SupernetStrategy, SupernetTraining, runs_whole
from .thompson import Learned

SAMPLINGS = ("band", "space", "mixtures")


@dataclass(frozen=True, kw_only=True)
class SinglePath(SupernetStrategy):
    """One-shot search in two parts (arXiv:1904.00420; the settings are nastk's).

    The supernet is trained on the weights split without any logits. Then regularised evolution
    proposes archs within the budget, and each is tested on the architecture split with the
    weights that it inherits, its BatchNorm statistics estimated again.

    Attributes:
        sampling: what a step trains. `band`: one arch, uniform over those of the budget's band;
            `space`: one arch, uniform over the whole space, as the paper has it; `mixtures`: no
            single path but all candidates at once, under random weights that grow ever nearer to
            one candidate, which learns in fewer steps and takes longer for each.
        concentration_start: of the Dirichlet distribution of `mixtures`, falling geometrically...
        concentration_end: ...to this.
        evaluations: archs that are tested.
        population: archs alive, see `evolution`.
        num_batches: of 64 images, over which the BatchNorm statistics of an arch are averaged.
    """

    name: ClassVar[str] = "single_path"
    share_of_steps: ClassVar[float] = 0.95  # the rest of the time tests archs

    sampling: str = "band"
    concentration_start: float = 1.0
    concentration_end: float = 0.05
    evaluations: int = 50
    population: int | None = None
    num_batches: int = 10

    def known_values(self) -> dict[str, tuple[str | None, ...]]:
        """Return for settings that are names those that exist."""
        return {**super().known_values(), "sampling": SAMPLINGS}

    def ranges(self) -> dict[str, tuple[bool, str]]:
        """Return for numbers whether anything can be learned with them, and what is wanted."""
        return {
            **super().ranges(),
            "concentration_start": (self.concentration_start > 0, "a number above 0"),
            "concentration_end": (self.concentration_end > 0, "a number above 0"),
            "evaluations": (
                1 <= self.evaluations <= MOST_EVALUATIONS,
                f"at least 1 and at most {MOST_EVALUATIONS:,}",
            ),
            "population": (self.population is None or self.population >= 1, "at least 1"),
            "num_batches": (self.num_batches >= 1, "at least 1"),
        }

    def image_flops(self, problem: Problem) -> float:
        """Return the multiply-adds of one image in a step: of the archs that it trains."""
        if self.sampling == "band":
            return plain_flops(problem)
        return mean_flops(problem) if self.sampling == "space" else super().image_flops(problem)

    def work_in_words(self, updates: int, images: int) -> str:
        """Say what a search does, finalists aside, as it is announced before it starts."""
        trains = super().work_in_words(updates, images)
        return f"{trains} and tests {self.evaluations:,} archs with its weights"

    def can_record(self, space: Space) -> bool:
        """Tell whether steps do the same work: not where each runs a path of its own."""
        return self.sampling == "mixtures" and runs_whole(space)

    def learn(self, problem: Problem, run: Run, report: Report) -> Learned:
        """Train the supernet on the proxy; the arch that does best with its weights is the best."""
        num_updates = self.num_steps(problem.space)
        search = _Search(self.resolved(num_updates, problem.proxy.learning_rates), problem)
        total = num_updates + self.evaluations
        loop = Loop(model=search.model, optimizers=search.optimizers, total=total, run=run)
        for step in loop:
            if step < num_updates:
                event = {"loss": search.train(step)}
                run.log(step=step, **event)
            else:
                if (found := search.rank(loop.notes)) is not None:
                    run.log(step=step, **found)
                event = {"best_loss": search.best(loop.notes)[1]}
            phase = "train" if step < num_updates else "rank"
            report({"phase": phase, "step": step + 1, "total": total, **event})
        arch, loss = search.best(loop.notes)
        if not math.isfinite(loss):
            raise RuntimeError(
                f"none of {self.evaluations} archs has a finite loss; lower weights_lr"
            )
        return Learned(arch=arch, score=search.score(loop.notes))


class _Search:
    """The state of one search: a supernet, and the archs asked for so far."""

    def __init__(self, options: SinglePath, problem: Problem) -> None:
        self.options, self.problem, self.total = options, problem, cast(int, options.steps)
        self.training = SupernetTraining(options, problem)
        self.supernet = self.training.supernet
        self.model = torch.nn.ModuleDict({"supernet": self.supernet})
        self.optimizers = self.training.state
        evolution = Evolution(evaluations=options.evaluations, population=options.population)
        self.sampler = evolution.sampler(problem.space, problem.budget, problem.seed)
        self.asked: list[Arch] = []

    @cached_property
    def _paths(self) -> dict[str, NDArray[np.int64]]:
        """Candidate indices of the arch of each step."""
        problem = self.problem
        is_banded = self.options.sampling == "band"
        band = band_of(problem.space, problem.budget).bounds if is_banded else None
        return sample(problem.space, self.total, (problem.seed, 4), band)

    def train(self, step: int) -> float:
        """Do one update of the weights and return its loss."""
        self.training.begin(step)
        inputs: tuple[torch.Tensor, ...] = self.training.batch(step, "weights")
        if self.options.sampling == "mixtures":
            inputs = (*inputs, self._mixture(step))
        else:
            choices = self.supernet.choices
            path = {name: choices[name].candidates[c[step]] for name, c in self._paths.items()}
            self.supernet.select(path)
        loss = float(self.training.run("train", self._learn, inputs))
        self.training.check(step, loss=loss)
        return loss

    def _learn(self, x: torch.Tensor, labels: torch.Tensor, *mixture: torch.Tensor) -> torch.Tensor:
        if mixture:
            self.supernet.mix(mixture[0])
        loss = self.training.loss(x, labels)
        backward(loss, self.supernet, self.training.scaler)
        step_all(self.training.scaler, self.training.optimizer)
        return loss.detach()

    def _mixture(self, step: int) -> torch.Tensor:
        options = self.options
        concentration = geometric(
            step / self.total, options.concentration_start, options.concentration_end
        )
        generator = torch.Generator().manual_seed(self.problem.seed * 1_000_003 + step)
        return dirichlet(self.supernet.num_candidates, concentration, generator)

    def rank(self, losses: dict[str, float]) -> dict[str, Any] | None:
        """Test the next arch, note its loss among the `losses`, and return what to log.

        Nothing is done, and None returned, where all archs of the band have been tested.
        """
        self._follow(losses)
        try:
            arch, trial = self.sampler.ask(), len(losses)
        except AllAskedError:
            return None
        metrics = inherited_metrics(
            self.supernet, arch.choices, self.problem, num_batches=self.options.num_batches
        )
        loss = metrics["architecture_loss_nats"]
        losses[str(trial)] = as_ranked(loss)
        self._tell(arch, losses)
        metrics = {"loss": loss, **metrics}
        shown = {name: value if math.isfinite(loss) else None for name, value in metrics.items()}
        return {"trial": trial, "arch": arch.id, **shown, "choices": dict(arch.choices)}

    def _follow(self, losses: Mapping[str, float]) -> None:
        """Ask again for the archs whose losses an interrupted search has noted."""
        while len(self.asked) < len(losses):
            self._tell(self.sampler.ask(), losses)

    def _tell(self, arch: Arch, losses: Mapping[str, float]) -> None:
        self.sampler.tell(arch, losses[str(len(self.asked))])
        self.asked.append(arch)

    def best(self, losses: Mapping[str, float]) -> tuple[Arch, float]:
        """Return the first of the archs with the lowest loss, and that loss."""
        self._follow(losses)
        trial = min(range(len(losses)), key=lambda number: losses[str(number)])
        return self.asked[trial], losses[str(trial)]

    def score(self, losses: Mapping[str, float]) -> Polynomial:
        """Return what inherited losses say about every arch, fitted by a linear model."""
        self._follow(losses)
        told = [(arch, losses[str(n)]) for n, arch in enumerate(self.asked)]
        known = [(arch, loss) for arch, loss in told if math.isfinite(loss)]
        problem = self.problem
        model = LinearModel(problem.space, problem.budget, [], problem.seed)
        mean_F, _ = model.posterior([arch for arch, _ in known], [loss for _, loss in known])
        return model.score(mean_F)
