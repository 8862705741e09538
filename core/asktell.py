"""Ask and tell: how a black-box strategy proposes archs, without knowing who evaluates them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from .arch import Arch

Metrics = dict[str, float]
"""A flat dict of floats; every name ends in its unit or is a count."""


class AllAskedError(Exception):
    """Every arch of the band has been asked for: a sampler has nothing new to propose."""


class Sampler(ABC):
    """Proposes archs and learns from their losses; knows nothing of processes, data or runs.

    What it asks for is a function of space, budget, seed and of the asks and tells so far, so that
    a search is resumed by telling the recorded losses again.
    """

    @abstractmethod
    def ask(self) -> Arch:
        """Return an arch within the band of the budget.

        It is one that was not asked for before, unless none is found among very many. May be
        called several times before the first of these archs is told.

        Raises:
            AllAskedError: if it is known that none is left.
        """

    @abstractmethod
    def tell(self, arch: Arch, loss: float) -> None:
        """Take notice of the loss of an arch; lower is better, inf for a failed training.

        Called once for each ask, in the order of asking.
        """

    def choose(self) -> Arch | None:
        """Return the arch to choose after the last loss; None for that of the lowest loss."""
        return None


class Pool(ABC):
    """Evaluates archs, some of them at the same time; the front door supplies it."""

    @abstractmethod
    def submit(self, arch: Arch, share: float = 1.0) -> Callable[[], Metrics]:
        """Have an arch evaluated with a share of the full effort.

        Returns:
            What waits for the metrics, among them `loss`, which is minimised. Equal questions
            have equal answers, whatever the number of processes.
        """
