"""A job is one long piece of work that ends in figures; a folder keeps what came out of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch

from .blame import name_job
from .files import jsonable
from .loop import Report, silent
from .machine import peak_memory_bytes
from .record import Between, Count, Record, Seconds, checked, read_record
from .run import Run, RunInUseError, held, write_json
from .standing import NAME as STANDING
from .standing import noted_in
from .torch_state import own_torch_state
from .worker import check_stop

_log = logging.getLogger(__name__)
_SECONDS = 0.5  # between two looks whether another process has ended

_Figures = float | None | list[float | None] | list[list[float | None]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Record):
    """`result.json` of a job.

    Attributes:
        job: what was done, by all that decides what comes out.
        metrics: what was measured: numbers, NaN where not finite, or lists of numbers.
        skipped: items that could not be read.
        seconds: wall time, parts before an interruption included.
        cpu_seconds: in the same way.
        peak_memory_bytes: of the process up to its end.
        threads: with which was computed.
        nastk: the version that wrote it.
    """

    job: dict[str, Any]
    metrics: dict[str, Any]
    skipped: list[str]
    seconds: Seconds
    cpu_seconds: Seconds
    peak_memory_bytes: Count
    threads: Annotated[int, Between(1)]
    nastk: str


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """One training still to be done, or another long piece of work that ends in figures.

    It holds names and numbers alone, so that it can be sent to wherever it runs. Jobs of equal
    content are one, whoever asks for them: what one command has trained the next one finds.

    Attributes:
        title: in messages, `the training of random-1 with seed 0`.
        threads: with which it computes.
    """

    title: str
    threads: int = 1

    @property
    @abstractmethod
    def content(self) -> dict[str, Any]:
        """All that decides the result, as JSON."""

    @property
    def needs(self) -> Sequence[str]:
        """Metrics that its result has to have."""
        return ()

    @abstractmethod
    def measure(self, run: Run, report: Report) -> tuple[dict[str, Any], Iterable[str]]:
        """Do the work, and return metrics and the names of items that could not be read.

        Args:
            run: for checkpoints, from which an interrupted job goes on.
            report: is told `step` and `total`; it raises where the job has to stop.
        """

    def loss(self, result: Result) -> float | None:
        """Return of a result what progress shows, None for nothing."""
        return None

    @cached_property
    def key(self) -> str:
        """Sixteen digits of a hash of the content."""
        text = json.dumps(jsonable(self.content), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def perform(folder: Path, job: Job, report: Report = silent) -> Result:
    """Do a job, or go on with it, and return its result; of one that is done it is read.

    One that another process works on, for another command say, is waited for.

    Args:
        folder: in which each job has one of its own.
        job: to do.
        report: is told `step` and `total`.

    Raises:
        ValueError: if the result that lies there is damaged, or is one of another job.
    """
    run = Run(folder / job.key)
    run.path.mkdir(parents=True, exist_ok=True)
    _wait_for(run, job)
    with held(run):
        if not (run.path / "result.json").is_file():
            _measure(run, job, report)
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
        for left in (STANDING, "skipped.json"):  # also of a process that was killed before this
            (run.path / left).unlink(missing_ok=True)
        return read_result(run.path / "result.json", job)


def _wait_for(run: Run, job: Job) -> None:
    """Take the lock of a job's folder as soon as no other process holds it."""
    is_said = False
    while True:
        try:
            run.acquire()
            return
        except RunInUseError:
            if not is_said:
                _log.warning("%s is under way in another process, and is waited for", job.title)
                is_said = True
            check_stop()
            time.sleep(_SECONDS)


def known_result(folder: Path, job: Job) -> Result | None:
    """Return the result of a job that is done, None before.

    Raises:
        ValueError: if what lies there is damaged, or is one of another job.
    """
    file = folder / job.key / "result.json"
    return read_result(file, job) if file.is_file() else None


def read_result(file: Path, job: Job | None = None) -> Result:
    """Return the result in a file, what is not finite as NaN.

    Args:
        file: of it.
        job: whose result it has to be.

    Raises:
        ValueError: naming the file, if it is damaged or of another job.
    """
    try:
        result = read_record(file, Result)
        checked({"metrics": result.metrics}, dict[str, dict[str, _Figures]], str(file))
        if job is not None and result.job != json.loads(json.dumps(jsonable(job.content))):
            raise ValueError(f"{file} is damaged: it is of another job than {job.title}")
        if lacking := [name for name in (job.needs if job else ()) if name not in result.metrics]:
            raise ValueError(f"{file} is damaged: it misses 'metrics.{lacking[0]}'")
    except ValueError as error:
        raise ValueError(f"{error}; remove the file to have that done again") from None
    metrics = {name: math.nan if v is None else v for name, v in result.metrics.items()}
    return dataclasses.replace(result, metrics=metrics)


def _measure(run: Run, job: Job, report: Report) -> None:
    """Do a job and write its result."""
    note = noted_in(run.path)

    def watch(event: dict[str, Any]) -> None:
        check_stop()
        note(event)
        report(event)

    with own_torch_state():
        torch.set_num_threads(job.threads)
        try:
            metrics, skipped = job.measure(run, watch)
        except Exception as error:
            name_job(error, job.title)
            raise
    keep_result(run.path, job, metrics, skipped, run.clock.spent)


def keep_result(
    place: Path,
    job: Job,
    metrics: Mapping[str, Any],
    skipped: Iterable[str],
    spent: tuple[float, float],
) -> None:
    """Write the result of a job.

    Args:
        place: the folder of this job.
        job: that is done.
        metrics: what was measured.
        skipped: items that could not be read.
        spent: wall and CPU seconds.
    """
    from .. import __version__

    result = {
        "job": job.content,
        "metrics": metrics,
        "skipped": sorted(skipped),
        "seconds": spent[0],
        "cpu_seconds": spent[1],
        "peak_memory_bytes": peak_memory_bytes(),
        "threads": job.threads,
        "nastk": __version__,
    }
    write_json(place / "result.json", result)
