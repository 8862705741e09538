"""Strategies that train the weights of a supernet, whatever they then choose by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.schedule import warmup_cosine
from ..core.space import Space
from ..core.strategy import Problem, Strategy
from ..ops.chain import set_memory

LONG_STEPS = 5000


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
    """

    default_steps: ClassVar[Mapping[str, int]]

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
                    f"got {value!r}"
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

    def num_steps(self, space: str) -> int:
        """Return the number of updates in a space of that name."""
        return self.steps or self.default_steps.get(space, 300)


class SupernetTraining:
    """The supernet of one search and the optimiser of its weights.

    Attributes:
        supernet: of the proxy, on the problem's device.
        optimizer: of its weights.
    """

    def __init__(self, options: SupernetStrategy, problem: Problem) -> None:
        self.problem, self.total = problem, cast(int, options.steps)
        self.supernet = problem.proxy.supernet(seed=problem.seed)
        self.supernet.to(problem.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.supernet.train()
        set_memory(self.supernet, problem.memory)
        self.optimizer = _optimizer(self.supernet, options)
        self._peak = cast(float, options.weights_lr)
        small = max(problem.proxy.input_shape[1:]) <= 64
        self.batch_size = options.batch_size or (64 if small else 32)

    def begin(self, step: int) -> None:
        """Set what depends on the step alone: learning rate and random numbers."""
        factor = warmup_cosine(step / self.total, 0.15)
        self.optimizer.param_groups[0]["lr"] = self._peak * factor
        # Dropout draws from the step, so that a resumed search drops the same features.
        torch.manual_seed(self.problem.seed * 1_000_003 + step)

    def loss(self, step: int, split: str) -> Tensor:
        """Return the loss under the current mixtures on the batch of a step."""
        task, device = self.problem.task, self.problem.device
        x, labels = task.batch(split, seed=self.problem.seed, step=step, batch_size=self.batch_size)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.supernet(x.to(device, memory_format=torch.channels_last))
            return F.cross_entropy(logits, labels.to(device))  # float32 under autocast


def _optimizer(supernet: nn.Module, options: SupernetStrategy) -> torch.optim.Optimizer:
    lr, decay = cast(float, options.weights_lr), cast(float, options.weight_decay)
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            supernet.parameters(), lr=lr, momentum=0.9, weight_decay=decay, fused=True
        )
    return torch.optim.AdamW(supernet.parameters(), lr=lr, weight_decay=decay, fused=True)
