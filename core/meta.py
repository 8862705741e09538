"""What a meta operator owes to the supernet: to become plain, and to tell its cost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from torch import nn

from .choice import Choice, Value

Pick = Callable[[Choice], int]
"""Tells the index of the candidate that a choice takes."""


class MetaOperator(nn.Module, ABC):
    """An operator whose arguments contain choices.

    In `forward` it reads the mixture of each choice from its slot, and it records its cost with
    the active tracer, where there is one: what it multiplies itself is counted nowhere else. The
    modules that it calls count by themselves, under the gates in which it calls them.
    """

    @abstractmethod
    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain layer of `arch`, with its slice of the weights copied."""


def pick_from(arch: Mapping[str, Value]) -> Pick:
    """Return the pick that reads an arch."""
    return lambda choice: choice.position(arch[choice.name])
