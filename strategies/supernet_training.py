"""The training of one supernet, whatever mixtures it runs under."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..core.precision import computing
from ..core.streams import Stream
from ..core.supernet import Supernet
from ..ops.chain import set_memory
from ..training.average import follow
from ..training.batch import Batch
from ..training.learning import Learning
from ..training.recipe import Recipe
from ..training.static_step import Inputs, StaticStep
from ..training.strategy import Problem


class SupernetTraining:
    """The supernet of one search, its objective and the optimiser of the weights of both.

    Attributes:
        supernet: of the proxy, on the problem's device.
        objective: of the task, there too.
        learning: how they learn.
        average: the supernet with averaged weights, None where the recipe wants none.

    Args:
        recipe: how the weights learn.
        steps: number of updates.
        problem: with proxy and task.
    """

    def __init__(self, recipe: Recipe, steps: int, problem: Problem) -> None:
        self.problem, self.total = problem, steps
        self.supernet = problem.proxy.supernet(seed=problem.seed)
        self.supernet.to(problem.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.supernet.train()
        set_memory(self.supernet, problem.memory)
        self.average: Supernet | None = None
        if recipe.ema_decay:
            self.average = copy.deepcopy(self.supernet).requires_grad_(False)
        self.objective = problem.task.objective(recipe.amounts).to(problem.device)
        self._network = computing(self.supernet, problem.precision, problem.device)
        self.learning = Learning(
            recipe,
            self.supernet,
            self.objective,
            device=problem.device,
            precision=problem.precision,
            is_recorded=problem.cuda_graph,
        )
        self._step, self._share = 0, torch.zeros((), device=problem.device)
        self._recorded: tuple[str, StaticStep] | None = None

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The modules whose weights a checkpoint needs, by name."""
        average = {} if self.average is None else {"average": self.average}
        return {"supernet": self.supernet, "objective": self.objective, **average}

    @property
    def inherited(self) -> Supernet:
        """The supernet whose weights archs inherit."""
        return self.average or self.supernet

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of the training beside the network's own state."""
        return self.learning.state

    @property
    def items_an_update(self) -> int:
        """Items of the batches of an update."""
        return self.learning.recipe.items_an_update

    def begin(self, step: int) -> None:
        """Set what depends on the step alone: learning rate, random numbers, share that is done."""
        self._step = step
        self._share.fill_(step / self.total)
        self.learning.begin(step / self.total)
        # Dropout draws from the step, so that a resumed search drops the same features.
        torch.manual_seed(Stream.DROPOUT.seed(self.problem.seed, step))

    def batches(self, step: int, split: str) -> list[Batch]:
        """Return the batches of a step, not yet on the device."""
        problem = self.problem
        return self.learning.batches(problem.task, split, seed=problem.seed, step=step)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch under the current mixtures."""
        loss: Tensor = self.objective(self._network, batch, self._share)
        return loss

    def check(self, step: int, **figures: float) -> None:
        """See that the figures of an update are finite, before they are logged or saved.

        Raises:
            RuntimeError: if the search diverged.
        """
        rate = self.learning.recipe.lr
        for name, value in figures.items():
            if not math.isfinite(value):
                raise RuntimeError(
                    f"the search diverged at update {step + 1}: {name} is {value}; lower --set "
                    f"weights_lr (now {rate:g}) and search again in another folder"
                )

    def run(self, phase: str, update: Callable[..., Tensor], inputs: Inputs) -> Tensor:
        """Run an update on inputs that are brought to the device, recorded if the problem says so.

        Averaged weights follow behind it.

        Args:
            phase: names what the update does; updates of one phase do the same on other numbers.
            update: from the inputs to what it reports.
            inputs: batches and tensors on the CPU.
        """
        told = self._run(phase, update, inputs)
        if self.average is not None:
            follow(self.average, self.supernet, self.learning.recipe.ema_decay, self._step)
        return told

    def _run(self, phase: str, update: Callable[..., Tensor], inputs: Inputs) -> Tensor:
        device = self.problem.device
        if not self.problem.cuda_graph:
            return update(*(x.to(device) for x in inputs))
        if self._recorded is None or self._recorded[0] != phase:
            self._recorded = None  # gives the memory of the phase before back first
            self._recorded = (phase, StaticStep(update, device))
        return self._recorded[1](*inputs)
