"""What commands show of what there is: spaces, recipes, references, this installation."""

from __future__ import annotations

import dataclasses
from textwrap import fill
from typing import Any

from ..core.resolution import as_typed
from ..strategies.length import LONG_STEPS
from ..training.changes import SETTINGS
from ..training.recipe import Recipe
from ..training.recipes import FEW_IMAGES
from ..workflows.progress import short
from .console import new_table, say


def print_spaces(rows: list[dict[str, Any]]) -> None:
    """Print the list of spaces."""
    table = new_table("space", "choices", "archs", "smallest", "largest")
    table.add_column("tasks")
    for row in rows:
        table.add_row(
            row["name"],
            str(row["num_choices"]),
            f"10^{row['log10_size']:.1f}",
            short(row["flops_min"]),
            short(row["flops_max"]),
            " ".join(row["tasks"]),
        )
    say(table)


def print_space(found: dict[str, Any]) -> None:
    """Print the choices of one space, its size, and what is wrong with it."""
    table = new_table("choice", "candidates", num_left=2)
    for name, candidates in found["choices"].items():
        table.add_row(name, ", ".join(map(str, candidates)))
    if found["choices"]:
        say(table)
    if found["flops_min"] is not None:
        size = found["log10_size"]
        choices = "choice" if len(found["choices"]) == 1 else "choices"
        archs = f"{round(10**size):,}" if size < 6 else f"10^{size:.1f}"
        px = as_typed(found["options"]["resolution"])
        say(
            f"{len(found['choices'])} {choices}, {archs} archs of "
            f"{found['flops_min']:,} to {found['flops_max']:,} FLOPs at "
            f"{px} px and {found['options']['num_classes']} classes",
        )
    for check, wrong in found["checks"].items():
        print(f"{check}: {wrong or 'fine'}")
    for note in found["notes"]:
        print(f"note: {note}")


def print_recipes(rows: list[dict[str, Any]]) -> None:
    """Print what each recipe contains; what is zero is not used and left out."""
    usual = {field.name: field.default for field in dataclasses.fields(Recipe)}
    hidden = {"name", "optimizer", "spaces"}
    for row in rows:
        settings = {k: v for k, v in row.items() if k not in hidden and v != usual[k]}
        told = ", ".join(f"{key.replace('_', ' ')} {_said(v)}" for key, v in settings.items())
        users = ", ".join(row["spaces"]) or "only where asked for"
        print(f"{row['name']}\n    {row['optimizer']}, {told}\n    spaces: {users}")
    print(
        "\nwarmup is a share of the updates; behind it the rate falls as a cosine to 0 or "
        f"the final lr.\nA space of your own trains by small on up to {FEW_IMAGES:,} images, else "
        "by mobilenet; on embedded\ndata by demonstration; its supernet by supernet, in searches "
        f"of {LONG_STEPS:,} updates and\nmore by supernet-long. Change a recipe by --epochs, "
        "--batch-size and --lr, in its name:\n--recipe small:epochs=10,lr=0.002, or in a file: "
        "--recipe mine.toml. What may be changed:\n"
        + fill(", ".join(SETTINGS), 80, initial_indent="    ", subsequent_indent="    ")
    )


def _said(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value).lower()


def print_references(rows: list[dict[str, Any]]) -> None:
    """Print published networks within 80 columns; numbered lines say what a figure hides."""
    has_budget = any(row["inside_budget"] is not None for row in rows)
    printed = (
        f"{'printed':^19}\n{'params':>6} {'FLOPs':>5} {'top-1':>5} \n{'M':>6} {'M':>5} {'%':>5} "
    )
    counted = f"{'counted':^18}\n{'params':>6} {'FLOPs':>5} {'diff':>5}\n{'M':>6} {'M':>5} {'%':>5}"
    table = new_table(
        "network", "", "paper", printed, counted, *["*"] * has_budget, "#", num_left=5, gap=1
    )
    notes = []
    for row in rows:
        if row["note"]:
            notes.append(f"{row['name']}: {row['note']}")
        table.add_row(
            row["name"],
            row["kind"][0],
            row["paper"].removeprefix("arXiv:"),
            _printed(row),
            _counted(row),
            *["*" if row["inside_budget"] else ""] * has_budget,
            str(len(notes)) if row["note"] else "",
        )
    say(table)
    legend = [
        "s, d: searched or designed; paper: arXiv id, which begins with year and month",
        "printed: by the authors; ?: read in a second-hand table only",
        "counted: by nastk at 224 px; diff: its FLOPs against the printed; #: note",
        *["*: inside the budget"] * has_budget,
    ]
    say("\n".join(legend))
    for number, note in enumerate(notes, 1):
        say(f"[{number}] {note}")


def _printed(row: dict[str, Any]) -> str:
    keys = {"params_millions": 6, "flops_millions": 5, "top1_percent": 5}
    figures = row["published"]
    cells = [f"{figures[key]:g}" if key in figures else "-" for key in keys]
    texts = [f"{cell:>{width}}" for cell, width in zip(cells, keys.values(), strict=True)]
    return " ".join(texts) + (" " if row["verified"] else "?")


def _counted(row: dict[str, Any]) -> str:
    if not row["builds"]:
        return "not built"
    difference = row["difference_percent"]
    percent = "" if difference is None else f"{difference:+.1f}"
    flops = row["flops"] / 1e6
    return f"{row['params'] / 1e6:6.2f} {flops:5.{int(flops < 1000)}f} {percent:>5}"


def print_doctor(rows: list[dict[str, Any]]) -> None:
    """Print what the installation can do."""
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        say(
            f"{row['name']:{width}}  {row['status']:8} {row['detail']}",
            soft_wrap=True,
        )
