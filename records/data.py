"""What networks learn from, as it is given: data, a kind of task, or a task of the user's own."""

from __future__ import annotations

from typing import Any

from ..core.in_memory import is_in_file
from ..core.lookup import lookup
from ..tasks.named import KINDS, family_of
from ..tasks.own import KIND as OWN
from ..tasks.own import hold_task, is_own, open_task
from ..training.task import Task
from .given import given_data
from .named import given


def chosen_data(data: Any, task: Any = None, usual: str | None = None) -> tuple[str | None, object]:
    """Return the name of data, and what has to be kept alive so that the name is known.

    Args:
        data: a name as behind `--data`, anything that `nastk.tasks.images.held.hold` takes, or
            None.
        task: a key of `KINDS`, `FILE.py:CLASS`, a class derived from `nastk.Task` or an instance of
            one; None where the data say the kind.
        usual: the name of the data that are taken where neither is given, or no more than their
            kind.

    Returns:
        None as the name where nothing is given.

    Raises:
        ValueError: if it is nothing of these, or data and task contradict each other.
    """
    if task is None:
        return (usual, None) if data is None else given_data(data)
    if isinstance(task, str) and not is_in_file(task):
        lookup("task", task, dict.fromkeys((*KINDS, "FILE.py:CLASS")))
        if data is None:
            # A task of the user's own may not be open here; what it reads, `task` does not name.
            is_nastks = usual is not None and not is_own(usual)
            is_usual = is_nastks and family_of(str(usual)).kind == task
            return (usual if is_usual else KINDS[task]), None
        name, keep = given_data(data)
        if (kind := family_of(name).kind) != task:
            raise ValueError(
                f"{name} is for {kind}, not for {task}: leave out --task or --data, or give those "
                "that belong together"
            )
        return name, keep
    if data is not None:
        raise ValueError(
            "a task of your own reads its own data: give --task without --data (data= in Python)"
        )
    if isinstance(task, Task):
        return hold_task(task), task
    place = str(given("task", task).what)
    name = f"{OWN}:{place}"
    open_task(name, place)
    return name, None
