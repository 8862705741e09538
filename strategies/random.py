"""The baseline that every strategy has to beat: one arch drawn uniformly within the band."""

from dataclasses import dataclass
from typing import ClassVar

from ..core.arch import Arch
from ..core.budget import reachable_band
from ..core.loop import Report
from ..core.run import Run
from ..core.sampler import sample
from ..core.strategy import Problem, Strategy


@dataclass(frozen=True, kw_only=True)
class RandomArch(Strategy):
    """Draws one arch uniformly over the archs with FLOPs in [97 %, 100 %] of the budget."""

    name: ClassVar[str] = "random"

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Return the arch; nothing is trained."""
        band = reachable_band(problem.space, problem.budget)
        drawn = sample(problem.space, 1, problem.seed, band)
        report({"phase": "draw", "step": 1, "total": 1})
        return problem.space.arch_at({name: int(column[0]) for name, column in drawn.items()})
