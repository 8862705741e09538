"""Comparing a search result with references and random archs, trained alike."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from .core.budget import Budget
from .core.lookup import lookup
from .core.loop import Report, silent
from .core.run import Run, write_json
from .evaluators.recipe import RECIPES, default_recipe, recipe_hash
from .evaluators.tasks import make_task
from .manifests import absolute_data, circumstances
from .naming import check_numbers, find_device, spaces_of
from .nasbench.compare import Job, default_processes, summary, threads_each, train_all
from .nasbench.contestants import contestants
from .ops.chain import default_memory


def compare(
    what: str | Path,
    *,
    seeds: int = 3,
    random: int = 8,
    data: str | None = None,
    recipe: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    processes: int | None = None,
    device: str = "cpu",
    workers: int = 0,
    strict: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Train the found arch and its neighbours alike and say where it stands.

    The neighbours: the arch of the space with the most params within the budget (which costs no
    search), random archs of the budget's band, and the references within 15 % of the budget. On
    embedded data all are trained as proxies, by the same rule. Given again, the command goes on
    with what is not trained yet.

    Args:
        what: run folder of a finished search.
        seeds: trainings of each network.
        random: number of random archs.
        data: as for search; the run's own if None.
        recipe: name in `RECIPES`; the short one on embedded data, else the space's.
        steps: number of updates; the recipe's epochs if None.
        seed: of the random archs.
        processes: trainings at a time; one for each core if None, one on CUDA.
        device: `cpu` or `cuda`.
        workers: processes of each training that decode images.
        strict: refuse unreadable images instead of skipping them.
        report: receives progress events.

    Returns:
        What `nastk.nasbench.compare.summary` says, and `run data recipe recipe_sha256 steps
        steps_of_the_recipe seconds record`.

    Raises:
        ValueError: if an argument is wrong, or the run has found nothing yet.
    """
    if seeds < 1 or random < 0:
        raise ValueError(f"compare needs at least 1 seed and 0 random archs, got {seeds}, {random}")
    check_numbers(seed=seed, steps=steps, workers=workers, processes=processes)
    memory = default_memory(find_device(device))
    start = time.perf_counter()
    run = Run.open(Path(what))
    arch, manifest = run.arch, run.manifest
    if "budget" not in manifest:
        raise ValueError(f"{what} is no search, so there is no budget to compare under")
    named = lookup("recipe", recipe, RECIPES) if recipe else None
    data = absolute_data(data) if data else manifest["data"]
    target, proxy = spaces_of(manifest)
    trained = target if ":" in data else proxy
    task = make_task(data, trained.resolution, strict=strict)
    trained = dataclasses.replace(trained, num_classes=task.num_classes)
    chosen = named or default_recipe(target, is_demonstration=task.is_demonstration)
    if processes is None:
        processes = default_processes(device)
    entrants = contestants(
        family=manifest["space"],
        target=target,
        proxy=trained,
        arch=arch,
        budget=Budget(*manifest["budget"]),
        num_random=random,
        seed=seed,
    )
    jobs = [
        Job(
            contestant=entrant,
            seed=number,
            data=data,
            recipe=chosen.name,
            steps=steps,
            device=device,
            workers=workers,
            strict=strict,
            memory=memory,
            threads=threads_each(processes),
            folder=str(run.path / "compare"),
        )
        for number in range(seeds)
        for entrant in entrants
    ]
    train_all(jobs, processes, report)
    how = circumstances(seed=seed, device=device, workers=workers, strict=strict)
    result = {
        "run": str(run.path),
        "data": data,
        "recipe": chosen.name,
        "recipe_sha256": recipe_hash(chosen),
        "steps": steps,
        "steps_of_the_recipe": chosen.num_steps(task.size("train")),
        **summary(jobs),
        "seconds": time.perf_counter() - start,
        "record": how | {"data_record": task.describe()},
    }
    write_json(run.path / "compare.json", result)
    return result
