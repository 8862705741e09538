"""Options of the command line become arguments of the library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EXECUTION = (
    "device",
    "memory",
    "precision",
    "cuda_graph",
    "workers",
    "processes",
    "strict",
    "seed",
)
_CHANGES = ("epochs", "batch_size", "lr")
_BUDGETS = ("flops", "params", "activations")
_SETTINGS = ("steps", "evaluations", "finalists")
_PROXY = ("proxy_scale", "proxy_resolution")
_SIZES = {"target_resolution": "resolution", "target_classes": "num_classes"}


def search_arguments(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `nastk.search` for options of `nastk search` by their names.

    Args:
        words: those that were given; options of space, strategy and evaluator as dicts.

    Raises:
        ValueError: if this machine cannot run what is asked for, or a size stands among the
            options of the space.
    """
    from ..nasbench.families import check_no_sizes
    from ..records.execution import Execution
    from ..records.given import Front
    from ..records.named import Named

    rest = dict(words)
    execution = Execution.asked(**_taken(rest, *_EXECUTION))
    options = rest.pop("space_options", None) or {}
    check_no_sizes(options)
    sizes = {_SIZES[name]: value for name, value in _taken(rest, *_SIZES).items()}
    proxy = {key.removeprefix("proxy_"): v for key, v in _taken(rest, *_PROXY).items()}
    settings = (rest.pop("strategy_options", None) or {}) | _taken(rest, *_SETTINGS)
    given = (rest.pop("evaluator_options", None) or {}) | _taken(rest, "supernet")
    budget: Any = _taken(rest, *_BUDGETS)
    if (front := rest.pop("front", None)) is not None:
        budget = Front(front, budget or None)
    arguments = {
        "space": Named(rest.pop("space", "sandglass"), {**options, **sizes}, proxy),
        "strategy": Named(rest.pop("strategy", "meta_kernel"), settings),
        "budget": budget,
        "recipe": _recipe(rest),
        "execution": execution,
    }
    evaluator = rest.pop("evaluator", None)
    if evaluator is not None or given:
        arguments["evaluator"] = Named(evaluator, given)
    return arguments | rest


def retrain_arguments(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `nastk.retrain` for options of `nastk retrain` by their names.

    Args:
        words: those that were given.

    Raises:
        ValueError: if this machine cannot run what is asked for.
    """
    from ..records.execution import Execution

    rest = dict(words)
    execution = Execution.asked(**_taken(rest, *_EXECUTION))
    recipe = _recipe(rest)
    return {**rest, "recipe": recipe, "execution": execution}


def _recipe(words: dict[str, Any]) -> dict[str, Any]:
    """Take out of words what is asked for of a recipe."""
    name = words.pop("recipe", None)
    return ({} if name is None else {"name": name}) | _taken(words, *_CHANGES)


def _taken(words: dict[str, Any], *names: str) -> dict[str, Any]:
    """Take options out of words, those that were given."""
    values = {name: words.pop(name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}
