"""How far trainings in worker processes are: a small file in each folder, read by the parent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .loop import Report

NAME = "standing"
_SECONDS = 0.5  # between two notes


def noted_in(folder: Path) -> Report:
    """Return a report that notes in a folder, now and then, which share of a training is done.

    A note that is torn or lost is nobody's loss: the next one follows.
    """
    due = 0.0

    def note(event: dict[str, Any]) -> None:
        nonlocal due
        if "step" in event and time.monotonic() >= due:
            due = time.monotonic() + _SECONDS
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            handle = os.open(folder / NAME, flags, 0o666)
            os.write(handle, f"{event['step'] / event['total']:.4f}".encode())
            os.close(handle)

    return note


class Parts:
    """A report that can also be told which part of the step under way is done.

    Args:
        report: gets every event, and for each part the last event again with `done`, the steps
            that are done and that part.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last: dict[str, Any] | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass an event on."""
        if "total" in event and "say" not in event:
            self._last = event
        self._report(event)

    def part(self, share: float) -> None:
        """Pass the last event on with this share of its next step done."""
        if self._last is not None and share:
            self._report(self._last | {"done": self._last["step"] + share})


def share_done(folders: Iterable[Path]) -> float:
    """Return the sum of the shares that are done of trainings under way."""
    total = 0.0
    for folder in folders:
        try:
            total += float((folder / NAME).read_text())
        except (OSError, ValueError):  # not begun, or just being written
            continue
    return total
