"""Trainings of single archs, each complete enough to be done, and found again, anywhere."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from ..core import streams
from ..core.arch import Arch
from ..core.executor import opened
from ..core.in_memory import is_in_memory
from ..core.job import Job, Result, keep_result
from ..core.loop import Report
from ..core.resolution import Resolution
from ..core.run import Run
from ..core.space import Space
from ..evaluators.train import Training, measured_on
from ..nasbench.families import find_space, make_space
from ..records.execution import Execution
from ..records.trust import code_name
from ..tasks.images.held import share_held
from ..tasks.named import Added, added, make_task, metrics_of
from ..tasks.own import is_own, place_of
from ..training.recipe import Recipe
from ..training.skipped import remember_skipped
from ..training.task import Task
from .code import code_behind, essence, essence_of_data
from .contestants import Contestant

_log = logging.getLogger(__name__)
TRAININGS = "trainings"
"""The folder of results within a run: what a search has trained, `compare` and evidence find."""

ENGINE = 1
"""Of what a training computes: raised where blocks, losses or optimisers give other numbers."""

# Of a recipe: what it is called, and what the number of updates says by itself.
_NOT_DONE = ("name", "epochs", "least_steps")


@dataclass(frozen=True, kw_only=True)
class TrainingJob(Job):
    """One training of one arch from scratch.

    On split `train` it is measured on the test split; on split `weights`, as a search measures it,
    on the architecture split.

    Attributes:
        space: by name, or `FILE.py:CLASS`.
        options: of the space that is trained.
        choices: of the arch.
        data: by name.
        data_sha256: of the training data, which tells what once stood at the same path from what
            stands there now.
        recipe: how.
        steps: number of updates.
        execution: how it computes; with its seed.
        split: on which.
        test_sha256: of the test data, where it is measured on them and they say it.
        kind: of the data, where a program has added it.
    """

    space: str
    options: Mapping[str, Any]
    choices: Mapping[str, Any]
    data: str
    data_sha256: str
    recipe: Recipe
    steps: int
    execution: Execution
    split: str = "train"
    test_sha256: str = ""
    kind: Added | None = None

    @cached_property
    def content(self) -> dict[str, Any]:
        """All that decides the result; of a recipe what it has of its own, so that new settings
        which change nothing leave a training what it was."""
        fields = {field.name: field.default for field in dataclasses.fields(self.recipe)}
        settings = dataclasses.asdict(self.recipe).items()
        how = self.execution
        return {
            "space": essence(self.space),
            "options": dict(self.options),
            "choices": dict(self.choices),
            "data": essence_of_data(self.data),
            "data_sha256": self.data_sha256,
            "recipe": {k: v for k, v in settings if k not in _NOT_DONE and v != fields[k]},
            "steps": self.steps,
            "split": self.split,
            "seed": how.seed,
            "streams": streams.VERSION,
            "engine": ENGINE,
            "device": how.place.type,
            **how.numerics,
            **({"test_sha256": self.test_sha256} if self.test_sha256 else {}),
            **({"code": code} if (code := code_behind(self.space, self.data)) else {}),
        }

    @property
    def needs(self) -> Sequence[str]:
        """The metrics of the task on the split that it is measured on."""
        return [f"{measured_on(self.split)}_{metric.name}" for metric in metrics_of(self.data)]

    def loss(self, result: Result) -> float:
        """Return the metric by which networks are compared."""
        value: float = result.metrics[self.needs[0]]
        return value

    def measure(self, run: Run, report: Report) -> tuple[dict[str, float], Iterable[str]]:
        """Train the arch and measure it."""
        how = self.execution
        space = make_space(find_space(self.space), self.options)
        task = _task(self.data, space.resolution, how.workers, how.strict)
        self._check_unchanged(task)
        task.skipped = frozenset()
        training = Training(
            network=space.build(self.choices, seed=how.seed),
            task=task,
            recipe=self.recipe,
            seed=how.seed,
            steps=self.steps,
            device=how.place,
            memory=how.memory,
            precision=how.precision,
            cuda_graph=how.cuda_graph,
            run=run,
            name="train",
            split=self.split,
            keeps_best=False,
        )
        metrics = training.tested(remember_skipped(task, run.path / "skipped.json", report))
        return metrics, task.skipped

    def _check_unchanged(self, task: Task) -> None:
        """See that code and data are those by which this training will be found again.

        What a task of a user's own hashes may depend on the resolution, so of it the code alone.

        Raises:
            ValueError: naming what has changed since the command began.
        """
        about = self.content
        is_same = {
            self.space: essence(self.space) == about["space"],
            self.data: essence_of_data(self.data) == about["data"]
            and (is_own(self.data) or task.describe()["train_sha256"] == self.data_sha256),
        }
        if changed := [name for name, same in is_same.items() if not same]:
            raise ValueError(
                f"{changed[0]} has changed since this command began; give the command again, which "
                "keeps what is trained"
            )


Entry = tuple[Contestant, TrainingJob]
"""One training of a contestant."""


def trainings(
    entrants: Sequence[Contestant],
    seeds: int,
    *,
    data: str,
    task: Task,
    recipe: Recipe,
    steps: int | None,
    execution: Execution,
    split: str = "train",
) -> list[Entry]:
    """Return the trainings of contestants, those of the first seed in front.

    Args:
        entrants: who is trained.
        seeds: so often, with the seeds from 0 on.
        data: by name.
        task: of these data.
        recipe: how.
        steps: number of updates; the recipe's epochs if None.
        execution: of all of them.
        split: on which.
    """
    sha256 = task.describe()["train_sha256"]
    test_sha256 = task.test_sha256() if split == "train" else ""
    return [
        (
            entrant,
            TrainingJob(
                title=f"the training of {entrant.name} with seed {seed}",
                threads=execution.each(seed).threads,
                space=entrant.family,
                options=dict(entrant.options),
                choices=dict(entrant.choices),
                data=data,
                data_sha256=sha256,
                recipe=recipe,
                steps=steps or recipe.num_steps(task.size(split)),
                execution=execution.each(seed),
                split=split,
                test_sha256=test_sha256,
                kind=added(data),
            ),
        )
        for seed in range(seeds)
        for entrant in entrants
    ]


def train_all(jobs: Sequence[TrainingJob], folder: Path, report: Report) -> dict[str, Result]:
    """Return results by key; trainings that have none yet are done, as many at a time as they say.

    Args:
        jobs: trainings, equal ones of which are done once.
        folder: of results.
        report: receives progress events.

    Raises:
        ValueError: also if unreadable images are refused, and one that is done has left some out.
    """
    first = jobs[0]
    names = [*{job.space: None for job in jobs}, place_of(first.data)]
    processes = processes_for(names, first.execution.at_a_time)
    if processes > 1:
        share_held()
    try:
        with opened(folder, processes) as executor:
            results = executor.run(jobs, report)
    finally:
        _task.cache_clear()  # it holds data, which may be others at the next call
    lacking = [name for result in results.values() for name in result.skipped]
    if first.execution.strict and lacking:
        raise ValueError(
            f"cannot read image {lacking[0]}, which a training that is done has left out; remove "
            "it, or run without --strict"
        )
    return results


def processes_for(names: Iterable[str], at_a_time: int) -> int:
    """Return how many processes work on jobs: this one alone where no other finds what they need.

    Args:
        names: of what they need: spaces, tasks and other classes.
        at_a_time: so many where all of it is found.
    """
    held = [name for name in names if is_in_memory(name)]
    if held and at_a_time > 1:
        _log.warning(
            "%s was given in Python and is in no file, so that no other process finds it: what is "
            "to be trained is trained here, one after the other",
            held[0],
        )
    return 1 if held else at_a_time


def job_of(
    run: Run, training: Training, space: Space, arch: Arch, data: str, execution: Execution
) -> TrainingJob:
    """Return a training from scratch of the arch of a run as a job of its own.

    Args:
        run: whose arch it is.
        training: of it.
        space: that is trained.
        arch: of it.
        data: by name.
        execution: how it computes.
    """
    task, split = training.task, training.split
    return TrainingJob(
        title=training.name,
        threads=torch.get_num_threads(),
        space=code_name("space", run.manifest, run.path),
        options=space.options,
        choices=dict(arch.choices),
        data=data,
        data_sha256=task.describe()["train_sha256"],
        recipe=training.recipe,
        steps=training.steps or training.recipe.num_steps(task.size(split)),
        execution=execution,
        split=split,
        test_sha256=task.test_sha256() if split == "train" else "",
    )


def keep_training(
    run: Run,
    job: TrainingJob,
    metrics: Mapping[str, float],
    skipped: Iterable[str],
    spent: tuple[float, float],
) -> None:
    """Keep in a run the result of a training that was done elsewhere, where there is none yet.

    Args:
        run: whose arch it is.
        job: that is done.
        metrics: what was measured.
        skipped: items that could not be read.
        spent: wall and CPU seconds.
    """
    place = run.path / TRAININGS / job.key
    if not (place / "result.json").is_file():
        place.mkdir(parents=True, exist_ok=True)
        keep_result(place, job, {name: metrics[name] for name in job.needs}, skipped, spent)


@lru_cache(maxsize=2)
def _task(data: str, resolution: Resolution, workers: int, strict: bool) -> Task:
    return make_task(data, resolution, workers=workers, strict=strict)
