"""Strategies that train the weights of a supernet, whatever they then choose by."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from ..core.arch import Arch
from ..core.loop import Report
from ..core.optimizer import set_learning_rate, weights_optimizer
from ..core.precision import computing, grad_scaler
from ..core.run import Run
from ..core.schedule import warmup_cosine
from ..core.space import Space
from ..core.streams import Stream
from ..ops.chain import set_memory
from ..training.batch import Batch
from ..training.static_step import Inputs, StaticStep
from ..training.strategy import CPU, Problem, Strategy
from ..training.task import training_batch
from .black_box import Trials
from .length import LONG_STEPS, supernet_flops
from .thompson import Learned, Thompson


@dataclass(frozen=True, kw_only=True)
class SupernetStrategy(Strategy):
    """Trains one supernet on the proxy.

    Settings left at None follow the length: searches of a few hundred steps and those of 5000
    and more have defaults of their own.

    Attributes:
        batch_size: images a step; 64 up to 64 px, else 32, unless given.
        optimizer: of the weights: `adamw` in short searches, the space's own in long ones: `sgd`
            with momentum 0.9, `adamw` for transformers.
        weights_lr: peak learning rate of the weights, the space's own for the optimiser: 3e-2
            with AdamW and 0.1 with SGD in convolutional spaces.
        weight_decay: of the weights: 0.02 with AdamW, 4e-5 with SGD.
        finalists: archs that are trained by themselves behind the supernet, the best of which is
            found, see `nastk.strategies.thompson`.
        sums_features: whether candidates run one by one and their features are summed.
    """

    # Updates as a share of the space's, so that searches of all strategies take about as long.
    share_of_steps: ClassVar[float] = 1.0
    sums_features: ClassVar[bool] = False

    finalists: int = 0
    batch_size: int | None = None
    optimizer: str | None = None
    weights_lr: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in self.known_values().items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(
                    f"{self.name} takes as {name} one of {', '.join(filter(None, known))}; "
                    f"got {value!r:.60}"
                )
        for name, (is_fine, wanted) in self.ranges().items():
            if not is_fine:
                value = getattr(self, name)
                raise ValueError(f"{self.name} takes as {name} {wanted}; got {value}")

    def known_values(self) -> dict[str, tuple[str | None, ...]]:
        """Return for settings that are names those that exist."""
        return {"optimizer": ("adamw", "sgd", None)}

    def ranges(self) -> dict[str, tuple[bool, str]]:
        """Return for numbers whether anything can be learned with them, and what is wanted."""
        above_zero = (self.weights_lr is None or self.weights_lr > 0, "a number above 0")
        return {
            "finalists": (0 <= self.finalists <= 1000, "at least 0 and at most 1,000"),
            "batch_size": (self.batch_size is None or self.batch_size >= 1, "at least 1"),
            "weights_lr": above_zero,
            "weight_decay": (self.weight_decay is None or self.weight_decay >= 0, "at least 0"),
        }

    def defaults(self, total: int, rates: Mapping[str, float]) -> dict[str, Any]:
        """Return the settings that depend on the length of a search and on its space.

        Args:
            total: number of updates.
            rates: peak learning rates by optimiser, the one for long trainings first.
        """
        optimizer = self.optimizer or (next(iter(rates)) if total >= LONG_STEPS else "adamw")
        return {
            "steps": total,
            "optimizer": optimizer,
            "weights_lr": rates[optimizer],
            "weight_decay": 4e-5 if optimizer == "sgd" else 0.02,
        }

    def resolved(self, total: int, rates: Mapping[str, float] = Space.learning_rates) -> Self:
        """Return the strategy with every setting that depends on length and space filled in.

        Args:
            total: number of updates.
            rates: `learning_rates` of the space.
        """
        defaults = self.defaults(total, rates)
        missing = {k: v for k, v in defaults.items() if getattr(self, k) is None}
        return dataclasses.replace(self, **missing)

    def num_steps(self, space: Space) -> int:
        """Return the updates asked for, else a share of the space's, rounded to tens."""
        return self.steps or self.share(space.search_steps)

    def share(self, steps: int) -> int:
        """Return the strategy's share of the updates of a space, rounded to tens."""
        return max(10, 10 * round(self.share_of_steps * steps / 10))

    def images_a_step(self, proxy: Space) -> int:
        """Return the images of a batch."""
        return self.batch_size or (64 if max(proxy.input_shape[1:]) <= 64 else 32)

    def image_flops(self, problem: Problem) -> float:
        """Return the multiply-adds of one image in a step, which says how long to train."""
        return supernet_flops(problem, features=self.sums_features)

    def work_left(self, step: int, total: int) -> float:
        """Return the passes of a batch that are left before update `step` of `total`."""
        return float(total - step)

    def work_in_words(self, updates: int, images: int) -> str:
        """Say what a search does, finalists aside, as it is announced before it starts.

        Args:
            updates: of the supernet.
            images: of a batch.
        """
        return f"trains a supernet for {updates:,} updates of {images} images"

    def at_a_time(self, space: Space) -> int:
        """Return how many finalists may be under way at a time."""
        return Thompson(evaluations=self.finalists).at_a_time(space) if self.finalists else 0

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Train the supernet, then the finalists that it proposes, and return the best."""
        learned = self.learn(problem, run, report)
        if not self.finalists:
            return learned.arch
        assert problem.pool is not None
        run.restore_spent()  # finalists of an interrupted process cost more than its supernet
        race = Thompson(evaluations=self.finalists)
        sampler = race.sampler(problem.space, problem.budget, problem.seed, learned)
        with problem.pool() as pool:
            return Trials(race, sampler, run, pool, phase="finalists").best(report)

    @abstractmethod
    def learn(self, problem: Problem, run: Run, report: Report) -> Learned:
        """Train the supernet and return what it has taught."""


def runs_whole(space: Space) -> bool:
    """Tell whether a mixture runs all candidates of every choice, none of them drawn."""
    return all(choice.slot.sampled is None for choice in space.choices().values())


class SupernetTraining:
    """The supernet of one search, its objective and the optimiser of the weights of both.

    Attributes:
        supernet: of the proxy, on the problem's device.
        objective: of the task, there too.
        trained: both of them.
        optimizer: of their weights.
        scaler: of gradients in float16.
    """

    def __init__(self, options: SupernetStrategy, problem: Problem) -> None:
        self.problem, self.total = problem, cast(int, options.steps)
        self.supernet = problem.proxy.supernet(seed=problem.seed)
        self.supernet.to(problem.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.supernet.train()
        set_memory(self.supernet, problem.memory)
        self.objective = problem.task.objective().to(problem.device)
        self.trained = nn.ModuleList([self.supernet, self.objective])
        self._network = computing(self.supernet, problem.precision, problem.device)
        self._peak = cast(float, options.weights_lr)
        self.optimizer = weights_optimizer(
            self.trained.parameters(),
            cast(str, options.optimizer),
            lr=self._peak,
            weight_decay=cast(float, options.weight_decay),
            device=problem.device,
            is_recorded=problem.cuda_graph,
        )
        self.scaler = grad_scaler(problem.precision, problem.device)
        self.batch_size = options.images_a_step(problem.proxy)
        self._share = torch.zeros((), device=problem.device)
        self._recorded: tuple[str, StaticStep] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of the training beside the network's own state."""
        scaler = {"scaler": self.scaler} if self.scaler.is_enabled() else {}
        return {"weights": self.optimizer, **scaler}

    def begin(self, step: int) -> None:
        """Set what depends on the step alone: learning rate, random numbers, share that is done."""
        self._share.fill_(step / self.total)
        set_learning_rate(self.optimizer, self._peak * warmup_cosine(step / self.total, 0.15))
        # Dropout draws from the step, so that a resumed search drops the same features.
        torch.manual_seed(Stream.DROPOUT.seed(self.problem.seed, step))

    def batch(self, step: int, split: str) -> Batch:
        """Return the batch of a step, not yet on the device."""
        task, seed = self.problem.task, self.problem.seed
        found = training_batch(task, split, seed=seed, step=step, batch_size=self.batch_size)
        return found.to(CPU)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch under the current mixtures."""
        loss: Tensor = self.objective(self._network, batch, self._share)
        return loss

    def check(self, step: int, **figures: float) -> None:
        """See that the figures of an update are finite, before they are logged or saved.

        Raises:
            RuntimeError: if the search diverged.
        """
        for name, value in figures.items():
            if not math.isfinite(value):
                raise RuntimeError(
                    f"the search diverged at update {step + 1}: {name} is {value}; lower --set "
                    f"weights_lr (now {self._peak:g}) and search again in another folder"
                )

    def run(self, phase: str, update: Callable[..., Tensor], inputs: Inputs) -> Tensor:
        """Run an update on inputs that are brought to the device, recorded if the problem says so.

        Args:
            phase: names what the update does; updates of one phase do the same on other numbers.
            update: from the inputs to what it reports.
            inputs: batches and tensors on the CPU.
        """
        device = self.problem.device
        if not self.problem.cuda_graph:
            return update(*(x.to(device) for x in inputs))
        if self._recorded is None or self._recorded[0] != phase:
            self._recorded = None  # gives the memory of the phase before back first
            self._recorded = (phase, StaticStep(update, device))
        return self._recorded[1](*inputs)
