"""An evaluator says how good an arch is; black-box strategies ask it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.arch import Arch
from ..core.files import MOST
from .strategy import Problem
from .task import Metrics as Metrics


@dataclass(frozen=True, kw_only=True)
class Evaluator(ABC):
    """Turns an arch into metrics, the same ones for the same arch and problem.

    It never reads the test split, and leaves what it was given as it was: trainings happen on
    networks of its own.

    Attributes:
        objective: the metric by which a search chooses; unless it is named, the first of the
            task on the architecture split, and then also whether more of it is better.
        maximises: whether more of it is better.
        is_cheap: whether an arch takes less than what another process would cost.
        problem: target and proxy, task, seed and device.
    """

    name: ClassVar[str]
    objective: ClassVar[str | None] = None
    maximises: ClassVar[bool] = False
    is_cheap: ClassVar[bool] = False

    problem: Problem

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name an evaluator after its class unless it names itself."""
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def chosen_by(self) -> tuple[str, bool]:
        """Return the metric by which a search chooses, and whether more of it is better."""
        if self.objective is not None:
            return self.objective, self.maximises
        first = self.problem.task.metrics[0]
        return f"architecture_{first.name}", first.maximises

    @abstractmethod
    def evaluate(self, arch: Arch) -> Metrics:
        """Return the metrics of an arch of the problem's space.

        Raises:
            ValueError: if the arch belongs to another space.
        """


# What else stands in the record of a trial.
_TAKEN = ("trial", "arch", "share", "choices")


def with_loss(evaluator: Evaluator, metrics: Any) -> Metrics:
    """Return what an evaluator has measured as plain numbers, and `loss`, which is minimised.

    Raises:
        ValueError: if these are no metrics, or the evaluator's objective is not among them.

    Example:
        >>> class Depth(Evaluator):
        ...     objective, maximises = "depth", True
        ...     def evaluate(self, arch: Arch) -> Metrics:
        ...         return {"depth": 3}
        >>> with_loss(Depth(problem=None), {"depth": 3})
        {'loss': -3.0, 'depth': 3.0}
    """
    name, (objective, maximises) = evaluator.name, evaluator.chosen_by()
    if not isinstance(metrics, Mapping) or not all(isinstance(key, str) for key in metrics):
        raise ValueError(
            f"evaluator {name} returned {metrics!r:.60}; it has to return a dict of numbers by "
            f"name, among them its objective {objective!r}"
        )
    numbers = {key: _number(name, key, value) for key, value in metrics.items()}
    if objective not in numbers:
        raise ValueError(
            f"evaluator {name} returned no {objective!r}, which is its objective, but "
            f"{', '.join(numbers) or 'nothing'}"
        )
    taken = [*_TAKEN, *(["loss"] if objective != "loss" or maximises else [])]
    if odd := [key for key in taken if key in numbers]:
        raise ValueError(f"evaluator {name}: {odd[0]!r} is no name for a metric; take another")
    return {"loss": numbers[objective] * (-1 if maximises else 1), **numbers}


def _number(name: str, key: str, value: Any) -> float:
    try:
        if isinstance(value, str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # text, an array of several, a meta tensor
        raise ValueError(
            f"evaluator {name} returned {value!r:.60} as {key!r}, where a number has to be"
        ) from None
    if MOST < abs(number) < math.inf:
        raise ValueError(
            f"evaluator {name} returned {number:g} as {key!r}; a number is at most {MOST:g}, or "
            "inf for an arch that is of no use"
        )
    return number
