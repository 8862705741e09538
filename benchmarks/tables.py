"""Benchmark results as markdown, with the machine in the line above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(result: Mapping[str, Any]) -> str:
    """Return a result of this package as text: machine, figures, its table, then notes."""
    lines = [", ".join(f"{key} {value}" for key, value in result["machine"].items()), ""]
    single = {k: v for k, v in result.items() if isinstance(v, int | float)}
    if single:
        lines += table([{"figure": name, "value": value} for name, value in single.items()])
    if "rows" in result:
        lines += table(result["rows"])
    for name, content in result.items():
        if isinstance(content, Mapping) and name != "machine":
            described = ", ".join(f"{key} {_text(value)}" for key, value in content.items())
            lines += ["", f"{name}: {described}"]
    if notes := result.get("notes"):
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a markdown table whose columns are the keys of the first row."""
    keys = list(rows[0])
    lines = [_line(keys), _line(["---"] * len(keys))]
    return lines + [_line([_text(row[key]) for key in keys]) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
