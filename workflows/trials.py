"""The evaluator of a black-box search: found by name, run in processes, its results in the run."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from ..core.arch import Arch
from ..core.asktell import Pool
from ..core.clock import cpu_seconds
from ..core.in_memory import is_in_memory
from ..core.pool import Workers, worker_pool
from ..core.run import Run, held, write_json
from ..core.standing import noted_in, share_done
from ..core.worker import check_stop
from ..evaluators import Train
from ..evaluators.efficiency import peak_memory_bytes
from ..records.execution import Execution
from ..records.plugins import check_found
from ..records.reading import problem_of
from ..records.results import read_trial
from ..records.trust import ROLES
from ..tasks.images.held import share_held
from ..training.evaluator import Evaluator, with_loss
from ..training.strategy import Problem
from ..training.task import Metrics
from .appointing import make_evaluator


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
        run: of the search; results are kept in its folder until `close_trials`.
        problem: of the search.
        execution: how the search is run.
        at_a_time: evaluations that the strategy can have under way.
        tell: is told, while an evaluation is waited for, which share of it is done.
    """
    evaluator = make_evaluator(run, problem)
    each = dataclasses.replace(execution, threads=max(1, execution.threads // at_a_time))
    is_alone = evaluator.is_cheap and execution.processes is None
    processes = 1 if is_alone else min(execution.at_a_time, at_a_time)
    if any(is_in_memory(str(run.manifest.get(role))) for role in ROLES):  # no other process could
        processes = 1
    if processes == 1:
        yield _Trials(run, evaluator, each, None, tell)
        return
    share_held()
    with worker_pool(processes) as workers:
        yield _Trials(run, evaluator, each, workers, tell)


class _Trials(Pool):
    """Evaluates in worker processes, or in this one where there are none."""

    def __init__(
        self,
        run: Run,
        evaluator: Evaluator,
        execution: Execution,
        workers: Workers | None,
        tell: Callable[[float], None],
    ) -> None:
        self.run, self.evaluator, self.tell = run, evaluator, tell
        self.execution, self.workers = execution, workers

    def submit(self, arch: Arch, share: float = 1.0) -> Callable[[], Metrics]:
        """Send an arch to a worker; without workers it is evaluated when it is waited for.

        Who waits again gets the same metrics, and nothing is charged again.
        """
        problem = self.evaluator.problem
        check_found(str(self.run.manifest.strategy), arch, problem.space, problem.budget)
        if self.workers is None:
            return cache(lambda: self._here(arch, share))
        sent = self.workers.submit(_elsewhere, str(self.run.path), arch, share, self.execution)
        folder = _trial_of(self.run, arch, share).path

        def waited() -> Metrics:
            while not wait([sent], timeout=1).done:
                self.tell(share_done([folder]))
            return self._noted(sent.result(), 0.0)

        return cache(waited)

    def _here(self, arch: Arch, share: float) -> Metrics:
        start = cpu_seconds()
        result = _evaluate(self.run, self.evaluator, arch, share, self.execution, self.tell)
        return self._noted(result, cpu_seconds() - start)

    def _noted(self, result: dict[str, Any], cpu_seconds_here: float) -> Metrics:
        """Take over what a trial cost elsewhere or earlier, once, and what it could not read."""
        counted = self.run.path / "trials" / result["trial"] / "counted"
        if not counted.exists():
            self.run.clock.charge(max(0.0, result["cpu_seconds"] - cpu_seconds_here))
            self.run.save_spent()
            counted.touch()
        task = self.evaluator.problem.task
        task.skipped |= frozenset(result["skipped"])
        metrics: Metrics = result["metrics"]
        return metrics


@lru_cache(maxsize=1)
def _evaluator_in(folder: str) -> Evaluator:
    run = Run.open(Path(folder))
    return make_evaluator(run, problem_of(run))


def _elsewhere(folder: str, arch: Arch, share: float, execution: Execution) -> dict[str, Any]:
    """Evaluate an arch in a worker, which keeps data and supernet from one to the next."""
    return _evaluate(Run(Path(folder)), _evaluator_in(folder), arch, share, execution)


def _trial_of(run: Run, arch: Arch, share: float) -> Run:
    return Run(run.path / "trials" / f"{arch.id}-{share:.6g}")


def _evaluate(
    run: Run,
    evaluator: Evaluator,
    arch: Arch,
    share: float,
    execution: Execution,
    tell: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Evaluate an arch, or return the result that an interrupted search left behind."""
    trial = _trial_of(run, arch, share)
    trial.path.mkdir(parents=True, exist_ok=True)
    file = trial.path / "result.json"
    with held(trial):
        if file.is_file():
            return read_trial(file)
        metrics = with_loss(evaluator, _metrics(trial, evaluator, arch, share, execution, tell))
        result = {
            "trial": trial.path.name,
            "metrics": metrics,
            "skipped": sorted(evaluator.problem.task.skipped),
            "cpu_seconds": trial.clock.spent[1],
            "peak_memory_bytes": peak_memory_bytes(),
        }
        write_json(file, result)
        shutil.rmtree(trial.path / "checkpoints", ignore_errors=True)
    return result


def _metrics(
    trial: Run,
    evaluator: Evaluator,
    arch: Arch,
    share: float,
    execution: Execution,
    tell: Callable[[float], None],
) -> Metrics:
    """Evaluate an arch on its threads, a training with checkpoints in its folder."""
    if isinstance(evaluator, Train):
        note = noted_in(trial.path)

        def watch(event: dict[str, Any]) -> None:
            check_stop()
            note(event)
            tell(event["step"] / event["total"])

        evaluator = dataclasses.replace(evaluator, share=share, run=trial, report=watch)
    before = torch.get_num_threads()
    torch.set_num_threads(execution.threads)
    try:
        return evaluator.evaluate(arch)
    finally:
        torch.set_num_threads(before)


def close_trials(run: Run) -> int:
    """Remove what was kept for resuming, and return the peak memory of the largest trial."""
    folder = run.path / "trials"
    results = map(read_trial, folder.glob("*/result.json"))
    peak = max((result["peak_memory_bytes"] for result in results), default=0)
    shutil.rmtree(folder, ignore_errors=True)
    return int(peak)
