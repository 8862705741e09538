"""Executors run jobs, each of them once, and keep what came out: here, in processes, anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .blame import name_job
from .clock import cpu_seconds
from .job import Job, Result, known_result, perform
from .loop import Report, silent
from .pool import Workers, worker_pool
from .standing import Parts, share_done

Share = Callable[[float], None]


class Finished(NamedTuple):
    """A job and its result.

    Attributes:
        job: that was done.
        result: of it.
        elsewhere: its CPU seconds that the clock of this process does not know, since they were
            spent in another one or before an interruption.
    """

    job: Job
    result: Result
    elsewhere: float


class Executor(ABC):
    """Runs jobs; where they run and where results lie is its own affair."""

    @abstractmethod
    def known(self, job: Job) -> Result | None:
        """Return the result of a job that is done, None before.

        Raises:
            ValueError: if what lies there is damaged.
        """

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Let a job begin as soon as there is room for it; who asks again changes nothing."""

    @abstractmethod
    def finished(self, jobs: Sequence[Job], tell: Share) -> Iterator[Finished]:
        """Yield different jobs as they finish; those that were done before are read.

        Args:
            jobs: submitted or not.
            tell: is told now and then the sum of the shares that are done of jobs under way.

        Raises:
            Exception: what a job raised, which then names the job. Jobs that are done stay so, and
                those under way keep their checkpoints.
        """

    def run(self, jobs: Sequence[Job], report: Report = silent) -> dict[str, Result]:
        """Return by key the results of jobs in their order, equal ones being done once.

        Args:
            jobs: of which those without result are done.
            report: is told how many are done, `done` with the shares of those under way.
        """
        distinct = {job.key: job for job in jobs}
        both = {key: (job, self.known(job)) for key, job in distinct.items()}
        results = {key: result for key, (_, result) in both.items() if result is not None}
        waiting = [job for job, result in both.values() if result is None]
        told = Parts(report)
        event = {"phase": "train", "step": len(results), "total": len(distinct)}
        told(event)
        for job, result, _ in self.finished(waiting, told.part):
            results[job.key] = result
            loss = job.loss(result)
            told(event | {"step": len(results)} | ({} if loss is None else {"loss": loss}))
        return {key: results[key] for key in distinct}


class _InFolder(Executor):
    """Keeps results in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def known(self, job: Job) -> Result | None:
        """Return the result of a job that is done, None before."""
        return known_result(self.folder, job)


class InProcess(_InFolder):
    """Runs jobs in this process, one after the other, when they are waited for."""

    def submit(self, job: Job) -> None:
        """Do nothing yet."""

    def finished(self, jobs: Sequence[Job], tell: Share) -> Iterator[Finished]:
        """Yield jobs in their order."""
        for job in jobs:
            start = cpu_seconds()
            result = perform(self.folder, job, lambda event: tell(event["step"] / event["total"]))
            yield Finished(job, result, max(0.0, result.cpu_seconds - (cpu_seconds() - start)))


class Processes(_InFolder):
    """Runs jobs in worker processes of this machine, so many at a time."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        """Keep results in a folder, which the workers write into."""
        super().__init__(folder)
        self.workers = workers
        self._sent: dict[str, Future[Result]] = {}

    def submit(self, job: Job) -> None:
        """Send a job to the workers, unless that was done before."""
        if job.key not in self._sent:
            self._sent[job.key] = self.workers.submit(perform, self.folder, job)

    def finished(self, jobs: Sequence[Job], tell: Share) -> Iterator[Finished]:
        """Yield jobs in the order in which they finish."""
        for job in jobs:
            self.submit(job)
        under_way = {self._sent[job.key]: job for job in jobs}
        while under_way:
            for future in wait(under_way, timeout=1, return_when=FIRST_COMPLETED).done:
                job = under_way.pop(future)
                try:
                    result = future.result()
                except Exception as error:  # also that of a worker which was killed
                    del self._sent[job.key]  # who asks again has it done again
                    name_job(error, job.title)
                    raise
                yield Finished(job, result, result.cpu_seconds)
            if under_way:
                tell(share_done(self.folder / job.key for job in under_way.values()))


@contextmanager
def opened(folder: Path, processes: int) -> Iterator[Executor]:
    """Open an executor of so many jobs at a time, and end its processes behind the block.

    Args:
        folder: of results, in which each job has one of its own.
        processes: one for this process alone.
    """
    if processes == 1:
        yield InProcess(folder)
        return
    with worker_pool(processes) as workers:
        yield Processes(folder, workers)
