"""The baseline that every strategy has to beat: archs drawn uniformly within the band."""

from dataclasses import dataclass
from typing import ClassVar

from ..core.arch import Arch
from ..core.asktell import Sampler
from ..core.band import band_of
from ..core.budget import Budget
from ..core.loop import Report
from ..core.neighbours import Draws, Key, Neighbours
from ..core.run import Run
from ..core.space import Space
from ..training.setting import counted
from ..training.strategy import Problem
from .black_box import BlackBox


@dataclass(frozen=True, kw_only=True)
class RandomArch(BlackBox):
    """Best of `evaluations` archs, drawn uniformly over the band of the budget.

    A single one, which is the default, is not evaluated and costs nothing.
    """

    name: ClassVar[str] = "random"

    evaluations: int = counted(1)
    in_flight: int = counted(64)

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what draws the archs."""
        return RandomSampler(space, budget, seed)

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Return the arch with the lowest loss; nothing is evaluated where only one is drawn."""
        if self.evaluations > 1:
            return super().search(problem, run, report)
        report({"phase": "draw", "step": 1, "total": 1})
        return self.sampler(problem.space, problem.budget, problem.seed).ask()


class RandomSampler(Sampler):
    """Draws archs and learns nothing."""

    def __init__(self, space: Space, budget: Budget, seed: int) -> None:
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)
        self._draws = Draws(self._neighbours, seed)
        self._asked: set[Key] = set()

    def ask(self) -> Arch:
        """Return an arch drawn uniformly over the band."""
        key = self._draws.next(self._asked)
        self._asked.add(key)
        return self._neighbours.arch(key)

    def tell(self, arch: Arch, loss: float) -> None:
        """Learn nothing."""
