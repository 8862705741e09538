"""Comparing a search result with references and random archs, or archs among themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..comparison.contestants import Contestant, contestant, contestants
from ..comparison.jobs import TRAININGS, train_all, trainings
from ..comparison.summary import summary
from ..core.arch import Arch
from ..core.arguments import typed_arguments
from ..core.budget import recorded_budget
from ..core.files import hash_of, make_folder
from ..core.loop import Report
from ..core.resolution import as_typed, resolution_of, sides_of
from ..core.run import Run, write_json
from ..core.space import Space
from ..evaluators.best import LOWER
from ..evaluators.recipe import (
    Recipe,
    check_changes,
    default_recipe,
    find_recipe,
    recipe_hash,
    with_changes,
)
from ..evaluators.train import measured_on
from ..records.data import chosen_data
from ..records.execution import Execution, computed_as
from ..records.front import front_choices
from ..records.manifest import circumstances
from ..records.naming import (
    check_length,
    check_numbers,
    found_in,
    resolve,
    space_for,
    spaces_of,
    trained_space,
)
from ..records.trust import code_name
from ..tasks.named import DATA, find_data, is_embedded, make_task
from ..training.task import Task, fitted
from .guarding import guarded_call
from .planning import trainings_told
from .progress import shown

NUM_RANDOM = 8  # archs around that of a search


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
    data, _alive = chosen_data(data, task)
    names = [what] if isinstance(what, str | os.PathLike) else list(what)
    check_length(steps, epochs)
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    check_changes(**changes)
    way = computed_as(names, precision, cuda_graph, device)
    execution = Execution.asked(
        device=device,
        precision=way.precision,
        cuda_graph=way.cuda_graph,
        workers=workers,
        processes=processes,
        strict=strict,
        seed=seed,
    )
    asked = _Asked(
        data=data,
        recipe=recipe,
        changes=changes,
        execution=execution,
        out=out,
        split="weights" if hold_out else "train",
    )
    if len(names) == 1 and Path(names[0]).is_dir():
        field = _around(Path(names[0]), asked, NUM_RANDOM if random is None else random)
    elif random:
        raise ValueError("random archs need a budget: give one run of a search, or no --random")
    else:
        field = _given(names, asked)
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


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """How a comparison was asked for."""

    data: str | None
    recipe: str | None
    changes: Mapping[str, Any]
    execution: Execution
    out: str | Path | None
    split: str

    def recipe_of(self, spaces: Sequence[Space], task: Task) -> Recipe:
        """Return the recipe by which all are trained."""
        if self.recipe:
            return with_changes(find_recipe(self.recipe), **self.changes)
        recipes = {s.name: default_recipe(s, task) for s in spaces}
        if len(set(recipes.values())) > 1:
            ways = ", ".join(f"{name} by {recipe.name!r}" for name, recipe in recipes.items())
            raise ValueError(f"these networks train differently, {ways}: give one --recipe for all")
        return with_changes(recipes[spaces[0].name], **self.changes)


@dataclass(frozen=True, kw_only=True)
class _Field:
    """Who is compared, on what data and by what recipe, and where that is written."""

    entrants: list[Contestant]
    data: str
    task: Task
    recipe: Recipe
    trainings: Path
    file: Path | None = None  # None where each comparison has one of its own
    run: Path | None = None

    @property
    def lines(self) -> list[str]:
        """What the user has to know of it."""
        if self.run is None or not (self.run / "compare").is_dir():
            return []
        return [
            f"{self.run / 'compare'} holds trainings as versions before 0.2 kept them; they are "
            "not found again, and what is compared is trained anew"
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """What a result says of the field."""
        return {
            "run": None if self.run is None else str(self.run),
            "data": self.data,
            "recipe": self.recipe.name,
            "recipe_sha256": recipe_hash(self.recipe),
        }


def _around(path: Path, asked: _Asked, num_random: int) -> _Field:
    """Return the arch of a search and its neighbours."""
    if asked.out is not None:
        raise ValueError(f"{path} is a run, which is compared in its own folder: no --out")
    run = Run.open(path)
    (target, arch), manifest = found_in(run), run.manifest
    if manifest.limits is None:
        raise ValueError(f"{path} is no search, so there is no budget to compare under")
    data = asked.data or manifest["data"]
    trained = trained_space(run, data)
    task = make_task(data, trained.resolution, strict=asked.execution.strict)
    entrants = contestants(
        family=code_name("space", manifest, path),
        target=target,
        proxy=fitted(trained, task),
        arch=arch,
        budget=recorded_budget(manifest),
        num_random=num_random,
        seed=asked.execution.seed,
        front=front_choices(run),
    )
    return _Field(
        entrants=entrants,
        data=data,
        task=task,
        recipe=asked.recipe_of([target], task),
        trainings=run.path / TRAININGS,
        file=run.path / ("compare.json" if asked.split == "train" else "compare-held-out.json"),
        run=run.path,
    )


def _given(names: Sequence[str | Path], asked: _Asked) -> _Field:
    """Return archs by name, file or run, which stand beside each other."""
    data = asked.data or _data_of(names)
    find_data(data)
    found = [_resolved(what, data) for what in names]
    spaces = [trained for _, trained, _, _ in found]
    task = make_task(data, spaces[0].resolution, strict=asked.execution.strict)
    recipe = asked.recipe_of(spaces, task)
    if len(sizes := {sides_of(space.resolution) for space in spaces}) > 1:
        px = ", ".join(as_typed(resolution_of(sides)) for sides in sorted(sizes))
        raise ValueError(f"these networks train at {px} px: compare those of one resolution")
    entrants = []
    for name, (family, trained, target, arch) in zip(_short(names), found, strict=True):
        sized = fitted(trained, task)
        counted = target if is_embedded(data) else sized
        entrants.append(
            contestant(name, "given", family=family, target=counted, trained=sized, arch=arch)
        )
    return _Field(
        entrants=entrants,
        data=data,
        task=task,
        recipe=recipe,
        trainings=Path(asked.out) if asked.out else Path("runs", "compare"),
    )


def _data_of(names: Sequence[str | Path]) -> str:
    """Return the data that all runs among some archs searched on."""
    folders = [Path(name) for name in names if Path(name).is_dir()]
    known = sorted({Run.open(folder).manifest["data"] for folder in folders})
    if len(known) > 1:
        raise ValueError(f"these runs are of {' and '.join(known)}: say on which --data")
    return known[0] if known else DATA


def _resolved(what: str | Path, data: str) -> tuple[str, Space, Space, Arch]:
    """Return family, the space that is trained, the one whose cost is counted, and the arch."""
    target, arch = resolve(what)
    run = Run.open(Path(what)) if Path(what).is_dir() else None
    proxy = None if run is None else spaces_of(run)[1]
    family = target.name if run is None else code_name("space", run.manifest, run.path)
    return family, space_for(data, target, proxy), target, arch


def _short(names: Sequence[str | Path]) -> list[str]:
    """Return names without folder and .json, or as they were typed if those are not distinct."""
    for texts in ([Path(n).name.removesuffix(".json") for n in names], [str(n) for n in names]):
        if len(set(texts)) == len(texts):
            return texts
    twice = next(n for n in texts if texts.count(n) > 1)
    raise ValueError(f"{twice} is given twice: a comparison takes every arch once")
