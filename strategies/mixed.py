"""Supernets that train under random mixtures, are tested by random archs, and all of it logged."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.naswot import NoActivationsError, naswot
from ..core.sampler import sample
from ..core.schedule import geometric
from ..core.streams import Stream
from ..ops.mixture import dirichlet
from ..training.batch import Batch
from ..training.recipe import Recipe
from ..training.strategy import Problem
from ..training.task import training_batch
from .inherited import ArchTest, images_for
from .supernet_training import SupernetTraining

# D choices, N candidates

_PATTERNS = 64  # images whose activation patterns are compared


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much a search does, and how far mixtures are from even.

    Attributes:
        supernets: trained one after the other.
        updates: of each.
        archs: tested with the weights of each.
        untrained: archs whose activation patterns are measured.
        concentration_start: of the Dirichlet distribution of the first mixture...
        concentration_end: ...and of the last.
    """

    supernets: int
    updates: int
    archs: int
    untrained: int
    concentration_start: float
    concentration_end: float


class MixedSearch:
    """The state of one search: its supernets, and what its steps do.

    Attributes:
        total: number of steps: updates and tested archs of each supernet, then untrained archs.
    """

    def __init__(self, plan: Plan, recipe: Recipe, problem: Problem) -> None:
        self.plan, self.problem, self.updates = plan, problem, plan.updates
        self.trainings = [
            SupernetTraining(recipe, plan.updates, self._problem_of(number))
            for number in range(plan.supernets)
        ]
        self.model = nn.ModuleDict(
            {
                f"{name}{n or ''}": part
                for n, training in enumerate(self.trainings)
                for name, part in training.parts.items()
            }
        )
        self.each = plan.updates + plan.archs
        self.total = plan.supernets * self.each + plan.untrained
        self._testing: tuple[int, ArchTest] | None = None

    @property
    def optimizers(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights."""
        return {
            f"{name}-{number}": state
            for number, training in enumerate(self.trainings)
            for name, state in training.state.items()
        }

    def phase(self, step: int) -> str:
        """Return in one word what a step does."""
        number, inside = divmod(step, self.each)
        if number >= len(self.trainings):
            return "untrained"
        return "supernet" if inside < self.updates else "inherited"

    def in_words(self, step: int) -> str:
        """Say what a step does."""
        number, count = step // self.each + 1, len(self.trainings)
        which = "the supernet" if count == 1 else f"supernet {number} of {count}"
        return {
            "supernet": f"training {which}",
            "inherited": f"testing archs with the weights of {which}",
            "untrained": "looking at untrained archs",
        }[self.phase(step)]

    def step(self, step: int) -> dict[str, Any]:
        """Do one step and return what it measured."""
        number, inside = divmod(step, self.each)
        if number >= len(self.trainings):
            index = step - len(self.trainings) * self.each
            chosen = _row(self.untrained, index)
            score = self._patterns(chosen, index)
            return {"untrained": index, "indices": list(chosen.values()), "naswot": score}
        if inside < self.updates:
            mixture = self.mixture(number, inside)
            loss = self._train(number, inside, mixture)
            return {"loss": loss, "supernet": number, "mixture": self._written(mixture)}
        index = inside - self.updates
        chosen = _row(self.tested, index)
        about = {"tested": index, "supernet": number, "indices": list(chosen.values())}
        return {**about, "inherited_loss": self._test(number, chosen)}

    def mixture(self, number: int, step: int) -> Tensor:
        """Return [D, N] the mixture of an update, a function of (seed, step) alone.

        What cannot be folded runs one candidate, each once in as many steps as there are.
        """
        plan, supernet = self.plan, self.trainings[0].supernet
        seed = self._problem_of(number).seed
        generator = torch.Generator().manual_seed(Stream.RANDOM_MIXTURE.seed(seed, step))
        start, end = plan.concentration_start, plan.concentration_end
        concentration = geometric(step / plan.updates, start, end)
        mixture_DN = dirichlet(supernet.num_candidates, concentration, generator)
        for row, is_sampled in enumerate(supernet.sampled):
            if is_sampled:
                count = supernet.num_candidates[row]
                turn, place = divmod(step, count)
                order = Stream.FAIR_PATH.generator(seed, row, turn)
                mixture_DN[row] = 0.0
                mixture_DN[row, order.permutation(count)[place]] = 1.0
        return mixture_DN

    def _problem_of(self, number: int) -> Problem:
        """Return the problem of one supernet, which has a seed of its own behind the first."""
        seed = Stream.SUPERNET.seed(self.problem.seed, number) if number else self.problem.seed
        return dataclasses.replace(self.problem, seed=seed)

    def _written(self, mixture_DN: Tensor) -> list[list[float]]:
        """Return a mixture for the log, four digits each."""
        counts = self.trainings[0].supernet.num_candidates
        rows = zip(mixture_DN.tolist(), counts, strict=True)
        return [[float(f"{p:.4g}") for p in row[:count]] for row, count in rows]

    def _train(self, number: int, step: int, mixture: Tensor) -> float:
        """Do one update of a supernet and return its loss."""
        training = self.trainings[number]
        training.begin(step)
        inputs = (mixture, *training.batches(step, "weights"))

        def update(mixture: Tensor, *batches: Batch) -> Tensor:
            training.supernet.mix(mixture)
            return training.learning.update(training.loss, batches)

        loss = float(training.run(f"train {number}", update, inputs))
        training.check(step, loss=loss)
        return loss

    def _test(self, number: int, chosen: dict[str, int]) -> float:
        """Return the loss of an arch with inherited weights, on held-out images."""
        if self._testing is None or self._testing[0] != number:
            training = self.trainings[number]
            items = images_for(self.plan.archs, training, self.updates)
            test = ArchTest(training.inherited, training.objective, self.problem, items)
            self._testing = (number, test)
        return self._testing[1].loss(chosen)

    def _patterns(self, chosen: dict[str, int], index: int) -> float | None:
        """Return how well an untrained arch tells images apart, None where that cannot be told."""
        problem = self.problem
        values = {n: c.candidates[chosen[n]] for n, c in problem.space.choices().items()}
        seed = Stream.UNTRAINED.seed(problem.seed, index)
        network = problem.proxy.build(values, seed=seed).to(problem.device)
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        try:
            return naswot(network, *self._pattern_images)
        except NoActivationsError:
            return None

    @cached_property
    def _pattern_images(self) -> tuple[Tensor, ...]:
        problem = self.problem
        batch = training_batch(
            problem.task, "weights", seed=problem.seed, step=0, batch_size=_PATTERNS
        )
        return batch.to(problem.device).inputs

    @cached_property
    def tested(self) -> dict[str, NDArray[np.int64]]:
        """Candidate indices of the archs that every supernet is tested on."""
        drawn = Stream.TESTED_ARCHS.generator(self.problem.seed)
        return sample(self.problem.space, self.plan.archs, drawn)

    @cached_property
    def untrained(self) -> dict[str, NDArray[np.int64]]:
        """Candidate indices of the archs that are not trained at all."""
        drawn = Stream.UNTRAINED_ARCHS.generator(self.problem.seed)
        return sample(self.problem.space, self.plan.untrained, drawn)


def _row(archs: dict[str, NDArray[np.int64]], index: int) -> dict[str, int]:
    return {name: int(column[index]) for name, column in archs.items()}
