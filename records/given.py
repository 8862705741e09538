"""Budgets and data as Python programs give them where the command line has text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.arguments import shown
from ..core.bounds import WORDS
from ..core.budget import Budget
from ..core.lookup import lookup
from ..tasks.images.arrays import Source
from ..tasks.images.held import hold
from .manifest import absolute_data

OneBudget = str | int | float | Budget
BudgetLike = OneBudget | Sequence[OneBudget]
Budgets = BudgetLike | Mapping[str, BudgetLike | None]
"""Of FLOPs, or by the name of the cost: `{"flops": "357M", "params": "4M"}`."""


@dataclass(frozen=True)
class Front:
    """So many budgets, spread from the smallest arch to the budget.

    Attributes:
        number: of budgets.
        budget: the largest of them; 90 % of the FLOPs of the largest arch if None.
    """

    number: int
    budget: Budgets | None = None


def by_cost(budget: Budgets | None) -> dict[str, BudgetLike | None]:
    """Return budgets by what they bound; a plain one is of FLOPs.

    Raises:
        ValueError: if it is said to bound something else than a cost.

    Example:
        >>> by_cost("357M"), by_cost({"params": "4M"}), by_cost(None)
        ({'flops': '357M'}, {'params': '4M'}, {})
    """
    if not isinstance(budget, Mapping):
        return {} if budget is None else {"flops": budget}
    for metric in budget:
        lookup("cost", metric, WORDS)
    return dict(budget)


def budget_texts(budgets: Mapping[str, BudgetLike | None]) -> dict[str, str]:
    """Return budgets as they are typed, by what they bound, and check their grammar.

    Args:
        budgets: by name of the cost; None where it is free. A `Budget` on several costs stands
            for all of them; a list, and text with commas, for several budgets of one cost.

    Raises:
        ValueError: if one is no budget, or none is given.

    Example:
        >>> budget_texts({"flops": 357e6, "params": "60%", "activations": None})
        {'flops': '357000000', 'params': '60%'}
        >>> budget_texts({"flops": Budget(340, 360)})
        {'flops': '340:360'}
        >>> budget_texts({"flops": ["60%", 200]})
        {'flops': '60%,200'}
    """
    texts: dict[str, str] = {}
    for metric, given in budgets.items():
        parts = given.parts if isinstance(given, Budget) and given.others else (given,)
        for part in (part for part in parts if part is not None):
            bounded = part.metric if isinstance(part, Budget) and len(parts) > 1 else metric
            if bounded in texts or _is_of_another(part, bounded):
                raise ValueError(
                    f"give one budget of each cost; got {shown(part)} as one of {bounded}"
                )
            texts[bounded] = ",".join(_checked_texts(part, bounded))
    if not texts:
        raise ValueError("a search needs a budget, for example --flops 357M")
    return texts


def _checked_texts(given: BudgetLike, metric: str) -> list[str]:
    """Return the budgets of one cost as they are typed."""
    parts = given.split(",") if isinstance(given, str) else given
    several = parts if isinstance(parts, list | tuple) else [parts]
    texts = [_budget_text(one, metric).strip() for one in several]
    for text in texts:
        Budget.parse(text, 10**9, metric)
    return texts


def _is_of_another(part: BudgetLike, metric: str) -> bool:
    """Whether a budget says of itself that it bounds another cost; one on FLOPs says nothing."""
    return isinstance(part, Budget) and part.metric not in ("flops", metric)


def _budget_text(given: BudgetLike, metric: str) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, Budget):
        return f"{given.high}" if given.low is None else f"{given.low}:{given.high}"
    try:
        if isinstance(given, bool) or int(given) != given:
            raise TypeError
        return str(int(given))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"a budget is a whole number of {WORDS[metric]}, text such as '357M' or '60%' (of the "
            f"largest), or a Budget; got {shown(given)}"
        ) from None


def given_data(data: Any) -> tuple[str, Source | None]:
    """Return the name of data, and what has to be kept alive so that the name is known.

    Args:
        data: a name as behind `--data`, or anything that `hold` takes.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(data, str):
        return absolute_data(data), None
    if isinstance(data, Path):
        raise ValueError(f"say what kind of data {data} holds, for example 'imagefolder:{data}'")
    source = hold(data)
    return source.name, source


def check_recordable(owner: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a manifest cannot hold.

    Args:
        owner: what the options belong to, for the message.
        options: by name.

    Raises:
        ValueError: naming the option.
    """
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} takes a finite number; got {value}")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(
                f"option {name} of {owner} is {shown(value)}, which a run cannot record; use "
                "numbers, text, true or false, None, or tuples of these"
            ) from None
