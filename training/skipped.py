"""Items that could not be read: counted once each, also over the parts of a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.files import load_json
from ..core.loop import Report
from ..core.record import checked
from ..core.run import write_json
from .task import Task


def remember_skipped(task: Task, file: Path, report: Report) -> Report:
    """Return a report that also writes the items that the task skipped into a file.

    What an interrupted process had skipped is added to the task first.
    """
    if file.is_file():
        task.skipped |= frozenset(checked(load_json(file), list[str], str(file)))
    known = len(task.skipped)

    def remember(event: dict[str, Any]) -> None:
        nonlocal known
        if len(task.skipped) > known:
            known = len(task.skipped)
            write_json(file, sorted(task.skipped))
        report(event)

    return remember
