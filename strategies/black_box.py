"""Strategies that ask for archs and are told their losses; only the sampler differs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.arch import Arch
from ..core.asktell import AllAskedError, Pool, Sampler
from ..core.budget import Budget
from ..core.loop import Report
from ..core.ranked import as_ranked
from ..core.run import Run
from ..core.space import Space
from ..training.setting import counted
from ..training.strategy import Problem, Strategy
from ..training.task import Metrics


@dataclass(frozen=True, kw_only=True)
class BlackBox(Strategy):
    """Evaluates archs one by one and returns the best.

    Trial i is asked for when the trials up to i - `in_flight` have been told, in their order,
    whoever finishes first: the result does not depend on the number of processes.

    Attributes:
        evaluations: what may be spent, in evaluations of full effort.
        in_flight: trials that may be under way at a time. More use more processes and know less
            when they are asked for.
    """

    evaluations: int = counted(16)
    in_flight: int = counted(2)

    @abstractmethod
    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what proposes the archs of one search."""

    def at_a_time(self, space: Space) -> int:
        """Return how many archs may be evaluated at a time."""
        return min(self.in_flight, len(self.shares()))

    def shares(self) -> list[float]:
        """Return for each trial the share of the full effort that it gets."""
        return [1.0] * self.evaluations

    def may_ask(self, number: int, num_told: int) -> bool:
        """Tell whether trial `number` may be asked for when so many trials have been told."""
        shares = self.shares()
        return number - num_told < self.in_flight and shares[number] == shares[num_told]

    def in_turn(self, ask: Callable[[float], Arch]) -> Iterator[tuple[Arch, float]]:
        """Ask for archs as early as allowed, and yield each trial when its loss is to be told.

        Trials for which no arch is left are passed over.

        Args:
            ask: returns an arch to be evaluated with a share of the full effort.

        Yields:
            Arch and share of the trial whose loss has to be told before the next one.
        """
        shares, waiting, num_asked = self.shares(), deque[Arch | None](), 0
        for number, share in enumerate(shares):
            while num_asked < len(shares) and self.may_ask(num_asked, number):
                try:
                    waiting.append(ask(shares[num_asked]))
                except AllAskedError:
                    waiting.append(None)
                num_asked += 1
            if (arch := waiting.popleft()) is not None:
                yield arch, share

    def search(self, problem: Problem, run: Run, report: Report) -> Arch:
        """Evaluate archs and return the one with the lowest loss at full effort."""
        assert problem.pool is not None
        sampler = self.sampler(problem.space, problem.budget, problem.seed)
        recorded = run.whole_events()
        run.restore_spent()
        with problem.pool() as pool:
            return Trials(self, sampler, run, pool, recorded).best(report)


class Trials:
    """The trials of one search: recorded ones are told again, then new ones are evaluated.

    Args:
        strategy: says how many trials there are, and which may be under way at a time.
        sampler: proposes archs and learns from their losses.
        run: where trials are recorded.
        pool: evaluates archs.
        recorded: events of earlier trials, in their order.
        phase: shown as progress.
    """

    def __init__(
        self,
        strategy: BlackBox,
        sampler: Sampler,
        run: Run,
        pool: Pool,
        recorded: Sequence[dict[str, Any]] = (),
        phase: str = "evaluate",
    ) -> None:
        self.strategy, self.sampler, self.run, self.pool = strategy, sampler, run, pool
        self.recorded, self.phase = recorded, phase
        self.shares = strategy.shares()
        self.num_asked = 0
        self.answers: dict[tuple[str, float], Callable[[], Metrics]] = {}

    def best(self, report: Report) -> Arch:
        """Return the sampler's choice among the trials of full effort, or that of lowest loss."""
        found, lowest = None, math.inf
        self.run.save_spent()
        event = {"phase": self.phase, "step": 0, "total": len(self.shares)}
        report(event | {"choice": self.sampler.choose()})
        for number, (arch, share) in enumerate(self.strategy.in_turn(self._ask)):
            loss = self._loss(number, arch, share)
            self.sampler.tell(arch, loss)
            if share == 1 and (found is None or loss < lowest):
                found, lowest = arch, loss
            event = {"phase": self.phase, "step": number + 1, "total": len(self.shares)}
            choice = self.sampler.choose() or found
            report(event | {"loss": loss, "best_loss": lowest, "choice": choice})
        if found is None or not math.isfinite(lowest):
            raise RuntimeError(
                f"none of {len(self.shares)} trials has a finite loss; take other data, another "
                "--evaluator or, for trainings, other --steps"
            )
        return self.sampler.choose() or found

    def _ask(self, share: float) -> Arch:
        """Ask for an arch and see that it is evaluated, unless its loss is known."""
        arch = self.sampler.ask()
        self.num_asked += 1
        if self.num_asked <= len(self.recorded):
            return arch
        key = (arch.id, share)
        if key not in self.answers:
            self.answers[key] = self.pool.submit(arch, share)
        return arch

    def _loss(self, number: int, arch: Arch, share: float) -> float:
        """Return the loss of a trial, from the record or from its evaluation, then recorded."""
        if number < len(self.recorded):
            event = self.recorded[number]
            if event.get("choices") != dict(arch.choices) or "loss" not in event:
                raise ValueError(
                    f"trial {number} in {self.run.events_path} is not the one that this version "
                    f"of nastk asks for; resume with {self.run.writer}, which wrote it"
                )
        else:
            metrics = self.answers[arch.id, share]()
            event = {"trial": number, "arch": arch.id, "share": share, **metrics}
            self.run.log(**event, choices=dict(arch.choices))
        return as_ranked(event["loss"])
