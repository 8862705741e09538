"""One look-up for every table of names, because its error message has to teach."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_MOST = 20  # names in an error; of a longer table those that are like the one given


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return `table[name]`, or explain what would have been understood.

    Raises:
        ValueError: if the name is unknown; the message suggests the nearest name and lists all, of
            more than twenty those that are most like it.

    Example:
        >>> lookup("space", "sandglas", {"sandglass": 1, "toy": 2})
        Traceback (most recent call last):
        ValueError: unknown space 'sandglas'; did you mean 'sandglass'? known: sandglass, toy
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    known = ", ".join(sorted(table))
    if len(table) > _MOST:
        alike = difflib.get_close_matches(name, table, n=_MOST // 2, cutoff=0.0)
        known = f"{', '.join(alike)} and {len(table) - len(alike)} more"
    raise ValueError(f"unknown {kind} {name!r}{hint} known: {known}")
