"""Spaces, strategies and evaluators as they are given: by name, as a class or with options."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.arguments import shown
from ..core.in_memory import code_hash, hold_class
from ..core.own_code import check_whole, find_class
from ..core.space import Space
from ..evaluators import EVALUATORS
from ..nasbench.families import FAMILIES, find_space
from ..strategies import STRATEGIES
from ..training.evaluator import Evaluator
from ..training.strategy import Strategy
from ..training.task import Task
from .given import check_recordable
from .manifest import absolute_space

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Named:
    """A space, a strategy or an evaluator with options of its own.

    Attributes:
        what: its name, `FILE.py:CLASS` or its class; None for the usual one.
        options: fields of it, `{"width": 0.75}` of a space for example.
        proxy: of a space, what is trained on embedded data in its place: `scale`, the factor of its
            channels where it has one, and `resolution` in
            pixels, height and width as `256x192`.

    Example:
        >>> Named("evolution", {"evaluations": 8}).options
        {'evaluations': 8}
    """

    what: str | type | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    proxy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("options", self.options), ("proxy", self.proxy)):
            if not isinstance(value, Mapping):
                raise ValueError(f"Named takes as {name} a dict, got {shown(value)}")


SpaceLike = str | type[Space] | Space | Named
StrategyLike = str | type[Strategy] | Strategy | Named
EvaluatorLike = str | type[Evaluator] | Named


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


def find_task(name: str) -> type[Task]:
    """Return a task of the user's own, from a file as `FILE.py:CLASS`; the file is run.

    Raises:
        ValueError: if there is none.
    """
    return find_class(name, Task, "task", {})


@dataclass(frozen=True, kw_only=True)
class _Role:
    """What stands for a space, a strategy, an evaluator or a task.

    Attributes:
        base: what it is derived from.
        known: nastk's own, by name.
        find: finds a class by its name.
        instances: whether one may be given that is made already.
    """

    base: type
    known: Mapping[str, type]
    find: Callable[[str], type]
    instances: bool = True


_ROLES = {
    "space": _Role(base=Space, known=FAMILIES, find=find_space),
    "strategy": _Role(base=Strategy, known=STRATEGIES, find=find_strategy),
    # An evaluator that is made has its problem already.
    "evaluator": _Role(base=Evaluator, known=EVALUATORS, find=find_evaluator, instances=False),
    "task": _Role(base=Task, known={}, find=find_task, instances=False),
}


def given(role: str, what: Any) -> Named:
    """Return what was given by the name under which a run records it, with its options.

    A class in a file becomes `FILE.py:CLASS`, as on the command line; the file is imported, so that
    a script guards what it does by `if __name__ == "__main__":`. A class of a notebook, or one that
    is no plain name of its file, gets a name under which this process alone finds it. The options
    of an instance are those that it does not have by itself.

    Args:
        role: `space`, `strategy`, `evaluator` or `task`.
        what: a name, a class, an instance, or a `Named`.

    Raises:
        ValueError: if it is none of these, its file cannot be imported, or a run cannot record its
            options.
    """
    if isinstance(what, Named):
        found = Named() if what.what is None else given(role, what.what)
        if found.options and what.options:
            raise ValueError(f"give the options of a {role} to Named or to its instance, not both")
        return dataclasses.replace(what, what=found.what, options=found.options or what.options)
    if isinstance(what, str):
        return Named(absolute_space(what))
    kind = _ROLES[role]
    family, is_class = (what, True) if isinstance(what, type) else (type(what), False)
    if not issubclass(family, kind.base) or not (is_class or kind.instances):
        instance = ", an instance of one" if kind.instances else ""
        raise ValueError(
            f"{role}= takes a name, 'FILE.py:CLASS', a class derived from "
            f"nastk.{kind.base.__name__}{instance}, or nastk.Named with options; got {shown(what)}"
        )
    check_whole(family, role)
    name = str(getattr(family, "name", family.__name__))
    options = {} if is_class else _own_options(what)
    check_recordable(name, options)
    return Named(name if kind.known.get(name) is family else _name_of(family, kind.find), options)


def _own_options(made: Any) -> dict[str, Any]:
    """Return the options of an instance that are not those it has by itself."""
    values = {f.name: (getattr(made, f.name), f.default) for f in dataclasses.fields(made)}
    return {name: value for name, (value, usual) in values.items() if value != usual}


def _name_of(family: type, find: Callable[[str], type]) -> str:
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
