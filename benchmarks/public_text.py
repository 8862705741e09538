"""The comparison on public tables as text: one table a question, one column a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .tables import table

_QUESTIONS = (
    ("lost", "Points of accuracy lost to the best arch under the budget", ".2f"),
    ("deviations", "Standard deviations of the budget's band above the mean of that band", "+.2f"),
    ("percentile", "Percent of the archs under the budget that are worse", ".1f"),
    ("tau_under", "Kendall's tau of score and accuracy, over the archs under the budget", ".2f"),
    ("tau_band", "Kendall's tau of score and accuracy, over the archs of the budget's band", ".2f"),
)


def as_text(result: Mapping[str, Any]) -> str:
    """Return the whole result as text for a terminal."""
    lines = [", ".join(f"{key} {value}" for key, value in result["machine"].items())]
    settings = result["settings"]
    steps = settings["steps"] or "the space's number of"
    lines.append(f"networks trained on {settings['data']}, {steps} updates a supernet")
    for content in result["tables"]:
        lines += ["", *_table_lines(content)]
    return "\n".join(lines)


def _table_lines(content: Mapping[str, Any]) -> list[str]:
    budgets = content["budgets"]
    lines = [f"## {content['table']}", "", *(f"- {note}" for note in content["notes"]), ""]
    lines += table([_budget_row(name, about) for name, about in budgets.items()])
    for key, question, form in _QUESTIONS:
        rows = [_row(row, key, form, list(budgets)) for row in content["rows"]]
        known = [row for row in rows if any(row[name] != "-" for name in budgets)]
        lines += ["", f"### {question}", "", *table(known)]
    return lines


def _budget_row(name: str, about: Mapping[str, Any]) -> dict[str, str]:
    low, high = about["band"]
    return {
        "budget": name,
        "FLOPs": f"{about['flops']:,}",
        "archs under it": f"{about['archs']:,}",
        "best, %": f"{about['best']:.2f}",
        "band of FLOPs": f"{low:,} to {high:,}",
        "archs in it": f"{about['band_archs']:,}",
        "mean, %": f"{about['band_mean']:.2f}",
        "deviation": f"{about['band_deviation']:.2f}",
    }


def _row(row: Mapping[str, Any], key: str, form: str, budgets: Sequence[str]) -> dict[str, str]:
    """Return one line of a table: a column a budget, and beside them the mean or the cost."""
    name = row["name"]
    if row["kind"] == "part":
        name = f"- {name} (weight {row['about']['weight']:.2f})"
    cells = {"what": name}
    cells |= {name: _shown(row["budgets"][name][key], form) for name in budgets}
    if key == "lost":
        spread = row["lost_deviation"]
        cells["mean"] = _shown(row["lost"], form) + (f" +- {spread:.2f}" if spread else "")
        cells["tau, all archs"] = _shown(row["tau_all"], form)
        cells["cost"] = _cost(row)
        cells["searches"] = str(row["searches"])
    return cells


def _cost(row: Mapping[str, Any]) -> str:
    if row["trainings"]:
        return f"{row['trainings']:.0f} trainings"
    if row["cpu_seconds"] is not None:
        return f"{row['cpu_seconds']:.0f} CPU s"
    return "part of that" if row["kind"] == "part" else "-" if row["kind"] == "random" else "0"


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{round(value, 6) + 0.0:{form}}"  # no -0.00
