"""What commands show: progress, tables and the plain last lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from ..core.bounds import WORDS
from ..core.budget import flops_range
from ..core.observe import observable
from ..core.run import Run
from ..records.front import in_words
from ..search_spaces import SPACES, Sandglass
from ..workflows.progress import progress as progress
from ..workflows.progress import short
from .endings import after_comparison, after_retrain, after_search, entropy_in_words

# Nobody scrolls a file sideways, but a figure cut off by the width of a screen is lost: what is
# piped is as wide as its contents.
PLAIN = {"markup": False, "highlight": False, "emoji": False}  # names are shown as they are
_console = Console(**PLAIN)
if not _console.is_terminal:
    _console = Console(width=10_000, **PLAIN)


def _table(*headings: str, num_left: int = 1, gap: int = 2, title: str | None = None) -> Table:
    """Return a table without borders, whose first columns are texts and the others figures."""
    table = Table(title=title, title_justify="left", box=None)
    table.padding, table.pad_edge = (0, gap, 0, 0), False
    for number, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if number < num_left else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def print_search(result: dict[str, Any]) -> None:
    """Print the table at the end of a search and where its results are."""
    from ..records.naming import spaces_of

    run = Run.open(Path(result["run"]))
    manifest = run.manifest
    table = Table(title=f"arch {result['arch_id']}")
    highs = {limit.metric: limit.high for limit in manifest.limits or ()}
    metrics = [m for m in WORDS if m != "activations" or m in highs]
    for heading in ("", *(WORDS[metric] for metric in metrics)):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("budget", *(f"{highs[m]:,}" if m in highs else "" for m in metrics))
    table.add_row("found", *(f"{result[metric]:,}" for metric in metrics))
    if manifest["space"] == "sandglass":
        target = spaces_of(run)[0]
        space = Sandglass(resolution=target.resolution, num_classes=target.num_classes)
        published = space.cost.count(space.indices(space.uniform()))
        table.add_row("MobileNeXt-1.0", *(f"{published[metric]:,}" for metric in metrics))
    _console.print(table)
    if front := result.get("front"):
        _print_front(front, result["run"])
    _console.print(
        f"{_effort(run.events())}, {result['seconds']:.0f} s wall, "
        f"{result['cpu_seconds']:.0f} CPU s, peak "
        f"{result['peak_memory_bytes'] / 2**30:.2f} GiB; results in {result['run']}",
    )
    _print_skipped(result)
    if result.get("entropy") is not None:
        _console.print(entropy_in_words(result["entropy"]))
    if blind := observable(spaces_of(run)[1]):
        named = [name for name in blind if name in spaces_of(run)[1].choices()]
        if named:
            _console.print(f"the proxy could not see {len(named)} choices: {', '.join(named)}")
    if ":" not in manifest["data"]:
        _console.print(
            f"{manifest['data']} is embedded demonstration data; --data imagefolder:PATH is the "
            "real thing.",
        )
    _console.print(after_search(result["run"]))


def _print_front(rows: list[dict[str, Any]], run: str) -> None:
    """Print the best arch of each budget, and how they are trained beside each other."""
    table = _table("budget", "arch", "FLOPs", "params", "score", num_left=2)
    for row in rows:
        counts = (f"{row[metric]:,}" for metric in ("flops", "params"))
        table.add_row(in_words(row["budgets"]), row["arch_id"], *counts, f"{row['score']:.2f}")
    _console.print(table)
    _console.print(f"their archs are in {run}/front; nastk compare {run} trains all of them alike")


def _effort(events: list[dict[str, Any]]) -> str:
    """Say how much a search did: archs evaluated, updates of supernets and what stood behind."""
    trials = [event for event in events if "trial" in event]
    updates = [event for event in events if "loss" in event and "trial" not in event]
    done = [f"{len(updates):,} updates"] if updates else []
    if (supernets := len({event.get("supernet") for event in updates})) > 1:
        done = [f"{len(updates):,} updates of {supernets} supernets"]
    if tested := {event["tested"] for event in events if "tested" in event}:
        done.append(f"{len(tested):,} archs tested with inherited weights")
    if untrained := sum("untrained" in event for event in events):
        done.append(f"{untrained:,} untrained ones looked at")
    if trials:
        full = sum(event.get("share", 1) == 1 for event in trials)
        part = f" ({full} in full)" if full < len(trials) else ""
        done.append(f"{len(trials)} evaluations{part}")
    *first, last = done or ["0 updates"]
    return f"{', '.join(first)} and {last}" if first else last


def print_metrics(result: dict[str, Any]) -> None:
    """Print the metrics of a training or an evaluation."""
    for name, value in result["metrics"].items():
        _console.print(
            f"{name:24} {value:,.4g}" if value < 1e6 else f"{name:24} {value:,.0f}", highlight=False
        )
    _console.print(result["weakest_classes"])
    if "network" in result:
        network = ", ".join(f"{key} {value}" for key, value in result["network"].items())
        _console.print(f"trained network: {network}")
    _console.print(f"weights: {result['weights']}")
    for change in result.get("changes", []):
        _console.print(change)
    _print_skipped(result)


def print_retrained(result: dict[str, Any]) -> None:
    """Print the metrics of a training and what comes next."""
    print_metrics(result)
    _console.print(after_retrain(result["run"]))


def _print_skipped(result: dict[str, Any]) -> None:
    if count := result.get("num_skipped", 0):
        what, were, them = ("image", "was", "it") if count == 1 else ("images", "were", "them")
        _console.print(
            f"{count} {what} could not be read and {were} left out (--strict refuses {them})",
        )


def print_count(result: dict[str, Any]) -> None:
    """Print exact counts, for each layer where they were asked for."""
    metrics = ("flops", "params", "activations")
    table = _table("layer", *metrics)
    for layer in result.get("layers", ()):
        table.add_row(layer["layer"], *(f"{layer[m]:,}" for m in metrics))
    table.add_row(result["name"], *(f"{result[m]:,}" for m in metrics))
    _console.print(table)
    for counter in ("fvcore", "torch"):
        if (counted := result.get(f"{counter}_flops")) is not None:
            _console.print(
                f"{counter} counts the same {counted:,} FLOPs, "
                f"the built module has the same {result['module_params']:,} params",
            )


def list_spaces() -> list[dict[str, Any]]:
    """Return what `nastk spaces` shows."""
    rows = []
    for name, family in SPACES.items():
        space = family()
        smallest, largest = flops_range(space)
        rows.append(
            {
                "name": name,
                "num_choices": len(space.choices()),
                "log10_size": round(space.cost.log10_size, 2),
                "flops_min": smallest,
                "flops_max": largest,
                "tasks": list(space.tasks),
            }
        )
    return rows


def print_spaces(rows: list[dict[str, Any]]) -> None:
    """Print the list of spaces."""
    table = _table("space", "tasks", "choices", "archs", "smallest", "largest", num_left=2)
    for row in rows:
        table.add_row(
            row["name"],
            "\n".join(row["tasks"]),
            str(row["num_choices"]),
            f"10^{row['log10_size']:.1f}",
            short(row["flops_min"]),
            short(row["flops_max"]),
        )
    _console.print(table)


def print_space(found: dict[str, Any]) -> None:
    """Print the choices of one space, its size, and what is wrong with it."""
    table = _table("choice", "candidates", num_left=2)
    for name, candidates in found["choices"].items():
        table.add_row(name, ", ".join(map(str, candidates)))
    if found["choices"]:
        _console.print(table)
    if found["flops_min"] is not None:
        size = found["log10_size"]
        choices = "choice" if len(found["choices"]) == 1 else "choices"
        archs = f"{round(10**size):,}" if size < 6 else f"10^{size:.1f}"
        _console.print(
            f"{len(found['choices'])} {choices}, {archs} archs of "
            f"{found['flops_min']:,} to {found['flops_max']:,} FLOPs at "
            f"{found['options']['resolution']} px and {found['options']['num_classes']} classes",
        )
    for check, wrong in found["checks"].items():
        print(f"{check}: {wrong or 'fine'}")
    for note in found["notes"]:
        print(f"note: {note}")


def print_comparison(result: dict[str, Any]) -> None:
    """Print where every network of a comparison stands."""
    title = f"{result['data']}, recipe {result['recipe']}: mean ± spread over seeds"
    table = _table("", "FLOPs", "params", "test loss", "top-1 %", gap=1, title=title)
    rows = result["rows"]
    for row in rows:
        table.add_row(
            row["name"] + ("" if row["inside_budget"] else " ^"),
            f"{row['flops']:,}",
            f"{row['params']:,}",
            "diverged"
            if row.get("num_diverged")
            else _plus_minus(row["loss_nats"], row["loss_spread_nats"], 3),
            _plus_minus(row["top1_percent"], row["top1_spread_percent"], 1),
        )
    _console.print(table)
    if not all(row["inside_budget"] for row in rows):
        _console.print("^: above the budget")
    kinds = {row["kind"] for row in rows}
    if "found" in kinds and "reference" not in kinds:
        _console.print("no reference that nastk can build lies within 15 % of the budget")
    if "rank" in result:
        gain = result["improvement_percent"]
        count = sum(row["kind"] == "random" for row in rows)
        spread = _plus_minus(result["random_mean_loss_nats"], result["random_spread_loss_nats"], 3)
        beside = "% (relative) to the random mean in top-1"
        _console.print(
            f"random mean {spread}; the found arch ranks {result['rank']} of {count + 1} by loss"
            + ("" if gain is None or math.isnan(gain) else f", {gain:+.2f} {beside}"),
        )
    _console.print(
        f"{result['num_trainings']} trainings, {result['cpu_seconds']:.0f} CPU s in all, "
        f"{result['seconds']:.0f} s wall now; results in {result['file']}",
    )
    _print_skipped(result)
    if (following := after_comparison(result.get("run"))) is not None:
        _console.print(following)


def print_proxy(result: dict[str, Any]) -> None:
    """Print what a proxy can rank, and a warning where that is little."""
    table = _table("", "value", "")
    for name, meaning in (
        ("icc_loss", "share of the loss's variance that is due to the arch"),
        ("icc_accuracy", "the same of the accuracy"),
        ("ceiling_tau", "Kendall tau of one training and the mean of the others"),
        ("params_tau", "Kendall tau of more params and lower loss"),
    ):
        value = result[name]
        table.add_row(name, "-" if value is None else f"{value:.2f}", meaning)
    _console.print(table)
    _console.print(
        f"{result['archs']} random archs x {result['seeds']} seeds of {result['space']} at "
        f"{result['flops']} on {result['data']}, recipe {result['recipe']}: loss "
        f"{result['loss_mean_nats']:.3f}, spread {result['loss_between_archs_nats']:.3f} between "
        f"archs, {result['loss_between_seeds_nats']:.3f} between seeds; "
        f"{result['cpu_seconds']:.0f} CPU s; trainings in {result['out']}",
    )
    if result["warning"]:
        _console.print(f"warning: {result['warning']}")


def _plus_minus(value: float | None, spread: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def print_references(rows: list[dict[str, Any]]) -> None:
    """Print published networks within 80 columns; numbered lines say what a figure hides."""
    has_budget = any(row["inside_budget"] is not None for row in rows)
    printed = (
        f"{'printed':^19}\n{'params':>6} {'FLOPs':>5} {'top-1':>5} \n{'M':>6} {'M':>5} {'%':>5} "
    )
    counted = f"{'counted':^18}\n{'params':>6} {'FLOPs':>5} {'diff':>5}\n{'M':>6} {'M':>5} {'%':>5}"
    table = _table(
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
    _console.print(table)
    legend = [
        "s, d: searched or designed; paper: arXiv id, which begins with year and month",
        "printed: by the authors; ?: read in a second-hand table only",
        "counted: by nastk at 224 px; diff: its FLOPs against the printed; #: note",
        *["*: inside the budget"] * has_budget,
    ]
    _console.print("\n".join(legend))
    for number, note in enumerate(notes, 1):
        _console.print(f"[{number}] {note}")


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
        _console.print(
            f"{row['name']:{width}}  {row['status']:8} {row['detail']}",
            soft_wrap=True,
        )
