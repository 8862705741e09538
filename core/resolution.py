"""The size of images in pixels: the side of a square, or height and width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral
from typing import Any

Resolution = int | tuple[int, int]
"""The side of a square, else height and width, which differ."""
ResolutionLike = int | str | Sequence[int]
"""The same as people write it: 224, "224", "256x192" or (256, 192)."""

MOST_RESOLUTION = 65_536
"""More is a mistake, and no machine could build it."""


def resolution_of(value: Any, owner: str = "a resolution") -> Resolution:
    """Return a resolution from what a user typed, or from JSON.

    Args:
        value: as in `ResolutionLike`.
        owner: what takes it, for the message.

    Raises:
        ValueError: if it is none.

    Example:
        >>> resolution_of("256x192"), resolution_of([28, 28]), resolution_of("28")
        ((256, 192), 28, 28)
    """
    parts: Any = value
    if isinstance(value, str):
        parts = [int(part) for part in _written(value)]
    elif not isinstance(value, list | tuple):
        parts = [value]
    is_right = len(parts) in (1, 2) and all(_is_side(part) for part in parts)
    if not is_right:
        shown = f"{value!r:.40}" if not _is_far(value) else "far more"
        raise ValueError(
            f"{owner} takes as resolution a whole number of at least 1 and at most "
            f"{MOST_RESOLUTION:,}, or height and width as 256x192; got {shown}"
        )
    height, width = int(parts[0]), int(parts[-1])
    return height if height == width else (height, width)


def sides_of(resolution: Resolution) -> tuple[int, int]:
    """Return height and width.

    Example:
        >>> sides_of(28), sides_of((256, 192))
        ((28, 28), (256, 192))
    """
    return (resolution, resolution) if isinstance(resolution, int) else resolution


def as_typed(resolution: Resolution | Sequence[int]) -> str:
    """Return a resolution, maybe one from JSON, as options take it.

    Example:
        >>> as_typed(28), as_typed((256, 192))
        ('28', '256x192')
    """
    if isinstance(resolution, int):
        return str(resolution)
    return "x".join(map(str, resolution))


def _written(text: str) -> Sequence[str]:
    found = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX]\s*(\d{1,9}))?\s*", text)
    return [part for part in found.groups() if part is not None] if found else []


def _is_side(value: Any) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return is_whole and 1 <= value <= MOST_RESOLUTION


def _is_far(value: Any) -> bool:
    return isinstance(value, Integral) and abs(int(value)) >= 10**20
