"""The progress bar of long commands."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.clock import in_words
from ..core.loop import Report, silent

_SECONDS_A_LINE = 30


@contextmanager
def progress(*, enabled: bool) -> Iterator[Report]:
    """Yield a report that draws a progress bar, or lines in a log; a silent one if not enabled."""
    if not enabled:
        yield silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    bar = Progress(*columns, console=console)
    tasks: list[Any] = []

    def report(event: dict[str, Any]) -> None:
        if "say" in event:
            bar.console.print(event["say"], markup=False, highlight=False, soft_wrap=True)
            return
        if not tasks:  # not earlier: a mistake found before is one line without an empty one
            bar.start()
            tasks.append(bar.add_task("", total=event["total"], figures=""))
        bar.update(
            tasks[0],
            description=event.get("doing", event["phase"]),
            total=event["total"],
            completed=event.get("done", event["step"]),
            figures=_figures(event),
        )

    try:
        yield report
    except ValueError:
        bar.live.transient = True  # one line remains, which says what is wrong
        bar.live.stop()
        tasks.clear()
        raise
    finally:
        if tasks:
            bar.stop()


@contextmanager
def shown(report: Report | None, quiet: bool) -> Iterator[Report]:
    """Yield the caller's own report, else one that draws unless `quiet`."""
    if report is not None:
        yield report
        return
    with progress(enabled=not quiet) as drawn:
        yield drawn


@contextmanager
def following(wanted: bool | Report) -> Iterator[Report]:
    """Yield what receives events: the caller's own, else what draws them, or nothing if False."""
    if isinstance(wanted, bool):
        with progress(enabled=wanted) as drawn:
            yield drawn
    else:
        yield wanted


def _lines() -> Report:
    """Return a report for logs: a line every half minute with the time left, and one at the end."""
    begun: tuple[float, float] | None = None  # when, and what was done by then
    due = time.monotonic() + _SECONDS_A_LINE

    def report(event: dict[str, Any]) -> None:
        nonlocal begun, due
        if "say" in event:
            print(event["say"], file=sys.stderr, flush=True)
            return
        now, done, total = time.monotonic(), event.get("done", event["step"]), event["total"]
        begun = begun or (now, done)
        if now < due and (event["step"] < total or "done" in event):
            return
        due = now + _SECONDS_A_LINE
        doing = event.get("doing", event["phase"])
        line = f"{doing} {event['step']}/{total} {_figures(event)}".rstrip()
        if begun[1] < done < total:
            left = (now - begun[0]) * (total - done) / (done - begun[1])
            line += f"  about {in_words(left)} left"
        print(line, file=sys.stderr, flush=True)

    return report


def _figures(event: dict[str, Any]) -> str:
    parts = []
    if "loss" in event:
        parts.append(f"loss {event['loss']:.3f}")
    if math.isfinite(event.get("best_loss", math.inf)):
        parts.append(f"best {event['best_loss']:.3f}")
    if "expected_flops" in event:
        parts.append(f"E[FLOPs] {short(event['expected_flops'])}")
    if "entropy" in event:
        parts.append(f"entropy {event['entropy']:.2f}")
    return "  ".join(parts)


def short(count: float) -> str:
    """Return a count in millions or thousands."""
    return f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count / 1e3:.1f}K"
