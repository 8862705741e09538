"""Comparing a search result with references and random archs, or archs among themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..comparison.jobs import train_all, trainings
from ..comparison.summary import summary
from ..core.arguments import typed_arguments
from ..core.files import hash_of, make_folder
from ..core.loop import Report
from ..core.run import write_json
from ..evaluators.best import LOWER
from ..evaluators.train import measured_on
from ..records.data import chosen_data
from ..records.execution import Execution, computed_as
from ..records.manifest import circumstances
from ..records.naming import check_length, check_numbers
from ..training.changes import asked_changes, check_changes
from .field import Asked, data_of, field_of
from .guarding import guarded_call
from .planning import trainings_told
from .progress import shown


@typed_arguments
@guarded_call()
def compare(
    what: str | Path | Sequence[str | Path],
    *,
    seeds: int = 3,
    random: int | None = None,
    data: Any = None,
    task: Any = None,
    recipe: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    hold_out: bool = False,
    seed: int = 0,
    processes: int | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    workers: int = 0,
    precision: str | None = None,
    cuda_graph: bool | None = None,
    strict: bool = False,
    quiet: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train networks alike with several seeds and say where each stands.

    Given the run of a search, its arch stands beside those that it found for other budgets and
    beside its neighbours: the archs of the space with the most params, FLOPs and activations
    within the budget (which cost no search), random archs of the budget's band, and the
    references within 15 % of the budget. Given several archs, those stand beside each
    other. On embedded data all are trained as proxies, by the same rule. Given again, the command
    goes on with what is not trained yet.

    Args:
        what: run folder of a finished search; or run folders, arch.json files and published names.
        seeds: trainings of each network.
        random: number of random archs around a search, 8 if None.
        data: as for search; that of the runs, or digits-photo where there are none, if None.
        task: as for search.
        recipe: name in `RECIPES`; the short one on embedded data, else the space's.
        steps: number of updates; the recipe's epochs if None.
        epochs: passes over the training data instead of the recipe's.
        batch_size: images an update instead of the recipe's.
        lr: peak learning rate instead of the recipe's.
        hold_out: train on three quarters and measure on the last one, as searches do: the test
            split stays unread, and what the search has trained is not trained again.
        seed: of the random archs.
        processes: trainings at a time; one for each core if None, one on CUDA.
        out: folder of a comparison of archs, `runs/compare` if None; it may serve several.
        device: `cpu` or `cuda`.
        workers: processes of each training that decode images.
        precision: in which networks compute, as for search; as the runs among `what` did if None,
            else the default of the device. They are tested in float32.
        cuda_graph: record the update once and replay it, as for search; if None, where the runs
            did so and the device can.
        strict: refuse unreadable images instead of skipping them.
        quiet: show no progress.
        report: receives progress events instead of showing them.

    Returns:
        What `nastk.comparison.summary.summary` says, and `run` (None for archs) `data recipe
        recipe_sha256 split steps steps_of_the_recipe seconds record file`; the split is the one
        that was measured.

    Raises:
        ValueError: if an argument is wrong, or the run has found nothing yet.
    """
    check_numbers(seeds=seeds, random=random, seed=seed)
    check_numbers(steps=steps, workers=workers, processes=processes)
    start = time.perf_counter()
    names = [what] if isinstance(what, str | os.PathLike) else list(what)
    data, _alive = chosen_data(data, task, data_of(names) if data is None else None)
    check_length(steps, asked_changes(recipe)[1].get("epochs", epochs))
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    check_changes(**changes)
    way = computed_as(names, precision, cuda_graph, device)
    execution = Execution.asked(
        device=device,
        precision=way.precision,
        memory=way.memory,
        cuda_graph=way.cuda_graph,
        workers=workers,
        processes=processes,
        strict=strict,
        seed=seed,
    )
    asked = Asked(
        data=data,
        recipe=recipe,
        changes=changes,
        execution=execution,
        out=out,
        split="weights" if hold_out else "train",
    )
    field = field_of(names, asked, random)
    about = field.task.describe()
    entries = trainings(
        field.entrants,
        seeds,
        data=field.data,
        task=field.task,
        recipe=field.recipe,
        steps=steps,
        execution=execution,
        split=asked.split,
    )
    jobs = [job for _, job in entries]
    make_folder(field.trainings)  # refused before anything is trained
    with shown(report, quiet) as report:
        number = len({job.key for job in jobs})
        what = "1 training" if number == 1 else f"{number} trainings, each"
        size = field.task.size(asked.split)
        for line in way.lines + field.lines:
            report({"phase": "start", "step": 0, "total": 0, "say": line})
        told = trainings_told(report, field.task, what, field.recipe, size, steps)
        results = train_all(jobs, field.trainings, told)
    result = {
        **field.facts,
        "split": measured_on(asked.split),
        "steps": steps,
        "steps_of_the_recipe": field.recipe.num_steps(field.task.size(asked.split)),
        **_finite(summary(entries, results)),
        "seconds": time.perf_counter() - start,
        "record": circumstances(execution) | execution.numerics | {"data_record": about},
    }
    file = field.file or field.trainings / f"{hash_of(str([job.key for job in jobs]))}.json"
    write_json(file, result | {"file": str(file)})
    return result | {"file": str(file)}


def _finite(told: dict[str, Any]) -> dict[str, Any]:
    """Return what a comparison found, unless nothing has trained.

    Raises:
        RuntimeError: if every training has diverged.
    """
    if all(row["num_diverged"] == row["seeds"] for row in told["rows"]):
        raise RuntimeError(f"all trainings diverged ({told['num_trainings']}): {LOWER}")
    return told
