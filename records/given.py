"""What Python programs give where the command line has text: classes, numbers, arrays."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.arguments import shown
from ..core.bounds import WORDS
from ..core.budget import Budget
from ..core.in_memory import code_hash, hold_class
from ..core.own_code import check_whole
from ..core.space import Space
from ..nasbench.families import FAMILIES, find_space
from ..tasks.images.arrays import Source
from ..tasks.images.held import hold
from .manifest import absolute_data, absolute_space

_log = logging.getLogger(__name__)

SpaceLike = str | type[Space] | Space
BudgetLike = str | int | float | Budget | Sequence[str | int | float | Budget]


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


def given_space(space: SpaceLike) -> tuple[str, dict[str, Any] | None]:
    """Return the name of a space as a run records it, and the options of an instance.

    A class in a file becomes `FILE.py:CLASS`, as on the command line; the file is imported, so that
    a script guards what it does by `if __name__ == "__main__":`. A class of a notebook, or one that
    is no plain name of its file, gets a name under which this process alone finds it.

    Raises:
        ValueError: if it is no space, or its file cannot be imported.
    """
    if isinstance(space, str):
        return absolute_space(space), None
    family = space if isinstance(space, type) else type(space)
    if not issubclass(family, Space):
        raise ValueError(
            "space= takes the name of a space, 'FILE.py:CLASS', a class derived from nastk.Space, "
            f"or an instance of one; got {shown(space)}"
        )
    check_whole(family, "space")
    options = None if isinstance(space, type) else space.options
    check_recordable(space.name, options or {})
    if FAMILIES.get(family.name) is family:
        return family.name, options
    return name_of(family, find_space), options


def split_options(
    family: type[Space],
    options: dict[str, Any],
    resolution: int | None,
    classes: int | None,
) -> tuple[int | None, int | None, dict[str, Any]]:
    """Return resolution, classes and the other options of an instance for a search.

    What the search is told by itself wins; classes that the instance leaves at the default of its
    class are decided by the data.
    """
    usual = {field.name: field.default for field in dataclasses.fields(family)}["num_classes"]
    rest = {k: v for k, v in options.items() if k not in ("resolution", "num_classes")}
    own = None if options["num_classes"] == usual else options["num_classes"]
    return resolution or options["resolution"], classes or own, rest


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


def name_of(family: type, find: Callable[[str], type]) -> str:
    """Return the name by which a run records a class of the user's.

    Args:
        family: the class.
        find: finds a class by such a name.
    """
    file = _file_of(family)
    if file is None or family.__qualname__ != family.__name__:
        return hold_class(family)
    name = f"{file}:{family.__name__}"
    if code_hash(find(name)) != code_hash(family):
        _log.warning(
            "warning: %s holds another %s than the one given; the run records this one as given "
            "in Python, and later commands need it again",
            file,
            family.__name__,
        )
        return hold_class(family)
    return name


def _file_of(family: type) -> Path | None:
    """Return where the methods of a class stand; None in a notebook, whose cells are no files."""
    network = getattr(vars(family).get("network"), "__code__", None)
    try:
        found = inspect.getsourcefile(network or family)
    except (TypeError, OSError):  # of `python -c`, or of a cell
        return None
    if found is None:
        return None
    file = Path(found).resolve()
    return file if file.suffix == ".py" and not _is_cell(file) else None


def _is_cell(file: Path) -> bool:
    """Whether a file is a notebook's cell, which some kernels write somewhere for debuggers."""
    return not file.is_file() or any(part.startswith("ipykernel_") for part in file.parts)
