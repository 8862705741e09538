"""Building a tabular benchmark: every arch of a band trained with every seed, resumable."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.files import read_json, write_atomically
from ..core.loop import Report, silent
from ..core.machine import cpu_name
from ..core.pool import worker_pool
from ..core.run import Run, held
from ..core.space import Space
from ..core.worker import check_stop
from ..evaluators.recipe import DEMONSTRATION, Recipe
from ..search_spaces import SPACES
from ..tasks.named import make_task
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
        ValueError: if the folder holds trainings of another plan or of other data, there is no
            folder for the table, or there is less than one process.
    """
    processes = processes if processes is not None else os.cpu_count() or 1
    if processes < 1:
        raise ValueError(f"--processes takes at least 1 training at a time, got {processes}")
    if not path.parent.is_dir():
        raise ValueError(f"no folder {path.parent} to write {path.name} to")
    space = SPACES[plan.space]()
    rows_AD = archs_within(space, plan.band)
    task = make_task(plan.data, space.resolution)
    parts = Run(path.with_name(f"{path.name}.parts"))
    parts.path.mkdir(parents=True, exist_ok=True)
    with held(parts):
        _claim(parts, plan, task)
        _train_all(parts, plan, rows_AD, processes, report)
        content = _content(parts, plan, space, rows_AD, task)
    content["sha256"] = hash_of_content(content)
    write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))
    return content


def _claim(parts: Run, plan: Plan, task: Task) -> None:
    """Note what the folder belongs to, or see that it is the same."""
    belongs = json.loads(json.dumps({"plan": dataclasses.asdict(plan), "data": task.describe()}))
    if not parts.manifest_path.exists():
        parts.update_manifest(belongs)
    known = read_json(parts.manifest_path)
    for key, value in belongs.items():
        if known[key] != value:
            raise ValueError(
                f"{parts.path} holds trainings of another {key}; remove it, or write elsewhere"
            )


def _train_all(
    parts: Run, plan: Plan, rows_AD: NDArray[np.int64], processes: int, report: Report
) -> None:
    """Train what has no event yet; events come in the order of finishing."""
    done = {tuple(event["arch"]) for event in parts.whole_events()}
    waiting = [row for row in map(tuple, rows_AD.tolist()) if row not in done]
    total = len(rows_AD)
    report({"phase": "train", "step": total - len(waiting), "total": total})
    if not waiting:
        return
    for number, result in enumerate(_results(plan, waiting, processes), total - len(waiting) + 1):
        parts.log(**result)
        loss = result["validation_loss_nats"][0][-1]
        report({"phase": "train", "step": number, "total": total, "loss": loss})


def _results(
    plan: Plan, rows: Sequence[tuple[int, ...]], processes: int
) -> Iterator[dict[str, Any]]:
    """Yield the results of the archs as they finish; with one process, of this one."""
    processes = min(processes, len(rows))
    if processes == 1:
        yield from (train_row(plan, row) for row in rows)
        return
    with worker_pool(processes) as pool:
        futures = [pool.submit(train_row, plan, row) for row in rows]
        for future in as_completed(futures):
            yield future.result()


@lru_cache(maxsize=1)
def _task(data: str, resolution: int) -> Task:
    return make_task(data, resolution)


def train_row(plan: Plan, row: Sequence[int]) -> dict[str, Any]:
    """Train an arch with all seeds at once; one thread, so that rounding is the same."""
    check_stop()
    space = SPACES[plan.space]()
    task = _task(plan.data, space.resolution)
    arch = space.arch_at(dict(zip(space.choices(), row, strict=True)))
    networks = [space.build(arch, seed=seed) for seed in plan.seeds]
    before, start = torch.get_num_threads(), time.process_time()
    torch.set_num_threads(1)
    try:
        epochs, test = train_stack(networks, task, plan.recipe, plan.seeds)
    finally:
        torch.set_num_threads(before)
    seconds = (time.process_time() - start) / len(plan.seeds)
    metrics: dict[str, Any] = {}
    for metric, digits in (("loss_nats", 4), ("top1_percent", 2)):
        columns = zip(*(epoch[metric] for epoch in epochs), strict=True)
        metrics[f"validation_{metric}"] = [[round(v, digits) for v in c] for c in columns]
        metrics[f"test_{metric}"] = [round(v, digits) for v in test[metric]]
    return {"arch": list(row), **metrics, "cpu_seconds": round(seconds, 2)}


def _content(
    parts: Run, plan: Plan, space: Space, rows_AD: NDArray[np.int64], task: Task
) -> dict[str, Any]:
    """Return the table as JSON: what it is of, how it was made, and a column a figure."""
    events = {tuple(event["arch"]): event for event in parts.whole_events()}
    ordered = [events[row] for row in map(tuple, rows_AD.tolist())]
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
        "record": _record(sum(event["cpu_seconds"] for event in ordered) * len(plan.seeds))
        | {"data": task.describe()},
        "archs": rows_AD.tolist(),
        "flops": space.cost.flops.evaluate(indices).tolist(),
        "params": space.cost.params.evaluate(indices).tolist(),
        "cpu_seconds": [event["cpu_seconds"] for event in ordered],
        **{name: [event[name] for event in ordered] for name in figures},
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
