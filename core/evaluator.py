"""An evaluator says how good an arch is; black-box strategies ask it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .arch import Arch
from .strategy import Problem

Metrics = dict[str, float]
"""A flat dict of floats; every name ends in its unit or is a count."""


@dataclass(frozen=True, kw_only=True)
class Evaluator(ABC):
    """Turns an arch into metrics, the same ones for the same arch and problem.

    It never reads the test split, and leaves what it was given as it was: trainings happen on
    networks of its own.

    Attributes:
        problem: target and proxy, task, seed and device.
    """

    name: ClassVar[str]

    problem: Problem

    @abstractmethod
    def evaluate(self, arch: Arch) -> Metrics:
        """Return the metrics of an arch of the problem's space.

        Raises:
            ValueError: if the arch belongs to another space.
        """
