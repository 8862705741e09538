"""Strategies and evaluators of a run, made by what its manifest says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..core.arch import Arch
from ..core.bounds import WORDS
from ..core.budget import Budget
from ..core.check import as_tuple
from ..core.lookup import lookup
from ..core.run import Run
from ..core.space import Space
from ..evaluators import EVALUATORS
from ..training.evaluator import Evaluator
from ..training.strategy import Strategy
from .data import chosen_data
from .named import EvaluatorLike, SpaceLike, StrategyLike, find_evaluator, find_strategy, given
from .trust import code_name


def recorded_strategy(run: Run) -> Strategy:
    """Return the strategy of a run; code runs only where the user trusts it.

    Raises:
        ValueError: if it is in a file that the user does not trust, or that is gone.
    """
    name, options = run.manifest.method
    if name == run.manifest.strategy:
        name = code_name("strategy", run.manifest, run.path)
    return make_strategy(find_strategy(str(name)), options)


def recorded_evaluator(run: Run) -> type[Evaluator]:
    """Return the evaluator of a run, `train` where it names none.

    Raises:
        ValueError: if it is in a file that the user does not trust, or that is gone.
    """
    if run.manifest.evaluator is None:
        return EVALUATORS["train"]
    return find_evaluator(code_name("evaluator", run.manifest, run.path))


def make_strategy(family: type[Strategy], options: Mapping[str, Any]) -> Strategy:
    """Return a strategy with options that were typed, or that come from a manifest.

    Raises:
        ValueError: if it has no such option, or cannot use its value.
    """
    fields = {field.name: field for field in dataclasses.fields(family) if field.init}
    for name in options:
        lookup(f"option of {family.name}", name, fields)
    try:
        return family(**{name: as_tuple(value) for name, value in options.items()})
    except TypeError as error:
        raise ValueError(f"the options of {family.name} do not make one: {error}") from error


def given_again(
    run: Run,
    space: SpaceLike | None,
    strategy: StrategyLike | None,
    evaluator: EvaluatorLike | None,
    data: Any,
    task: Any = None,
) -> object:
    """Take again what a run was given in Python, each None where it is in a file.

    Returns:
        What has to be kept alive, so that its data are known.

    Raises:
        ValueError: if something is not what the run was begun with.
    """
    again = {"space": space, "strategy": strategy, "evaluator": evaluator}
    names = {role: given(role, what).what for role, what in again.items() if what is not None}
    keep = None
    if data is not None or task is not None:
        names["data"], keep = chosen_data(data, task)
    for what, name in names.items():
        if name != (begun := run.manifest[what]):
            raise ValueError(
                f"this {what} ({name}) is not that of {run.path}, which has {begun}; give that, or "
                "begin another search"
            )
    return keep


def check_found(strategy: str, arch: Any, space: Space, budget: Budget) -> dict[str, int]:
    """Return the costs of what a strategy has found or asks for.

    Args:
        strategy: its name or `FILE.py:CLASS`, for the message.
        arch: what it returned.
        space: the target.
        budget: on the target's costs.

    Raises:
        ValueError: if that is no arch of the space, or not within the budget.
    """
    strategy = strategy.rpartition(":")[2]
    if not isinstance(arch, Arch):
        raise ValueError(f"strategy {strategy} returned {arch!r:.60}, which is no nastk.Arch")
    counted = space.cost.count(space.indices(arch))
    for part in budget.parts:
        count, word = counted[part.metric], WORDS[part.metric]
        if count > part.high or count < (part.low or 0):
            bounds = f"{part.low or 0:,} to {part.high:,}"
            raise ValueError(
                f"strategy {strategy} returned an arch of {count:,} {word}; the budget is {bounds}"
            )
    return counted
