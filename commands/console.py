"""Where commands print: tables without borders, as wide as the screen or as their contents."""

from __future__ import annotations

from typing import Any, Literal

from rich.console import Console
from rich.table import Table

# Nobody scrolls a file sideways, but a figure cut off by the width of a screen is lost: what is
# piped is as wide as its contents.
PLAIN = {"markup": False, "highlight": False, "emoji": False}  # names are shown as they are
_console = Console(**PLAIN)
if not _console.is_terminal:
    _console = Console(width=10_000, **PLAIN)


def say(shown: str | Table, **how: Any) -> None:
    """Print a text or a table; `how` is as of rich's consoles."""
    _console.print(shown, **how)


def new_table(*headings: str, num_left: int = 1, gap: int = 2, title: str | None = None) -> Table:
    """Return a table without borders, whose first columns are texts and the others figures."""
    table = Table(title=title, title_justify="left", box=None)
    table.padding, table.pad_edge = (0, gap, 0, 0), False
    for number, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if number < num_left else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    return table
