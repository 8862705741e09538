"""Where commands print: tables without borders, as wide as the screen or as their contents."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import typer
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


def new_table(*headings: str, num_left: int = 1, gap: int = 2) -> Table:
    """Return a table without borders, whose first columns are texts and the others figures."""
    table = Table(box=None)
    table.padding, table.pad_edge = (0, gap, 0, 0), False
    for number, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if number < num_left else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def fit_helps(app: typer.Typer) -> None:
    """Let the helps of all commands be as wide as the screen, and examples stand line by line.

    typer keeps the ends of lines of a docstring, which a narrower screen breaks once more.
    """
    for command in (*app.registered_commands, app.registered_callback):
        if command is not None and command.callback is not None:
            text = command.help or inspect.getdoc(command.callback) or ""
            command.help = unfolded(text)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            fit_helps(group.typer_instance)


def unfolded(text: str) -> str:
    """Return a text with its prose in one line a paragraph, and indented lines as they are.

    Example:
        >>> print(unfolded("Two lines\\nof prose:\\n\\n  one\\n\\n  two\\n\\nEnd."))
        Two lines of prose:
        <BLANKLINE>
          one
          two
        <BLANKLINE>
        End.
    """
    shown: list[str] = []
    was_indented = False
    for paragraph in text.split("\n\n"):
        is_indented = paragraph.startswith(" ")
        if is_indented and was_indented:
            shown[-1] += "\n" + paragraph
        else:
            shown.append(paragraph if is_indented else " ".join(paragraph.split("\n")))
        was_indented = is_indented
    return "\n\n".join(shown)
