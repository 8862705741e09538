"""Strategies and evaluators: nastk's own by name, the user's from a file or a Python program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..core.arch import Arch
from ..core.arguments import shown
from ..core.bounds import WORDS
from ..core.budget import Budget
from ..core.check import as_tuple
from ..core.lookup import lookup
from ..core.own_code import check_whole, find_class
from ..core.run import Run
from ..core.space import Space
from ..evaluators import EVALUATORS
from ..strategies import STRATEGIES
from ..training.evaluator import Evaluator
from ..training.strategy import Strategy
from .given import SpaceLike, given_data, given_space, name_of
from .manifest import absolute_space
from .trust import code_name

StrategyLike = str | type[Strategy] | Strategy
EvaluatorLike = str | type[Evaluator]


def find_strategy(name: str) -> type[Strategy]:
    """Return a strategy by its name, or from a file as `FILE.py:CLASS`; the file is run.

    Raises:
        ValueError: if there is none; the message suggests the nearest name.
    """
    return find_class(name, Strategy, "strategy", STRATEGIES)


def find_evaluator(name: str) -> type[Evaluator]:
    """Return an evaluator by its name, or from a file as `FILE.py:CLASS`; the file is run.

    Raises:
        ValueError: if there is none; the message suggests the nearest name.
    """
    return find_class(name, Evaluator, "evaluator", EVALUATORS)


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


def given_strategy(strategy: StrategyLike) -> tuple[str, dict[str, Any] | None]:
    """Return the name of a strategy as a run records it, and the options of an instance.

    Raises:
        ValueError: if it is no strategy.
    """
    if isinstance(strategy, str):
        return absolute_space(strategy), None
    family = strategy if isinstance(strategy, type) else type(strategy)
    if not issubclass(family, Strategy):
        raise ValueError(
            "strategy= takes a name, 'FILE.py:CLASS', a class derived from nastk.Strategy, or an "
            f"instance of one; got {shown(strategy)}"
        )
    options = None if isinstance(strategy, type) else _own_options(strategy)
    return _recorded_name(family, "strategy"), options


def given_evaluator(evaluator: EvaluatorLike) -> str:
    """Return the name of an evaluator as a run records it.

    Raises:
        ValueError: if it is no evaluator, or an instance, which has a problem already.
    """
    if isinstance(evaluator, str):
        return absolute_space(evaluator)
    if not isinstance(evaluator, type) or not issubclass(evaluator, Evaluator):
        raise ValueError(
            "evaluator= takes a name, 'FILE.py:CLASS', or a class derived from nastk.Evaluator, "
            f"whose options are evaluator_options; got {shown(evaluator)}"
        )
    return _recorded_name(evaluator, "evaluator")


def _recorded_name(family: Any, kind: str) -> str:
    """Return the name of a class: of the tables, of its file, or of this process."""
    known: Mapping[str, type] = STRATEGIES if kind == "strategy" else EVALUATORS
    if known.get(family.name) is family:
        return str(family.name)
    check_whole(family, kind)
    return name_of(family, find_strategy if kind == "strategy" else find_evaluator)


def _own_options(strategy: Strategy) -> dict[str, Any]:
    """Return the options of an instance that are not those it has by itself."""
    values = {f.name: (getattr(strategy, f.name), f.default) for f in dataclasses.fields(strategy)}
    return {name: value for name, (value, usual) in values.items() if value != usual}


def given_again(
    run: Run,
    space: SpaceLike | None,
    strategy: StrategyLike | None,
    evaluator: EvaluatorLike | None,
    data: Any,
) -> object:
    """Take again what a run was given in Python, each None where it is in a file.

    Returns:
        What has to be kept alive, so that its data are known.

    Raises:
        ValueError: if something is not what the run was begun with.
    """
    names, keep = {}, None
    if space is not None:
        names["space"] = given_space(space)[0]
    if strategy is not None:
        names["strategy"] = given_strategy(strategy)[0]
    if evaluator is not None:
        names["evaluator"] = given_evaluator(evaluator)
    if data is not None:
        names["data"], keep = given_data(data)
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
