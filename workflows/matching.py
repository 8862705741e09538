"""Trained weights meet data: prepared as the weights want them, labelled by name, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from ..core.preprocessing import Preprocessing
from ..records.weights import metadata_of
from ..tasks.images.classification import Classification
from ..tasks.images.relabelled import Relabelled
from ..tasks.named import family_of, make_task
from ..training.task import Task

_ALLOW = "--allow-mismatch tests all the same"


def task_of(
    weights: Path,
    data: str,
    *,
    workers: int = 0,
    strict: bool = False,
    allow_mismatch: bool = False,
) -> tuple[Task, list[str]]:
    """Return data as trained weights want them, and what had to be changed for that.

    Pictures are prepared as those that the weights were trained on, whatever the data's own way.
    Classes are matched by name; data whose labels are mere numbers have these as names.

    Args:
        weights: a file of `retrain`.
        data: as typed behind `--data`.
        workers: processes that decode images.
        strict: refuse unreadable images instead of leaving them out.
        allow_mismatch: take labels by their numbers, and tensors as they are, where the weights
            are for others.

    Raises:
        ValueError: if the classes are others, or inputs come ready from where nobody knows how.
    """
    about = metadata_of(weights)
    task = make_task(data, about["options"]["resolution"], workers=workers, strict=strict)
    return matched(task, weights, data, allow_mismatch=allow_mismatch)


def matched(
    task: Task, weights: Path, data: str, *, allow_mismatch: bool = False
) -> tuple[Task, list[str]]:
    """Do for a task what `task_of` does for data by name."""
    about = metadata_of(weights)
    learned = family_of(about["data"]).kind
    if task.kind != learned:
        raise ValueError(
            f"{data} is for {task.kind}, but {weights} was trained for {learned}: test on data for "
            "that"
        )
    for name, size in task.sizes.items():
        if size > (theirs := about["options"].get(name, 0)):
            what = name.removeprefix("num_")
            raise ValueError(
                f"{data} has {size} {what}, the network of {weights} only {theirs}; test on data "
                f"of the same {what}"
            )
    changes = []
    theirs, ours = about["preprocessing"], task.preprocessing
    if theirs is not None and ours is not None:
        if odd := _differences(ours, theirs):
            task.preprocessing = theirs
            changes.append(f"pictures are prepared as in training ({odd})")
    elif theirs != ours and not allow_mismatch:
        which = "the data" if ours is None else str(weights)
        raise ValueError(
            f"nobody can say how the inputs of {which} were prepared, so that they may not fit; "
            f"test on the data of the training, {_ALLOW}"
        )
    names, wanted = list(task.class_names), about["classes"]
    if not names or names == wanted or (allow_mismatch and not set(names) <= set(wanted)):
        return task, changes
    is_other = not set(names) <= set(wanted) or len({*wanted}) < len(wanted)
    if is_other or not isinstance(task, Classification):
        raise ValueError(_other_classes(task, data, weights, wanted))
    if names != wanted[: len(names)]:
        changes.append("labels are matched by the names of their classes")
    return Relabelled(task, wanted), changes


def _differences(ours: Preprocessing, theirs: Preprocessing) -> str:
    """Say which entries differ, those of the data behind those of the weights."""
    here, there = ours.to_json(), theirs.to_json()
    return ", ".join(
        f"{name} {_short(there[name])}, not {_short(here[name])}"
        for name in there
        if there[name] != here[name]
    )


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(f"{number:.3g}" for number in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _other_classes(task: Task, data: str, weights: Path, wanted: Sequence[str]) -> str:
    names = task.class_names
    pairs = enumerate(zip_longest(names, wanted))
    label, (here, there) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    unnamed = " (numbers without names)" if names == [str(n) for n in range(len(names))] else ""
    return (
        f"{data} has the classes {_listed(names)}{unnamed}, but {weights} was trained on "
        f"{_listed(wanted)} (label {label} is {here!r}, was {there!r}); test on data of the same "
        f"classes; {_ALLOW}, taking labels by their numbers"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) or "none"
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
