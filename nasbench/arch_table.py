"""What a race of strategies asks of a table of trained archs, nastk's own or a user's."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.arch import Arch
from ..core.budget import Budget
from ..core.space import Space

# A archs

Figures = NDArray[np.float64]


class ArchTable(Protocol):
    """Archs of a budget's band, each with the losses of one or more trainings.

    A search is told losses of single trainings; the arch that it returns is judged by `regret`.
    """

    @property
    def space(self) -> Space:
        """The space of the archs."""

    @property
    def budget(self) -> Budget:
        """In whose band the archs are; all of that band are in the table."""

    @property
    def num_epochs(self) -> int:
        """After how many parts of a training its loss is known; 1 if at its end only."""

    @property
    def regret(self) -> Figures:
        """[A] mean loss by which an arch is judged, less that of the best arch."""

    @property
    def sha256(self) -> str:
        """Hash of the content."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that say what was read, what a search is told and what it is judged by."""

    def position(self, arch: Arch) -> int:
        """Return the row of an arch.

        Raises:
            ValueError: if the table does not have it.
        """

    def num_trainings(self, row: int) -> int:
        """Return how many trainings an arch has."""

    def loss(self, row: int, training: int, epoch: int) -> float:
        """Return what a search is told of one training after that epoch, 1 being the first."""
