"""A search as it is asked for becomes what its run records; nothing is written yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.check import typed_options
from ..core.lookup import lookup
from ..core.space import Space
from ..evaluators import Inherit
from ..nasbench.families import find_space, make_space
from ..records.execution import Execution
from ..records.given import Budgets, Front, budget_texts, by_cost, check_recordable
from ..records.manifest import circumstances, manifest_of
from ..records.named import find_evaluator, find_strategy, given
from ..records.naming import check_length, check_numbers
from ..records.plugins import make_strategy
from ..records.reading import proxy_of
from ..strategies.supernet_strategy import OF_RECIPE, SupernetStrategy
from ..tasks.named import family_of, find_data
from ..training.changes import asked_changes
from ..training.recipe import ANY
from ..training.recipes import asked_recipe, check_amounts
from ..training.strategy import Strategy
from ..training.task import Task, aimed, sizes_of_kind
from .appointing import check_evaluator
from .fronts import HIGHEST, check_front, split_budgets
from .planning import check_followed


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A search as it was asked for, checked.

    Attributes:
        name: after which its folder is called unless it has one.
        manifest: what its run records.
    """

    name: str
    manifest: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a search chooses, checked.

    Attributes:
        strategy: with all of its settings.
        entries: of the manifest.
    """

    strategy: Strategy
    entries: dict[str, Any]


def asked_search(
    space: Any,
    budget: Budgets | Front | None,
    data: str,
    strategy: Any,
    evaluator: Any,
    recipe: str | Mapping[str, Any] | None,
    execution: Execution,
) -> Asked:
    """Return what is asked for, everything in it checked.

    Args:
        space: as for `nastk.search`, like the rest.
        budget: so as well.
        data: by name.
        strategy: so as well.
        evaluator: so as well.
        recipe: so as well.
        execution: how it is run.

    Raises:
        ValueError: if something is wrong.
    """
    named = given("space", space)
    family = find_space(str(named.what))
    method = method_of(strategy, evaluator, recipe)
    texts, front = texts_of(budget)  # their grammar, before anything slow
    find_data(data)
    check_amounts(recipe, family_of(data))
    target, classes = target_of(family, named.options, family_of(data))
    budgets, several = split_budgets(texts, target)
    check_front(front, several, method.strategy.name, method.strategy.ranks_all)
    known = dict.fromkeys(("scale", "resolution"))
    for name in named.proxy:
        lookup("option of a proxy", name, known)
    proxy = proxy_of(target, data, *(named.proxy.get(name) for name in known))
    manifest = {
        **manifest_of(space=str(named.what), target=target, proxy=proxy, data=data),
        **method.entries,
        "processes": execution.processes,
        **execution.numerics,
        **budgets,
        "front": front,
        "front_budgets": several,
        "target_classes": classes,
        **circumstances(execution),
    }
    name = f"{target.name}-{method.strategy.name}-{execution.seed}"
    return Asked(name=name, manifest=manifest)


def target_of(
    family: type[Space], options: Mapping[str, Any], task: type[Task]
) -> tuple[Space, int | None]:
    """Return the space whose cost is counted, and its number of classes where that is given.

    Raises:
        ValueError: if the space has no such options, or its networks do not fit the kind of task.
    """
    sizes = {key: options[key] for key in ("resolution", "num_classes") if key in options}
    for name, size in sizes_of_kind(task).items():
        if sizes.get(name, size) != size:
            raise ValueError(
                f"networks for {task.kind} have {name} {size}, which is not to be chosen: leave "
                f"out {sizes[name]} (--target-classes)"
            )
    rest = {key: value for key, value in options.items() if key not in sizes}
    target = aimed(make_space(family, typed_options(family, rest)), task)
    return dataclasses.replace(target, **sizes), sizes.get("num_classes")


def method_of(strategy: Any, evaluator: Any, recipe: str | Mapping[str, Any] | None) -> Method:
    """Return how a search chooses.

    Raises:
        ValueError: if strategy, evaluator and recipe do not go together, or something is wrong.
    """
    named = given("strategy", "meta_kernel" if strategy is None else strategy)
    family, options = find_strategy(str(named.what)), dict(named.options)
    check_numbers(steps=options.get("steps"))
    name, changes = asked_changes(recipe)
    asked = asked_recipe(recipe, ANY)  # its name and its settings exist
    changes = {key: getattr(asked, key) for key in changes}
    check_length(options.get("steps"), changes.get("epochs"))
    made, own = make_strategy(family, options), dict(options)
    check_recordable(made.name, options)
    judge = given("evaluator", evaluator) if evaluator is not None else None
    judged_by = None if judge is None or judge.what is None else str(judge.what)
    settings = {} if judge is None else dict(judge.options)
    evaluation = check_evaluator(made, judged_by, _supernet_of(judged_by, settings), settings)
    if name is not None:
        changes = {"name": name, **changes}
    check_followed(made, judged_by, changes, own)
    if isinstance(made, SupernetStrategy):
        decided = made.decided_by(changes)
        options |= decided
        made = dataclasses.replace(made, **decided)
        # The supernet's, not those of single networks.
        changes = {k: v for k, v in changes.items() if k not in OF_RECIPE or k == "batch_size"}
    entries = {"strategy": named.what, "strategy_options": options}
    return Method(
        strategy=made,
        entries=entries | ({"recipe_changes": changes} if changes else {}) | evaluation,
    )


def _supernet_of(name: str | None, settings: dict[str, Any]) -> Any:
    """Take out of the options of an evaluator the run whose supernet it inherits from."""
    family = find_evaluator(name or "train")
    own = {field.name for field in dataclasses.fields(family)}
    is_run = issubclass(family, Inherit) or "supernet" not in own
    return settings.pop("supernet", None) if is_run else None


def texts_of(budget: Budgets | Front | None) -> tuple[dict[str, str], int | None]:
    """Return budgets as they are typed, by what they bound, and over how many they are spread.

    Raises:
        ValueError: if one is no budget.
    """
    front, several = None, budget
    if isinstance(budget, Front):
        front, several = budget.number, budget.budget
    asked = by_cost(several)
    if front is not None and not any(asked.values()):
        asked = {"flops": HIGHEST}
    return budget_texts(asked), front
