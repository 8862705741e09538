"""A strategy says how to choose; a problem says from what, for what and at what price."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ..core.arch import Arch
from ..core.asktell import Pool
from ..core.budget import Budget
from ..core.check import check_types
from ..core.loop import Report
from ..core.run import Run
from ..core.space import Space
from .setting import check_settings
from .task import Task

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a search is asked.

    Attributes:
        space: the target, whose cost is counted.
        proxy: the space of the same choices on which networks are trained.
        task: the data.
        budget: bounds on the target's FLOPs.
        seed: of everything random.
        device: where networks run.
        memory: what networks keep for their backward pass, see `nastk.ops.chain.MEMORY`.
        precision: in which networks compute, see `nastk.core.precision.PRECISIONS`.
        cuda_graph: whether to record the training step and to replay it.
        recipe: what was asked for of the recipe of the weights, see
            `nastk.training.changes.asked_changes`.
        pool: opens what evaluates archs for strategies that ask and tell.
    """

    space: Space
    proxy: Space
    task: Task
    budget: Budget
    seed: int = 0
    device: torch.device = CPU
    memory: str = "high"
    precision: str = "float32"
    cuda_graph: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)
    pool: Callable[[], AbstractContextManager[Pool]] | None = None


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """How to choose; called once a search, and again with the same run to resume it.

    Attributes:
        steps: updates of the supernet, or of each training where archs are trained one by one;
            None for a default.
    """

    name: ClassVar[str]
    # Whether a search learns a score of all archs, so that it serves other budgets too.
    ranks_all: ClassVar[bool] = False

    steps: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name a strategy after its class unless it names itself."""
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def __post_init__(self) -> None:
        check_types(self.name, self)
        check_settings(self.name, self)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"a search needs at least 1 step, got {self.steps}")

    def can_record(self, space: Space) -> bool:
        """Tell whether training steps do the same work on other numbers: one stands for all."""
        return True

    def at_a_time(self, space: Space) -> int:
        """Return how many archs of the space may be evaluated at a time; 0 if none ever is."""
        return 0

    @abstractmethod
    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Return the best arch within the budget; checkpoints and events go into the run."""
