"""The events of a run: one JSON object a line, of known entries."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .files import parse_json


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return all events up to the first line that is none, as a killed process may leave the last.

    A loss that is null, because it was not finite, is nan.

    Args:
        path: of the file; there may be none.
    """
    if not path.exists():
        return []
    result = []
    for line in path.read_bytes().splitlines():
        try:
            event = parse_json(line)
        except ValueError:
            break
        if not is_event(event):
            break
        if event.get("loss", 0) is None:
            event["loss"] = math.nan
        result.append(event)
    return result


def is_event(event: Any) -> bool:
    """Tell whether this is an event: its entries are of the types that writers give them.

    `step` and `trial` are numbers from 0 on, `share` is above 0, `probs` (of a `step`) holds the
    shares of the candidates of each choice by name, `mixture` in their order, `indices` a candidate
    for each, `choices` a value for each; losses and other figures are numbers or null. Entries of
    other versions are as they please.

    Example:
        >>> is_event({"step": 0, "loss": None}), is_event({"step": "first"}), is_event([1])
        (True, False, False)
        >>> is_event({"step": 0, "probs": {"kernel": [1.0]}}), is_event({"probs": {"kernel": [1]}})
        (True, False)
    """
    if not isinstance(event, dict) or ("probs" in event and "step" not in event):
        return False
    return all(_is_entry(key, value) for key, value in event.items())


def _is_entry(key: str, value: Any) -> bool:
    if key in ("step", "trial", "tested", "untrained", "supernet"):
        return type(value) is int and value >= 0
    if key == "share":
        return _is_number(value) and value > 0
    if key == "probs":
        return isinstance(value, dict) and bool(value) and all(map(_are_shares, value.values()))
    if key == "mixture":
        return isinstance(value, list) and all(map(_are_shares, value))
    if key == "indices":
        return isinstance(value, list) and all(type(i) is int and i >= 0 for i in value)
    if key == "choices":
        return isinstance(value, dict)
    if key == "arch":
        return isinstance(value, str | list)
    return key not in _FIGURES or value is None or _is_number(value)


_FIGURES = ("loss", "entropy", "expected_flops", "inherited_loss", "naswot")


def _are_shares(row: Any) -> bool:
    if not isinstance(row, list) or not row:
        return False
    return all(_is_number(share) and 0 <= share <= 1.001 for share in row)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
