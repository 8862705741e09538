"""Single-path search: one supernet trains by random archs, and losses with its weights rank all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.band import band_of
from ..core.loop import Loop, Report
from ..core.run import Run
from ..core.sampler import sample
from ..core.space import Space
from ..core.streams import Stream
from ..training.batch import Batch
from ..training.setting import MOST_COUNTED, setting
from ..training.strategy import Problem
from .inherited import ArchTest, images_for
from .learned import learned_from
from .length import mean_flops, plain_flops
from .reading import FEWEST
from .supernet_strategy import SupernetStrategy
from .supernet_training import SupernetTraining
from .thompson import Learned

SAMPLINGS = ("band", "space")


@dataclass(frozen=True, kw_only=True)
class SinglePath(SupernetStrategy):
    """One-shot search by single paths (arXiv:1904.00420) that ends in a fit and a solver.

    A step trains one random arch of the supernet on the weights split, without any logits. Then
    random archs are tested on the architecture split with the weights that they inherit, and the
    logarithms of their losses are regressed on what they consist of: the best arch by that score is
    found exactly. The source evolves archs and takes the lowest loss, which luck decides with so
    few; fit, solver and settings are nastk's.

    Attributes:
        sampling: which archs are trained and tested: uniform over those of the budget's `band`, or
            over the whole `space`, as the source has it.
        evaluations: archs that are tested.
    """

    name: ClassVar[str] = "single_path"
    share_of_steps: ClassVar[float] = 0.95  # the rest of the time tests archs

    sampling: str = setting("band", among=SAMPLINGS)
    evaluations: int = setting(
        150, least=FEWEST, why=", from which something is learned,", most=MOST_COUNTED
    )

    def image_flops(self, problem: Problem) -> float:
        """Return the multiply-adds of one image in a step: of the archs that it trains."""
        return plain_flops(problem) if self.sampling == "band" else mean_flops(problem)

    def work_in_words(self, updates: int, images: int) -> str:
        """Say what a search does, finalists aside, as it is announced before it starts."""
        trains = super().work_in_words(updates, images)
        return f"{trains} and tests {self.evaluations:,} archs with its weights"

    def can_record(self, space: Space) -> bool:
        """Tell whether steps do the same work: each runs a path of its own."""
        return False

    def learn(self, problem: Problem, run: Run, report: Report) -> Learned:
        """Train the supernet on the proxy and test archs; the arch of the best score is found."""
        num_updates = self.num_steps(problem.space)
        search = _Search(self.resolved(num_updates, problem.proxy.supernet_recipes), problem)
        total = num_updates + self.evaluations
        loop = Loop(model=search.model, optimizers=search.training.state, total=total, run=run)
        for step in loop:
            if step < num_updates:
                phase, event = "train", {"loss": search.train(step)}
            else:
                phase, event = "inherited", search.test(step - num_updates)
            run.log(step=step, **event)
            shown = {name: event[name] for name in ("loss", "inherited_loss") if name in event}
            report({"phase": phase, "step": step + 1, "total": total, **shown})
        return learned_from(run, problem, report)


class _Search:
    """The state of one search: its supernet, and the archs that are trained and tested."""

    def __init__(self, options: SinglePath, problem: Problem) -> None:
        self.options, self.problem, self.total = options, problem, cast(int, options.steps)
        self.training = SupernetTraining(options.recipe(problem), self.total, problem)
        self.supernet = self.training.supernet
        self.model = torch.nn.ModuleDict(self.training.parts)

    def _drawn(self, number: int, stream: Stream) -> dict[str, NDArray[np.int64]]:
        problem = self.problem
        is_banded = self.options.sampling == "band"
        band = band_of(problem.space, problem.budget).bounds if is_banded else None
        return sample(problem.space, number, stream.generator(problem.seed), band)

    @cached_property
    def _trained(self) -> dict[str, NDArray[np.int64]]:
        """Candidate indices of the arch of each step."""
        return self._drawn(self.total, Stream.TRAINED_PATHS)

    @cached_property
    def _tested(self) -> dict[str, NDArray[np.int64]]:
        """Candidate indices of the archs that are tested."""
        return self._drawn(self.options.evaluations, Stream.TESTED_PATHS)

    @cached_property
    def _testing(self) -> ArchTest:
        """The trained supernet."""
        images = images_for(self.options.evaluations, self.training, self.total)
        return ArchTest(self.training.inherited, self.training.objective, self.problem, images)

    def train(self, step: int) -> float:
        """Do one update of the weights and return its loss."""
        self.training.begin(step)
        choices = self.supernet.choices
        path = {name: choices[name].candidates[c[step]] for name, c in self._trained.items()}
        self.supernet.select(path)
        inputs = self.training.batches(step, "weights")
        loss = float(self.training.run("train", self._learn, inputs))
        self.training.check(step, loss=loss)
        return loss

    def _learn(self, *batches: Batch) -> torch.Tensor:
        return self.training.learning.update(self.training.loss, batches)

    def test(self, number: int) -> dict[str, Any]:
        """Test an arch and return what to log."""
        chosen = {name: int(column[number]) for name, column in self._tested.items()}
        about = {"tested": number, "supernet": 0, "indices": list(chosen.values())}
        return {**about, "inherited_loss": self._testing.loss(chosen)}
