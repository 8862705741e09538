"""Meta-kernel search: a folded supernet trains under random mixtures, and its losses are read.

Candidates are summed in weight space, so that a mixture of all of them costs one network
(arXiv:1912.04749). What that paper learns by gradient is read here from losses by regression; the
settings are nastk's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from ..core.loop import Loop, Report
from ..core.run import Run
from ..core.space import Space
from ..training.setting import setting
from ..training.strategy import Problem
from .learned import learned_from
from .mixed import MixedSearch, Plan
from .supernet_strategy import SupernetStrategy, runs_whole
from .thompson import Learned

_FEWEST = 10  # archs that are tested in the shortest search
_MOST = 100_000


@dataclass(frozen=True, kw_only=True)
class MetaKernel(SupernetStrategy):
    """Trains a supernet under random mixtures and regresses its losses on what they mixed.

    The score of an arch is the sum of three: by the losses of training, less their trend, under
    the mixtures; by the logarithms of the losses of random archs that inherit the weights, on
    held-out images; and by the activation patterns (naswot) of random untrained archs, in ranks.
    Each is linear in the candidates, is brought to deviation 1 over the space and counts by how
    well it tells inherited losses that it has not seen, see `nastk.strategies.ranking`. So the best
    arch of any budget is found exactly, and one supernet serves all.

    Attributes:
        concentration_start: of the Dirichlet distribution of the mixtures, falling geometrically;
            the square of an eighth of the number of choices, at least 1, unless given. The
            deviation of a mixture falls with the root of the concentration, and a network of many
            choices that all change at every step learns nothing: what they add up to is that of 8
            choices.
        concentration_end: what it falls to.
        archs: random archs of the whole space that are tested with inherited weights; one for
            every four updates, at most 150, unless given.
        untrained: random archs of the whole space whose activation patterns are measured; one for
            every five updates, at most 120, unless given.
        supernets: trained one after the other, each for all the updates.
    """

    name: ClassVar[str] = "meta_kernel"
    ranks_all: ClassVar[bool] = True

    concentration_start: float | None = setting(None, above=0)
    concentration_end: float = setting(0.05, above=0)
    archs: int | None = setting(None, least=0, most=_MOST)
    untrained: int | None = setting(None, least=0, most=_MOST)
    supernets: int = setting(1, least=1, most=100)

    def defaults(self, total: int) -> dict[str, Any]:
        """Return the settings that depend on the length of a search of `total` updates."""
        numbers = {"archs": (150, total // 4), "untrained": (120, total // 5)}
        return {name: min(most, max(_FEWEST, few)) for name, (most, few) in numbers.items()}

    def first_concentration(self, space: Space) -> float:
        """Return the concentration of the first mixture."""
        return self.concentration_start or max(1.0, (len(space.num_candidates) / 8) ** 2)

    def can_record(self, space: Space) -> bool:
        """Tell whether steps do the same work: not where each runs candidates of its own."""
        return runs_whole(space)

    def work_in_words(self, updates: int, images: int) -> str:
        """Say what a search does, finalists aside, as it is announced before it starts."""
        own, is_one = self.resolved(updates), self.supernets == 1
        what = "a supernet" if is_one else f"{self.supernets} supernets one after the other, each"
        parts = [f"trains {what} for {updates:,} updates of {images} images"]
        if own.archs:
            whose = "its weights" if is_one else "the weights of each"
            parts.append(f"tests {own.archs:,} archs with {whose}")
        if own.untrained:
            parts.append(f"looks at {own.untrained:,} untrained ones")
        *first, last = parts
        return f"{', '.join(first)} and {last}" if first else last

    def work_left(self, step: int, total: int) -> float:
        """Return the passes of a batch that are left before update `step` of `total`."""
        return float(self.supernets * total - step)

    def plan(self, space: Space) -> Plan:
        """Return what a search does; the strategy is a resolved one."""
        return Plan(
            supernets=self.supernets,
            updates=cast(int, self.steps),
            archs=cast(int, self.archs),
            untrained=cast(int, self.untrained),
            concentration_start=self.first_concentration(space),
            concentration_end=self.concentration_end,
        )

    def learn(self, problem: Problem, run: Run, report: Report) -> Learned:
        """Train and read the supernets on the proxy; the arch of the highest score is the best."""
        updates = self.num_steps(problem.space)
        own = self.resolved(updates, problem.proxy.supernet_recipes)
        search = MixedSearch(own.plan(problem.space), own.recipe(problem), problem)
        loop = Loop(model=search.model, optimizers=search.optimizers, total=search.total, run=run)
        for step in loop:
            event = search.step(step)
            run.log(step=step, **event)
            shown = {"loss": event["loss"]} if "loss" in event else {}
            about = {"phase": search.phase(step), "doing": search.in_words(step)}
            report({**about, "step": step + 1, "total": search.total, **shown})
        return learned_from(run, problem, report)
