"""An evaluator says how good an arch is; black-box strategies ask it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .arch import Arch
from .strategy import Problem
from .task import Metrics as Metrics


@dataclass(frozen=True, kw_only=True)
class Evaluator(ABC):
    """Turns an arch into metrics, the same ones for the same arch and problem.

    It never reads the test split, and leaves what it was given as it was: trainings happen on
    networks of its own.

    Attributes:
        objective: the metric by which a search chooses.
        maximises: whether more of it is better.
        is_cheap: whether an arch takes less than what another process would cost.
        problem: target and proxy, task, seed and device.
    """

    name: ClassVar[str]
    objective: ClassVar[str] = "architecture_loss_nats"
    maximises: ClassVar[bool] = False
    is_cheap: ClassVar[bool] = False

    problem: Problem

    @abstractmethod
    def evaluate(self, arch: Arch) -> Metrics:
        """Return the metrics of an arch of the problem's space.

        Raises:
            ValueError: if the arch belongs to another space.
        """
