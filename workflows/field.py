"""Who takes part in a comparison, by what was typed: a search and its neighbours, or archs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..comparison.contestants import Contestant, contestant, contestants
from ..comparison.jobs import TRAININGS
from ..core.arch import Arch
from ..core.budget import recorded_budget
from ..core.resolution import as_typed, resolution_of, sides_of
from ..core.run import Run
from ..core.space import Space
from ..records.execution import Execution
from ..records.front import front_choices
from ..records.naming import found_in, resolve, space_for, spaces_of, trained_space
from ..records.trust import code_name
from ..tasks.named import DATA, find_data, is_embedded, make_task
from ..tasks.own import is_own, record_of
from ..training.changes import asked_changes, with_changes
from ..training.recipe import ANY, Recipe, recipe_hash
from ..training.recipes import asked_recipe, check_amounts, default_recipe
from ..training.task import Task, fitted

NUM_RANDOM = 8  # archs around that of a search


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a comparison was asked for."""

    data: str
    recipe: str | None
    changes: Mapping[str, Any]
    execution: Execution
    out: str | Path | None
    split: str

    def recipe_of(self, spaces: Sequence[Space], task: Task) -> Recipe:
        """Return the recipe by which all are trained."""
        check_amounts(self.recipe, type(task))
        if asked_changes(self.recipe)[0] is not None:
            return with_changes(asked_recipe(self.recipe, ANY), **self.changes)
        recipes = {s.name: default_recipe(s, task) for s in spaces}
        if len(set(recipes.values())) > 1:
            ways = ", ".join(f"{name} by {recipe.name!r}" for name, recipe in recipes.items())
            raise ValueError(f"these networks train differently, {ways}: give one --recipe for all")
        usual = recipes[spaces[0].name]
        return with_changes(asked_recipe(self.recipe, usual), **self.changes)


@dataclass(frozen=True, kw_only=True)
class Field:
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
            **({"task_record": record_of(type(self.task))} if is_own(self.data) else {}),
            "recipe": self.recipe.name,
            "recipe_sha256": recipe_hash(self.recipe),
        }


def field_of(names: Sequence[str | Path], asked: Asked, num_random: int | None) -> Field:
    """Return who is compared where these archs or this one run are given.

    Args:
        names: run folders, arch.json files and published names.
        asked: how the comparison was asked for.
        num_random: random archs around a search, 8 if None.

    Raises:
        ValueError: if they cannot stand beside each other.
    """
    if len(names) == 1 and Path(names[0]).is_dir():
        return _around(Path(names[0]), asked, NUM_RANDOM if num_random is None else num_random)
    if num_random:
        raise ValueError("random archs need a budget: give one run of a search, or no --random")
    return _given(names, asked)


def _around(path: Path, asked: Asked, num_random: int) -> Field:
    """Return the arch of a search and its neighbours."""
    if asked.out is not None:
        raise ValueError(f"{path} is a run, which is compared in its own folder: no --out")
    run = Run.open(path)
    (target, arch), manifest = found_in(run), run.manifest
    if manifest.limits is None:
        raise ValueError(f"{path} is no search, so there is no budget to compare under")
    data = asked.data
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
    return Field(
        entrants=entrants,
        data=data,
        task=task,
        recipe=asked.recipe_of([target], task),
        trainings=run.path / TRAININGS,
        file=run.path / ("compare.json" if asked.split == "train" else "compare-held-out.json"),
        run=run.path,
    )


def _given(names: Sequence[str | Path], asked: Asked) -> Field:
    """Return archs by name, file or run, which stand beside each other."""
    data = asked.data
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
    return Field(
        entrants=entrants,
        data=data,
        task=task,
        recipe=recipe,
        trainings=Path(asked.out) if asked.out else Path("runs", "compare"),
    )


def data_of(names: Sequence[str | Path]) -> str:
    """Return the data that all runs among some archs searched on, embedded ones without a run.

    Raises:
        ValueError: if runs differ.
    """
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
