"""Does the found arch beat its neighbours? All are trained by one recipe with the same seeds."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from ..core.in_memory import is_in_file, is_in_memory
from ..core.loop import Report
from ..core.pool import worker_pool
from ..core.ranked import as_ranked
from ..core.run import Run, write_json
from ..core.standing import NAME as STANDING
from ..core.standing import noted_in, share_done
from ..core.worker import check_stop
from ..evaluators.recipe import find_recipe
from ..evaluators.train import Training
from ..nasbench.families import find_space, make_space
from ..records.execution import Execution
from ..records.results import read_metrics
from ..tasks.images.held import share_held
from ..tasks.named import make_task, metrics_of
from ..tasks.own import can_be_shared
from ..training.skipped import remember_skipped
from ..training.task import Task, gaining, measure
from .contestants import Contestant


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training of one contestant, complete enough for another process.

    The hash of its training data tells what once stood at the same path from what stands there now.
    On split `train` it is measured on the test split; on split `weights`, as a search would
    measure it, on the architecture split.
    """

    contestant: Contestant
    data: str
    data_sha256: str
    recipe: str
    steps: int | None
    folder: str
    execution: Execution
    split: str = "train"

    @property
    def way(self) -> str:
        """How the network computes, as a part of names; nothing for float32 on a CPU.

        So results that were kept before precisions were told apart are those of float32. On CUDA
        they were of its default, which the name did not say: there it always does.
        """
        how = self.execution
        is_plain = how.precision == "float32" and how.place.type == "cpu"
        parts = [] if is_plain else [how.precision]
        return "".join(f"{part}-" for part in [*parts, *["graph"] * how.cuda_graph])

    @property
    def path(self) -> Path:
        """Folder of the training; its name says everything that decides the result."""
        member = self.contestant
        content = ""
        if is_in_file(member.family):
            file = Path(member.family.rpartition(":")[0])
            content = file.read_bytes().decode(errors="replace")
        network = json.dumps([member.family, member.options, member.choices], sort_keys=True)
        digest = hash_of(network + self.data + self.data_sha256 + content + self.execution.memory)
        length = "full" if self.steps is None else self.steps
        part = "" if self.split == "train" else f"{self.split}-"
        name = f"{digest}-{self.recipe}-{length}-{self.way}{part}{self.execution.seed}"
        return Path(self.folder, name)

    @property
    def measured(self) -> str:
        """Split on which the trained network is measured."""
        return "test" if self.split == "train" else "architecture"

    @property
    def result(self) -> dict[str, float] | None:
        """Metrics of the finished training, None before."""
        file = self.path / "metrics.json"
        if not file.is_file():
            return None
        return read_metrics(file, *(f"{self.measured}_{m.name}" for m in metrics_of(self.data)))

    def chosen_by(self, metrics: Mapping[str, float]) -> float:
        """Return of metrics of this training the one by which networks are compared."""
        return metrics[f"{self.measured}_{metrics_of(self.data)[0].name}"]


