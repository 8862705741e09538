"""The evaluator of a black-box search: found by name, asked by an executor, once for each arch."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..comparison.jobs import TRAININGS, TrainingJob, processes_for
from ..core.arch import Arch
from ..core.asktell import Pool
from ..core.executor import Executor, opened
from ..core.files import load_json
from ..core.job import Job, read_result
from ..core.loop import Report
from ..core.record import checked
from ..core.run import Run, write_json
from ..evaluators import Train
from ..records.execution import Execution
from ..records.plugins import check_found
from ..records.reading import problem_of
from ..records.trust import ROLES, code_name
from ..tasks.images.held import share_held
from ..tasks.named import Added, added
from ..training.evaluator import Evaluator, with_loss
from ..training.skipped import remember_skipped
from ..training.strategy import Problem
from ..training.task import Metrics
from .appointing import make_evaluator

_EVALUATIONS = "evaluations"
"""The folder of what is evaluated for a search alone, and removed at its end."""

_CHARGED = "charged.json"
"""The keys of the jobs whose cost the search has counted, until its end."""

_asked: dict[str, Evaluator] = {}
"""By run folder, the evaluator that this process asks: it keeps data and supernet."""


@dataclass(frozen=True, kw_only=True)
class Trial(Job):
    """One arch that a search asks its evaluator about.

    Attributes:
        run: folder of the search.
        arch: that is asked about.
        share: of the full effort.
        about: all that decides the result; of a training that of the same `TrainingJob`.
        objective: metric by which the search chooses.
        kind: of the data, where a program has added it.
    """

    run: str
    arch: Arch
    share: float
    about: Mapping[str, Any]
    objective: str
    kind: Added | None

    @property
    def content(self) -> dict[str, Any]:
        """All that decides the result."""
        return dict(self.about)

    @property
    def needs(self) -> Sequence[str]:
        """The metric by which the search chooses."""
        return [self.objective]

    def measure(self, run: Run, report: Report) -> tuple[Metrics, Iterable[str]]:
        """Ask the evaluator; one that trains goes on from its checkpoint."""
        if self.run not in _asked:
            search = Run.open(Path(self.run))
            _asked.clear()
            _asked[self.run] = make_evaluator(search, problem_of(search))
        evaluator = _asked[self.run]
        task = evaluator.problem.task
        known, task.skipped = task.skipped, frozenset()
        report = remember_skipped(task, run.path / "skipped.json", report)
        if isinstance(evaluator, Train):
            evaluator = dataclasses.replace(evaluator, share=self.share, run=run, report=report)
        try:
            metrics = evaluator.evaluate(self.arch)
            numbers = with_loss(evaluator, metrics)
            return {name: numbers[name] for name in metrics}, task.skipped
        finally:
            task.skipped |= known


@contextmanager
def open_pool(
    run: Run,
    problem: Problem,
    execution: Execution,
    at_a_time: int,
    tell: Callable[[float], None] = lambda share: None,
) -> Iterator[Pool]:
    """Open what evaluates the archs of one search.

    With one process archs are evaluated in this one. The threads of a training follow from the
    run's manifest and the strategy alone, so that every number of processes rounds alike.

    Args:
        run: of the search.
        problem: of the search.
        execution: how the search is run.
        at_a_time: evaluations that the strategy can have under way.
        tell: is told, while an evaluation is waited for, which share of it is done.
    """
    evaluator = make_evaluator(run, problem)
    each = dataclasses.replace(execution, threads=max(1, execution.threads // at_a_time))
    is_alone = evaluator.is_cheap and execution.processes is None
    names = [str(run.manifest.get(role)) for role in ROLES]
    processes = processes_for(names, 1 if is_alone else min(execution.at_a_time, at_a_time))
    if processes > 1:
        share_held()
    _asked[str(run.path)] = evaluator
    folder = TRAININGS if type(evaluator) is Train else _EVALUATIONS
    try:
        with opened(run.path / folder, processes) as executor:
            yield _Trials(run, evaluator, each, executor, tell)
    finally:
        _asked.clear()


class _Trials(Pool):
    """Has archs evaluated by an executor, and charges the search for what that cost elsewhere."""

    def __init__(
        self,
        run: Run,
        evaluator: Evaluator,
        execution: Execution,
        executor: Executor,
        tell: Callable[[float], None],
    ) -> None:
        self.run, self.evaluator, self.tell = run, evaluator, tell
        self.execution, self.executor = execution, executor
        self.charged = _charged(run)  # events are cut where a supernet goes on, these are not

    def submit(self, arch: Arch, share: float = 1.0) -> Callable[[], Metrics]:
        """Have an arch evaluated; what is returned waits for it.

        Who waits again gets the same metrics, and nothing is charged again.
        """
        problem, manifest = self.evaluator.problem, self.run.manifest
        check_found(str(manifest.strategy), arch, problem.space, problem.budget)
        job = Trial(
            title=f"the evaluation of arch {arch.id}",
            threads=self.execution.threads,
            run=str(self.run.path),
            arch=arch,
            share=share,
            about=self._about(arch, share),
            objective=self.evaluator.chosen_by()[0],
            kind=added(manifest.data),
        )
        self.executor.submit(job)
        return cache(lambda: self._waited(job))

    def _waited(self, job: Trial) -> Metrics:
        """Wait for a trial; take over what it cost elsewhere, once, and what it could not read."""
        (done,) = self.executor.finished([job], self.tell)
        if job.key not in self.charged:
            self.charged.add(job.key)
            self.run.clock.charge(done.elsewhere)
            self.run.save_spent()
            write_json(self.run.path / _CHARGED, sorted(self.charged))
        self.evaluator.problem.task.skipped |= frozenset(done.result.skipped)
        return with_loss(self.evaluator, done.result.metrics)

    def _about(self, arch: Arch, share: float) -> dict[str, Any]:
        """Return all that decides what the evaluator says of an arch."""
        evaluator, manifest = self.evaluator, self.run.manifest
        if type(evaluator) is not Train:
            asked = {"evaluator": manifest.evaluator, "options": manifest.evaluator_options}
            return asked | {"arch": arch.id, "share": share}
        return TrainingJob(
            title="",
            space=code_name("space", manifest, self.run.path),
            options=evaluator.problem.proxy.options,
            choices=arch.choices,
            data=manifest.data,
            data_sha256=manifest.data_record["train_sha256"],
            recipe=evaluator.recipe,
            steps=dataclasses.replace(evaluator, share=share).num_steps,
            execution=self.execution,
            split="weights",
        ).content


def _charged(run: Run) -> set[str]:
    """Return the keys of the jobs whose cost a search has counted."""
    file = run.path / _CHARGED
    return set(checked(load_json(file), list[str], str(file))) if file.is_file() else set()


def close_trials(run: Run) -> int:
    """Remove what was evaluated for a search alone, and return the peak memory of the largest.

    Trainings are kept: `compare` and evidence find them.
    """
    folders = (run.path / TRAININGS, run.path / _EVALUATIONS)
    files = [folder / key / "result.json" for folder in folders for key in _charged(run)]
    results = [read_result(file) for file in files if file.is_file()]
    (run.path / _CHARGED).unlink(missing_ok=True)
    for folder in (_EVALUATIONS, "trials"):  # that of a search which version 0.1 began
        shutil.rmtree(run.path / folder, ignore_errors=True)
    return max((result.peak_memory_bytes for result in results), default=0)
