"""Which evaluator a search asks: checked before the search, made from what its run records."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.check import MOST_NUMBER, as_tuple, typed_options
from ..core.lookup import lookup
from ..core.run import Run
from ..evaluators import EVALUATORS, Inherit, Train
from ..evaluators.inherit import load_supernet
from ..records.given import check_recordable
from ..records.manifest import check_same_data
from ..records.named import find_evaluator
from ..records.plugins import recorded_evaluator
from ..strategies import BlackBox
from ..training.evaluator import Evaluator
from ..training.strategy import Problem, Strategy
from .planning import recipe_of


def check_evaluator(
    strategy: Strategy,
    name: str | None,
    supernet: str | Path | None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest entries of a search that say how archs are evaluated.

    Args:
        strategy: what chooses.
        name: of the evaluator, or `FILE.py:CLASS`; `train` if None.
        supernet: folder of the search whose supernet `inherit` takes.
        options: fields of the evaluator that a user may set.

    Raises:
        ValueError: if strategy and evaluator do not go together, or something is missing.
    """
    evaluates = isinstance(strategy, BlackBox) and len(strategy.shares()) > 1
    family = find_evaluator(name or "train")
    if name is not None:
        if not isinstance(strategy, BlackBox):
            raise ValueError(f"{strategy.name} asks no evaluator; leave out --evaluator")
        if not evaluates and strategy.name == "random":
            raise ValueError(
                "random draws a single arch and evaluates none; add for example --evaluations 16"
            )
    _check_supernet(family, supernet)
    if not isinstance(strategy, BlackBox):
        if options:
            raise ValueError(f"{strategy.name} asks no evaluator; leave out --evaluator-set")
        return {}
    options = _checked_options(family, options or {})
    check_recordable(family.name, options)
    if strategy.steps is not None and not issubclass(family, Train):
        raise ValueError(f"evaluator {family.name!r} takes no number of steps; leave out --steps")
    if min(strategy.shares()) < 1 and not issubclass(family, Train):
        raise ValueError(f"{strategy.name} needs trainings of several lengths: --evaluator train")
    place = supernet and str(Path(supernet).resolve())
    return {"evaluator": name or "train", "supernet": place, "evaluator_options": options}


def _check_supernet(family: type[Evaluator], supernet: str | Path | None) -> None:
    """Refuse a supernet that nobody takes, and `inherit` without one."""
    if supernet is not None and not issubclass(family, Inherit):
        raise ValueError("--supernet is for --evaluator inherit; leave it out or add that")
    if issubclass(family, Inherit):
        if supernet is None:
            raise ValueError(
                "evaluator 'inherit' needs a trained supernet: --supernet RUN, the folder of a "
                "search by meta_kernel"
            )
        Run.open(Path(supernet))


def _checked_options(family: type[Evaluator], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of an evaluator; those it does not have or cannot use are refused."""
    name = family.name
    given_here = {f.name for base in (Train, Inherit) for f in dataclasses.fields(base)}
    own = {f.name for f in dataclasses.fields(family)}
    if EVALUATORS.get(name) is not family:
        if not issubclass(family, Train | Inherit):
            given_here = {"problem"}
        if options and not own - given_here:
            raise ValueError(f"evaluator {name!r} has no options; leave out --evaluator-set")
        return typed_options(family, options, own - given_here)
    hints = typing.get_type_hints(family)
    known = {key: hints[key] for key in own - {"share", "steps"}}
    known = {key: kind for key, kind in known.items() if kind in (bool, int, float, str)}
    if options and not known:
        raise ValueError(f"evaluator {name!r} has no options; leave out --evaluator-set")
    for option, value in options.items():
        kind = lookup(f"option of evaluator {name!r}", option, known)
        if type(value) is not kind or (kind is int and not 1 <= value <= MOST_NUMBER):
            wanted = {bool: "true or false", int: "a whole number above 0"}.get(kind, kind.__name__)
            raise ValueError(f"evaluator {name!r} takes as {option} {wanted}; got {value!r:.60}")
    return dict(options)


def make_evaluator(run: Run, problem: Problem) -> Evaluator:
    """Return the evaluator that a run's manifest names.

    Raises:
        ValueError: if the supernet that it needs is of another space or missing.
    """
    manifest = run.manifest
    family, settings = recorded_evaluator(run), {}
    if issubclass(family, Train):
        # Where no evaluator is named, the steps are those of a supernet and not of its finalists.
        steps = manifest.strategy_options.get("steps") if manifest.evaluator else None
        recipe = recipe_of(run, problem.space, problem.task)
        settings = {"recipe": recipe, "steps": steps}
    if issubclass(family, Inherit):
        owner = Run.open(Path(str(manifest.supernet)))
        if not owner.arch_path.is_file():
            raise ValueError(
                f"the search in {owner.path} has not ended; nastk search --resume {owner.path}"
            )
        trained, ours = (r.manifest.proxy for r in (owner, run))
        if owner.manifest["space"] != manifest["space"] or trained != ours:
            raise ValueError(
                f"the supernet in {owner.path} is of {owner.manifest['space']} with {trained}, "
                f"this search trains {manifest['space']} with {ours}; give them the same options"
            )
        check_same_data(owner, problem.task)
        settings = {"supernet": load_supernet(owner.path, problem.proxy)}
    options = {name: as_tuple(value) for name, value in manifest.evaluator_options.items()}
    try:
        return family(problem=problem, **settings, **options)
    except TypeError as error:
        raise ValueError(f"the options of {family.name} do not make one: {error}") from error
