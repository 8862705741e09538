"""Building a tabular benchmark: every arch of a band trained with every seed, resumable."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core import streams
from ..core.executor import opened
from ..core.files import write_atomically
from ..core.job import Job, Result
from ..core.loop import Report, silent
from ..core.machine import cpu_name
from ..core.resolution import Resolution
from ..core.run import Run
from ..core.space import Space
from ..search_spaces import SPACES
from ..tasks.named import make_task
from ..training.recipe import Recipe
from ..training.recipes import DEMONSTRATION
from ..training.task import Task
from .stack import train_stack
from .table import SCHEMA, hash_of_content

# A archs, D choices

# At rates of 5e-3, 1e-2, 2e-2 and 5e-2 about the same share of the variance of the loss was due to
# the arch, measured on a dozen random archs.
RECIPE = dataclasses.replace(DEMONSTRATION, name="table", lr=1e-2)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a table holds.

    Attributes:
        space: name in `SPACES`.
        band: smallest and largest FLOPs of its archs.
        seeds: of initialisation and batches.
        data: as behind `--data`.
        recipe: how every arch is trained.
    """

    space: str = "mbconv-micro"
    band: tuple[int, int] = (160_000, 180_000)
    seeds: tuple[int, ...] = (0, 1, 2)
    data: str = "digits-photo"
    recipe: Recipe = RECIPE


@dataclass(frozen=True, kw_only=True)
class Row(Job):
    """The trainings of one arch with all seeds, at once; on one thread, to round alike everywhere.

    Attributes:
        plan: of the table.
        row: candidate indices of the arch.
        data_sha256: of the training data.
    """

    plan: Plan
    row: tuple[int, ...]
    data_sha256: str

    @property
    def content(self) -> dict[str, Any]:
        """All that decides the result, so not the band."""
        plan = dataclasses.asdict(self.plan)
        del plan["band"]
        about = {"arch": self.row, "data_sha256": self.data_sha256}
        return plan | about | {"streams": streams.VERSION}

    @property
    def needs(self) -> Sequence[str]:
        """What becomes a column of the table."""
        parts = ("validation", "test")
        return [f"{part}_{name}" for part in parts for name in ("loss_nats", "top1_percent")]

    def loss(self, result: Result) -> float:
        """Return the last loss of the first seed."""
        loss: float = result.metrics["validation_loss_nats"][0][-1]
        return loss

    def measure(self, run: Run, report: Report) -> tuple[dict[str, Any], Iterable[str]]:
        """Train the arch; what was interrupted begins again."""
        plan, space = self.plan, SPACES[self.plan.space]()
        task = _task(plan.data, space.resolution)
        arch = space.arch_at(dict(zip(space.choices(), self.row, strict=True)))
        networks = [space.build(arch, seed=seed) for seed in plan.seeds]
        start = time.process_time()
        epochs, test = train_stack(networks, task, plan.recipe, plan.seeds)
        seconds = (time.process_time() - start) / len(plan.seeds)
        metrics: dict[str, Any] = {"cpu_seconds": round(seconds, 2)}
        for metric, digits in (("loss_nats", 4), ("top1_percent", 2)):
            columns = zip(*(epoch[metric] for epoch in epochs), strict=True)
            metrics[f"validation_{metric}"] = [[round(v, digits) for v in c] for c in columns]
            metrics[f"test_{metric}"] = [round(v, digits) for v in test[metric]]
        return metrics, task.skipped


def archs_within(space: Space, band: tuple[int, int]) -> NDArray[np.int64]:
    """Return [A, D] candidate indices of all different archs of a band, in a fixed order.

    Every combination of candidates is visited, so the space must be small.
    """
    counts = space.num_candidates
    rows_AD = np.array(list(itertools.product(*map(range, counts.values()))))
    indices = dict(zip(counts, rows_AD.T, strict=True))
    active = space.cost.active(indices)
    flops = space.cost.flops.evaluate(indices)
    keep = (flops >= band[0]) & (flops <= band[1])
    for name, column in indices.items():
        keep &= active[name] | (column == 0)
    result: NDArray[np.int64] = rows_AD[keep]
    return result


def build(
    path: Path, plan: Plan, *, processes: int | None = None, report: Report = silent
) -> dict[str, Any]:
    """Train all archs of a plan and write the table; given again, it goes on.

    Finished trainings are kept in the folder `PATH.parts`, which may be removed afterwards.

    Args:
        path: of the table, a compressed JSON file.
        plan: what to train.
        processes: trainings at a time; one for each core if None.
        report: receives progress events.

    Raises:
        ValueError: if there is no folder for the table, or there is less than one process.
    """
    processes = processes if processes is not None else os.cpu_count() or 1
    if processes < 1:
        raise ValueError(f"--processes takes at least 1 training at a time, got {processes}")
    if not path.parent.is_dir():
        raise ValueError(f"no folder {path.parent} to write {path.name} to")
    space = SPACES[plan.space]()
    rows_AD = archs_within(space, plan.band)
    task = make_task(plan.data, space.resolution)
    sha256 = task.describe()["train_sha256"]
    jobs = [
        Row(title=f"the trainings of arch {row}", plan=plan, row=tuple(row), data_sha256=sha256)
        for row in rows_AD.tolist()
    ]
    with opened(path.with_name(f"{path.name}.parts"), processes) as executor:
        results = list(executor.run(jobs, report).values())
    content = _content(plan, space, rows_AD, task, results)
    content["sha256"] = hash_of_content(content)
    write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))
    return content


@lru_cache(maxsize=1)
def _task(data: str, resolution: Resolution) -> Task:
    return make_task(data, resolution)


def _content(
    plan: Plan, space: Space, rows_AD: NDArray[np.int64], task: Task, results: Sequence[Result]
) -> dict[str, Any]:
    """Return the table as JSON: what it is of, how it was made, and a column a figure."""
    ordered = [result.metrics for result in results]
    indices = dict(zip(space.choices(), rows_AD.T, strict=True))
    figures = [name for name in ordered[0] if name.partition("_")[0] in ("validation", "test")]
    return {
        "schema": SCHEMA,
        "space": space.name,
        "options": space.options,
        "choices": {name: list(c.candidates) for name, c in space.choices().items()},
        "band": list(plan.band),
        "seeds": list(plan.seeds),
        "recipe": dataclasses.asdict(plan.recipe),
        "record": _record(sum(row["cpu_seconds"] for row in ordered) * len(plan.seeds))
        | {"data": task.describe()},
        "archs": rows_AD.tolist(),
        "flops": space.cost.flops.evaluate(indices).tolist(),
        "params": space.cost.params.evaluate(indices).tolist(),
        "cpu_seconds": [row["cpu_seconds"] for row in ordered],
        **{name: [row[name] for row in ordered] for name in figures},
    }


def _record(cpu_seconds: float) -> dict[str, Any]:
    return {
        "command": "nastk bench table --out FILE",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "nastk": version("nastk"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "threads": 1,
        "cpu_seconds": round(cpu_seconds),
    }