def hash_of(text: str) -> str:
    """Return a short content hash."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:10]


def train_all(jobs: Sequence[Job], report: Report) -> None:
    """Run the trainings that have no result yet, so many at a time as the first says.

    A stopped comparison keeps every finished training, and the checkpoints of unfinished ones.
    """
    distinct = {job.path: job for job in jobs}  # equal archs train once
    waiting = [job for job in distinct.values() if job.result is None]
    total = len(distinct)
    done = total - len(waiting)
    report({"phase": "train", "step": done, "total": total})
    if not waiting:
        return
    is_alone = any(is_in_memory(job.contestant.family) for job in waiting)
    if is_alone or not can_be_shared(waiting[0].data):  # no other process could find them
        for job in waiting:
            begun = {"phase": "train", "step": done, "total": total}
            loss = job.chosen_by(train_one(job, partial(_tell, report, begun)))
            done += 1
            report({"phase": "train", "step": done, "total": total, "loss": loss})
        return
    share_held()
    with worker_pool(min(jobs[0].execution.at_a_time, len(waiting))) as pool:
        under_way = {pool.submit(train_one, job): job for job in waiting}
        event: dict[str, Any] = {"phase": "train", "step": done, "total": total}
        while under_way:
            for future in wait(under_way, timeout=1, return_when=FIRST_COMPLETED).done:
                job = under_way.pop(future)
                done += 1
                loss = job.chosen_by(future.result())
                event = {"phase": "train", "step": done, "total": total, "loss": loss}
                report(event)
            if under_way:
                parts = share_done(job.path for job in under_way.values())
                report(event | {"done": done + parts})


@lru_cache(maxsize=2)
def _task(data: str, resolution: int, workers: int, strict: bool) -> Task:
    return make_task(data, resolution, workers=workers, strict=strict)


def _tell(report: Report, begun: dict[str, Any], share: float) -> None:
    report(begun | {"done": begun["step"] + share})


def train_one(job: Job, tell: Callable[[float], None] = lambda share: None) -> dict[str, float]:
    """Train one contestant with one seed and write its metrics; tell the share that is done."""
    how = job.execution
    torch.set_num_threads(how.threads)
    job.path.mkdir(parents=True, exist_ok=True)
    run = Run(job.path)
    run.acquire()
    try:
        space = make_space(find_space(job.contestant.family), job.contestant.options)
        task = _task(job.data, space.resolution, how.workers, how.strict)

        note = noted_in(job.path)

        def watch(event: dict[str, Any]) -> None:
            check_stop()
            note(event)
            tell(event["step"] / event["total"])

        training = Training(
            network=space.build(job.contestant.choices, seed=how.seed),
            task=task,
            recipe=find_recipe(job.recipe),
            seed=how.seed,
            steps=job.steps,
            device=how.place,
            memory=how.memory,
            precision=how.precision,
            cuda_graph=how.cuda_graph,
            run=run,
            split=job.split,
            keeps_best=False,
        )
        watch = remember_skipped(task, job.path / "skipped.json", watch)
        metrics = measure(training.fit(watch), task, job.measured, how.place)
        metrics["num_skipped"] = task.num_skipped
        metrics["seconds"], metrics["cpu_seconds"] = run.clock.spent
        write_json(job.path / "metrics.json", metrics)
        shutil.rmtree(job.path / "checkpoints", ignore_errors=True)
        (job.path / STANDING).unlink(missing_ok=True)
        return metrics
    finally:
        run.release()


def summary(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return mean and spread of every contestant, and what all of it cost.

    Returns:
        `rows` (one a contestant), `num_trainings`, `num_skipped` (the most unreadable images that a
        training met), `cpu_seconds`, and of the device, that is of the CPU or wall on a GPU,
        `device_seconds` of all trainings and `training_seconds`, the median of one: the first of
        each process reads the data as well. Where random archs stand beside a found one also
        `random_mean_METRIC`, `random_spread_METRIC` of the first, `improvement_percent`
        (100 (a - r)/r with a the found arch and r the random mean in the first metric that grows)
        and `rank` of the found arch among the random ones by the first metric (1 is best). What is
        not finite ranks last; what it goes into is not finite either, or has no spread.
    """
    rows = list(_rows(jobs))
    found = next((row for row in rows if row["kind"] == "found"), None)
    rivals = [row for row in rows if row["kind"] == "random"]
    by_path = {job.path: job.result for job in jobs}
    results = [result for result in by_path.values() if result is not None]
    clock = "cpu_seconds" if jobs[0].execution.device == "cpu" else "seconds"
    seconds = [result[clock] for result in results]
    answer: dict[str, Any] = {
        "rows": rows,
        "num_trainings": len(by_path),
        "num_skipped": int(max((result["num_skipped"] for result in results), default=0)),
        "cpu_seconds": sum(result["cpu_seconds"] for result in results),
        "device_seconds": sum(seconds),
        "training_seconds": statistics.median(seconds),
    }
    if found and rivals:
        metrics = metrics_of(jobs[0].data)
        first, told = metrics[0], gaining(metrics)
        for metric in metrics:
            values = [row[metric.name] for row in rivals]
            answer[f"random_mean_{metric.name}"] = statistics.mean(values)
        answer[f"random_spread_{first.name}"] = _spread([row[first.name] for row in rivals])
        mean = answer[f"random_mean_{told.name}"]
        gain = told.cost(mean) - told.cost(found[told.name])
        answer["improvement_percent"] = 100 * gain / mean if mean else math.nan
        own = as_ranked(first.cost(found[first.name]))
        better = [row for row in rivals if as_ranked(first.cost(row[first.name])) < own]
        # One that has diverged is the last, also of many that have.
        answer["rank"] = 1 + len(better if math.isfinite(own) else rivals)
    return answer


def _rows(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    for contestant in dict.fromkeys(job.contestant.name for job in jobs):
        mine = [job for job in jobs if job.contestant.name == contestant]
        results = [result for job in mine if (result := job.result) is not None]
        first, *others = metrics_of(mine[0].data)
        values = {m.name: [r[f"test_{m.name}"] for r in results] for m in (first, *others)}
        chosen = mine[0].contestant
        yield {
            "name": chosen.name,
            "kind": chosen.kind,
            "flops": chosen.flops,
            "params": chosen.params,
            "inside_budget": chosen.inside_budget,
            "seeds": len(results),
            "num_diverged": sum(not math.isfinite(value) for value in values[first.name]),
            first.values: values[first.name],
            **{
                key: value
                for metric in (first, *others)
                for key, value in (
                    (metric.name, statistics.mean(values[metric.name])),
                    (metric.spread, _spread(values[metric.name])),
                )
            },
            "seconds": sum(result["seconds"] for result in results),
        }


def _spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation, None for a single value or where one is not finite."""
    known = len(values) > 1 and all(map(math.isfinite, values))
    return statistics.stdev(values) if known else None
