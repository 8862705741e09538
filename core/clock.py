"""What a piece of work has cost so far, the parts before an interruption included."""

from __future__ import annotations

import time

_of_helpers = 0.0


def in_words(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> [in_words(seconds) for seconds in (0.4, 45, 200, 5000, 90_000, 10**6)]
        ['1 s', '45 s', '3 min', '1 h 23 min', '25 h 0 min', '12 days']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if (minutes := round(seconds / 60)) < 60:
        return f"{minutes} min"
    if (hours := minutes // 60) < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{round(seconds / 86400)} days"


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the helpers that answered it."""
    return time.process_time() + _of_helpers


def charge_helper(seconds: float) -> None:
    """Count what a helper of this process, a worker that decodes images say, has spent for it."""
    global _of_helpers
    _of_helpers += seconds


class Clock:
    """Adds up wall and CPU seconds over the processes that work on one run."""

    def __init__(self) -> None:
        self._earlier = (0.0, 0.0)
        self._start = (time.perf_counter(), cpu_seconds())

    @property
    def spent(self) -> tuple[float, float]:
        """Wall and CPU seconds so far."""
        now = (time.perf_counter(), cpu_seconds())
        wall, cpu = (
            earlier + end - start
            for earlier, end, start in zip(self._earlier, now, self._start, strict=True)
        )
        return wall, cpu

    def add(self, earlier: tuple[float, float]) -> None:
        """Count what an interrupted process had spent up to its last checkpoint."""
        self._earlier = earlier

    def charge(self, cpu_seconds: float) -> None:
        """Count what another process has spent for this work, while the wall clock ran here."""
        wall, cpu = self._earlier
        self._earlier = (wall, cpu + cpu_seconds)
