"""Times, dates and shares as people say them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from ..training.task import Metric

_MONTHS = "January February March April May June July August September October November December"
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def duration(seconds: float | None) -> str | None:
    """Return a time in its two largest units, None where there is none.

    Example:
        >>> duration(0.36), duration(42.4), duration(605), duration(7_260), duration(266_000)
        ('0.4 s', '42 s', '10 min 5 s', '2 h 1 min', '3 days 1 h')
    """
    if seconds is None or not math.isfinite(seconds):
        return None
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = ((86_400, "day", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    for large, name, small, rest in units:
        if whole >= large:
            count, left = divmod(whole, large)
            plural = "s" if name == "day" and count > 1 else ""
            return f"{count} {name}{plural}" + (f" {left // small} {rest}" * (left >= small))
    return f"{whole} s"


def day(date: object) -> str | None:
    """Return a date of a record in words, None where there is none that can be read.

    Example:
        >>> day("2026-11-30T05:53:09+00:00"), day("soon"), day(None)
        ('30 November 2026, 05:53 UTC', None, None)
    """
    if not isinstance(date, str):
        return None
    try:
        when = datetime.fromisoformat(date).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{when.day} {_MONTHS.split()[when.month - 1]} {when:%Y, %H:%M} UTC"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share in percent, a dash where there is none.

    Example:
        >>> percent(45.73), percent(99.97, 1), percent(None), percent(float("nan"))
        ('46 %', '100.0 %', '-', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f} %"


def size(num_bytes: float | None) -> str | None:
    """Return a size of a file or a memory, None where there is none.

    Example:
        >>> size(2_600), size(13_600_000), size(None)
        ('2.6 KB', '13.6 MB', None)
    """
    if num_bytes is None or not math.isfinite(num_bytes):
        return None
    unit, name = next(((u, n) for u, n in _BYTES if num_bytes >= u), (1.0, "bytes"))
    return f"{num_bytes / unit:.{int(unit > 1)}f} {name}"


def openness(entropy: float) -> str:
    """Return how decided a search is, from its entropy as a share of the largest one.

    Example:
        >>> openness(0.95), openness(0.03)
        ('hardly decided', 'decided')
    """
    steps = ((0.6, "hardly decided"), (0.3, "decided in part"), (0.1, "all but decided"))
    return next((words for least, words in steps if entropy > least), "decided")


def sentence_of(words: str) -> str:
    """Return words as a sentence, with a capital letter and a full stop.

    Example:
        >>> sentence_of("the loss ends at 2.3"), sentence_of("It does."), sentence_of("")
        ('The loss ends at 2.3.', 'It does.', '')
    """
    whole = words[:1].upper() + words[1:]
    return whole if not whole or whole[-1] in ".!?" else f"{whole}."


def in_front(metrics: Sequence[Metric]) -> list[Metric]:
    """Return metrics as people ask for them: those that grow first."""
    return sorted(metrics, key=lambda metric: not metric.maximises)


def named(metric: Metric) -> str:
    """Return what a metric is called where it stands alone.

    Example:
        >>> named(Metric(name="loss_nats", title="test loss"))
        'test loss, nats'
    """
    if metric.long:
        return metric.long
    return metric.title if "_" not in metric.name else f"{metric.title}, {metric.unit}"


def heading(metric: Metric) -> str:
    """Return what heads a column of a metric, whose title says it where it is a share."""
    return metric.title if metric.unit == "percent" else named(metric)


def shown(metric: Metric, value: float | None) -> str:
    """Return a value of a metric, without its unit unless that is percent.

    Example:
        >>> loss = Metric(name="loss_nats", title="test loss")
        >>> shown(loss, 0.12345), shown(loss, None)
        ('0.123', 'not finite')
    """
    if metric.unit == "percent":
        return percent(value, metric.digits)
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.{metric.digits}f}"


def with_unit(metric: Metric, value: float | None) -> str:
    """Return a value of a metric with its unit."""
    is_bare = metric.unit in ("percent", metric.name)
    return shown(metric, value) + ("" if is_bare else f" {metric.unit}")
