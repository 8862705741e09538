"""One look-up for every table of names, because its error message has to teach."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return `table[name]`, or explain what would have been understood.

    Raises:
        ValueError: if the name is unknown; the message suggests the nearest name and lists all.

    Example:
        >>> lookup("space", "sandglas", {"sandglass": 1, "toy": 2})
        Traceback (most recent call last):
        ValueError: unknown space 'sandglas'; did you mean 'sandglass'? known: sandglass, toy
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise ValueError(f"unknown {kind} {name!r}{hint} known: {', '.join(sorted(table))}")
