"""The front of a search: of each of several budgets the most promising arch, in one run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.arch import Arch
from ..core.bounds import WORDS
from ..core.files import make_folder, write_atomically
from ..core.manifest import Limit
from ..core.record import Count, Record, read_record
from ..core.run import Run, write_json
from ..core.space import Space

FILE = "front.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class FrontRow(Record):
    """One budget and the arch that is best under it by the ranking of the search.

    Attributes:
        budgets: what is bounded.
        arch_id: of the arch.
        choices: of the arch.
        file: with the arch, within the run folder; every command takes it.
        flops: of the target.
        params: of the target.
        activations: of the target.
        score: by the ranking, higher is better; comparable within one run.
    """

    budgets: list[Limit]
    arch_id: str
    choices: dict[str, Any]
    file: str
    flops: Count
    params: Count
    activations: Count
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Front(Record):
    """`front.json`: rows by budget, the smallest first."""

    rows: list[FrontRow]


def read_front(run: Run) -> list[FrontRow]:
    """Return the rows of a run's front, none where it has none.

    Raises:
        ValueError: naming the file, if it is damaged.
    """
    file = run.path / FILE
    return read_record(file, Front).rows if file.is_file() else []


def front_choices(run: Run) -> dict[str, dict[str, Any]]:
    """Return the choices of the archs of a run's front, by the names of their files."""
    return {f"front-{Path(row.file).stem}": row.choices for row in read_front(run)}


def front_row(
    run: Run, space: Space, arch: Arch, budgets: Sequence[dict[str, Any]], score: float
) -> dict[str, Any]:
    """Write the arch of a budget into the run, and return its row.

    Args:
        run: of the search.
        space: the target.
        arch: the best of the budget.
        budgets: `metric low high` of what is bounded, see `nastk.core.budget`.
        score: of the arch.
    """
    ends = [
        "-".join(str(limit[end]) for end in ("metric", "low", "high") if limit[end] is not None)
        for limit in budgets
    ]
    file = f"front/{'-'.join(ends)}.json"
    make_folder(run.path / "front")
    write_atomically(run.path / file, arch.to_json().encode())
    return {
        "budgets": list(budgets),
        "arch_id": arch.id,
        "choices": dict(arch.choices),
        "file": file,
        **space.cost.count(space.indices(arch)),
        "score": score,
    }


def write_front(run: Run, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add rows to the front of a run, instead of those of the same budgets, and return all."""
    known = {_key(row): row for row in (*map(dict, read_front(run)), *rows)}
    ordered = sorted(known.values(), key=lambda row: (row["budgets"][0]["high"], _key(row)))
    write_json(run.path / FILE, {"rows": ordered})
    return ordered


def in_words(limits: Sequence[dict[str, Any] | Limit]) -> str:
    """Say what is bounded.

    Example:
        >>> in_words([{"metric": "flops", "low": None, "high": 357_000_000}])
        '357,000,000 FLOPs'
    """
    ends = []
    for limit in limits:
        low = "" if limit["low"] is None else f"{limit['low']:,} to "
        ends.append(f"{low}{limit['high']:,} {WORDS[limit['metric']]}")
    return " and ".join(ends)


def _key(row: dict[str, Any]) -> str:
    return str([(limit["metric"], limit["low"], limit["high"]) for limit in row["budgets"]])
