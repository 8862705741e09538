"""Tasks of a user's own: data named `task:FILE.py:CLASS`, or `task:python:CLASS-HASH` in memory.

What such a name stands for has to be opened in a process before it is asked for, since that runs
the file. Worker processes that are started afterwards find it too.
"""

from __future__ import annotations

import inspect
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ..core.check import typed_options
from ..core.files import hash_of
from ..core.in_memory import hold_class, plain_values
from ..core.own_code import check_whole, find_class
from ..core.resolution import Resolution, as_typed
from ..training.task import Metric, Task

KIND = "task"

_PLACES = "NASTK_OWN_TASKS"  # tells worker processes where the class of each name is
_instances: weakref.WeakValueDictionary[str, Task] = weakref.WeakValueDictionary()
_recorded: dict[str, type[Task]] = {}


def is_own(data: str) -> bool:
    """Whether data of that name are a task of a user's own."""
    return data.partition(":")[0] == KIND


def place_of(data: str) -> str:
    """Return what the name of a task of a user's own says: `FILE.py:CLASS`.

    Example:
        >>> place_of("task:/mine/own.py:Own")
        '/mine/own.py:Own'
    """
    return data.partition(":")[2]


def source_of(data: str) -> str:
    """Return where the class of a name is, `FILE.py:CLASS`: maybe in the copy of a run."""
    return _places().get(data, place_of(data))


def open_task(data: str, place: str) -> type[Task]:
    """Return the class that a name stands for from now on; its file is run.

    Args:
        data: the name.
        place: `FILE.py:CLASS`, maybe of a copy, or `python:CLASS-HASH` of one that is held.

    Raises:
        ValueError: if there is none, or it is no whole task.
    """
    family = find_class(place, Task, "task", {})  # type: ignore[type-abstract]
    _check(family)
    name = family.__name__
    try:
        inspect.signature(family).bind(resolution=1)
    except TypeError as error:
        raise ValueError(
            f"task {name} is not made by {name}(resolution=R) ({error}): write __init__(self, "
            "resolution)"
        ) from None
    os.environ[_PLACES] = json.dumps(_places() | {data: place})
    return family


def own_family(data: str) -> type[Task]:
    """Return the class that a name stands for.

    One that was not opened is known by what a run recorded of it, and cannot read anything.

    Raises:
        ValueError: if neither is known.
    """
    if (place := _places().get(data)) is not None:
        return find_class(place, Task, "task", {})  # type: ignore[type-abstract]
    if data in _recorded:
        return _recorded[data]
    raise ValueError(
        f"{data} is a task of a user's own, which nobody has given to this process: add --task "
        f"{place_of(data)}"
    )


def own_task(data: str, resolution: Resolution) -> Task:
    """Return a task of a user's own at a resolution.

    Raises:
        ValueError: if it is not known, says too little, or is an object that reads at another
            resolution.
    """
    held = _instances.get(data)
    if held is None:
        family = own_family(data)
        if inspect.isabstract(family):
            raise ValueError(
                f"{data} is code that does not run unless it is trusted: add --trust, or --task "
                f"{place_of(data)}"
            )
        made: Task = family(resolution=resolution)  # type: ignore[call-arg]
        _check_made(made)
        return made
    if (own := getattr(held, "resolution", resolution)) != resolution:
        px = as_typed(resolution)
        raise ValueError(
            f"this {type(held).__name__} reads at {own} px, the networks take {px}: give "
            "the class instead, or the pixels that it has"
        )
    return held


def hold_task(task: Task) -> str:
    """Return the name of a task object, under which it is found while it is alive.

    Raises:
        ValueError: if it is no whole task.
    """
    _check(type(task))
    _check_made(task)
    place = f"{hold_class(type(task))}-{_hash_of(task)}"
    data = f"{KIND}:{place}"
    _instances[data] = task
    _recorded[data] = type(task)
    return data


def _hash_of(task: Task) -> str:
    """Return eight digits of a hash of the data of an object and of its plain settings."""
    family = type(task)
    settings = {
        name: value
        for name, value in plain_values(vars(task)).items()
        if not isinstance(inspect.getattr_static(family, name, None), cached_property)
    }
    return hash_of(repr((task.describe()["train_sha256"], sorted(settings.items()))))[:8]


def is_held(data: str) -> bool:
    """Whether a name stands for an object that this process holds."""
    return data in _instances


def remember_task(data: str, record: Mapping[str, Any]) -> None:
    """Take a run's word for the kind and the metrics of a task whose code may not run.

    Args:
        data: its name.
        record: what `record_of` returned.

    Raises:
        ValueError: if it is no such record.
    """
    try:
        metrics = tuple(Metric(**typed_options(Metric, entry)) for entry in record["metrics"])
        about = {"kind": str(record["kind"]), "metrics": (metrics[0], *metrics[1:])}
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(f"what is recorded of {data} is damaged: no kind and metrics") from None
    _recorded[data] = type("RecordedTask", (Task,), about)


def record_of(family: type[Task]) -> dict[str, Any]:
    """Return what a run records of a task, so that its figures can be read without its code."""
    return {"kind": family.kind, "metrics": [vars(metric) for metric in family.metrics]}


def _places() -> dict[str, str]:
    known: dict[str, str] = json.loads(os.environ.get(_PLACES, "{}"))
    return known


def _check(family: type[Task]) -> None:
    """Refuse a class that says too little.

    Raises:
        ValueError: with what it misses.
    """
    check_whole(family, "task")
    name = family.__name__
    if not isinstance(getattr(family, "kind", None), str):
        raise ValueError(f'task {name} has no kind: write for example kind = "{name.lower()}"')
    metrics = getattr(family, "metrics", None)
    is_sound = isinstance(metrics, Sequence) and all(isinstance(m, Metric) for m in metrics)
    if not is_sound or not metrics:
        raise ValueError(
            f"task {name} has no metrics: write for example metrics = "
            '(nastk.Metric(name="error_px", title="error"),)'
        )


def _check_made(task: Task) -> None:
    """Refuse a task that says too little of its data.

    Raises:
        ValueError: with what it misses.
    """
    name = type(task).__name__
    if not isinstance(sizes := getattr(task, "sizes", None), Mapping):
        raise ValueError(
            f'task {name} has no sizes: write for example sizes = {{"num_classes": 10}}, or {{}} '
            "where its data decide nothing of the networks"
        )
    about = task.describe()
    told = about if isinstance(about, Mapping) else {}
    wanted = ("name", "split_sizes", "train_sha256", *sizes)
    if missing := [key for key in wanted if key not in told]:
        raise ValueError(
            f"describe() of task {name} says nothing of {', '.join(missing)}: return a dict with "
            f"{', '.join(wanted)}"
        )
