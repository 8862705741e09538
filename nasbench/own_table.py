"""A table of a user's for a space of theirs: strategies race on it as on the one of nastk."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.arch import Arch
from ..core.band import Band, band_of
from ..core.budget import Budget, flops_range, parse_budget
from ..core.choice import Value
from ..core.listing import all_archs
from ..core.space import Space
from .arch_table import Figures
from .table_files import Entry, TableFile, read_table_file

# A archs, S trainings of an arch, D choices


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTable:
    """Archs of a band with the losses of their whole trainings, see `ArchTable`.

    Attributes:
        path: of the file.
        space: of the archs.
        budget: in whose band they are.
        sha256: of the file.
        losses: [S] for each arch; one of them is told, their mean judges.
        rows: by the values of an arch in the order of the space's choices.
        notes: what was read, what is told and what judges, in lines.
    """

    path: Path
    space: Space
    budget: Budget
    sha256: str
    losses: Sequence[Figures]
    rows: Mapping[tuple[Value, ...], int]
    notes: tuple[str, ...]
    num_epochs: int = 1

    @cached_property
    def regret(self) -> Figures:
        """[A] mean loss over the trainings, less that of the best arch of the band."""
        mean_A = np.array([losses_S.mean() for losses_S in self.losses])
        result: Figures = mean_A - mean_A.min()
        return result

    def position(self, arch: Arch) -> int:
        """Return the row of an arch.

        Raises:
            ValueError: if it is of another space, or not in the table.
        """
        values = tuple(arch.choices.get(name) for name in self.space.choices())
        found = self.rows.get(values) if arch.space == self.space.name else None  # type: ignore[arg-type]
        if found is None:
            raise ValueError(
                f"{self.path} lacks an arch of {arch.space} that a search asks for, "
                f"{_described(arch.choices)}; every arch of the band has to be in it"
            )
        return found

    def num_trainings(self, row: int) -> int:
        """Return how many trainings an arch has."""
        return len(self.losses[row])

    def loss(self, row: int, training: int, epoch: int) -> float:
        """Return the loss of a whole training; nothing else is known of it."""
        assert epoch == 1
        return float(self.losses[row][training])


def read_own_table(path: Path, space: Space, flops: str | None = None) -> OwnTable:
    """Read a table of a user's and keep the archs of a budget's band.

    Args:
        path: a file of the format of `table_files`.
        space: of its archs; their FLOPs are counted.
        flops: budget as people write it, the whole space if None.

    Raises:
        ValueError: naming line or entry, if an arch is none of the space, occurs twice, or has
            figures that mean nothing; or if archs of the band are missing, which a search may ask
            for.
        InfeasibleBudgetError: if no arch of the space can meet the budget.
    """
    choices = space.choices()
    if not choices:
        raise ValueError(f"{space.name} has no choices, so that there is nothing to search")
    file = read_table_file(path, choices)
    losses, meaning = as_losses(file)
    rows_AD = _canonical(space, file.entries)
    budget = Budget(*flops_range(space)) if flops is None else parse_budget(flops, space)
    band = band_of(space, budget)
    indices = dict(zip(choices, rows_AD.T, strict=True))
    inside = np.flatnonzero(band.bounds.allows(space.cost, indices))
    whole = _check_complete(path, space, band, rows_AD[inside])
    kept = [losses[row] for row in inside]
    candidates = [choice.candidates for choice in choices.values()]
    keys = [tuple(c[i] for c, i in zip(candidates, rows_AD[row], strict=True)) for row in inside]
    outside = len(losses) - len(inside)
    notes = [
        f"{path}: {len(kept):,} archs of {space.name} with {band.low:,} to {band.high:,} FLOPs"
        f"{whole}" + (f"; not used, as outside: {outside:,}" if outside else ""),
        meaning,
        _told(kept),
    ]
    if file.left_out:
        notes.append(f"not used of the file: {', '.join(file.left_out)}")
    return OwnTable(
        path=path,
        space=space,
        budget=budget,
        sha256=file.sha256,
        losses=kept,
        rows={key: row for row, key in enumerate(keys)},
        notes=tuple(notes),
    )


def as_losses(file: TableFile) -> tuple[list[Figures], str]:
    """Return [S] losses of each arch, and in words how the figures of the file were understood.

    Losses are taken as they are. Accuracies are shares of 1 where none exceeds 1, otherwise per
    cent; the loss is the share that is wrong.

    Raises:
        ValueError: naming line or entry, if an accuracy is below 0 or above 100, or is per cent
            where most are shares.
    """
    figures = [np.array(entry.figures) for entry in file.entries]
    if file.kind == "losses":
        return figures, "losses are taken as they are, the lowest is the best"
    lows, highs = [f.min() for f in figures], [f.max() for f in figures]
    first, last = int(np.argmin(lows)), int(np.argmax(highs))
    least, most = float(lows[first]), float(highs[last])
    if least < 0 or most > 100:
        entry, value = (file.entries[first], least) if least < 0 else (file.entries[last], most)
        raise ValueError(
            f"{entry.where}: accuracy {value:g} is neither a share of 1 nor per cent; for another "
            "measure give losses, of which the lowest is the best"
        )
    if most > 1 and statistics.median(highs) <= 1:
        raise ValueError(
            f"{file.entries[last].where}: accuracy {most:g} is per cent, while most of the table "
            "are shares of 1: write all of them in one way"
        )
    unit, scale = ("per cent", 100) if most > 1 else ("shares of 1", 1)
    formula = f"1 - accuracy{' / 100' if scale == 100 else ''}"
    words = f"accuracies from {least:g} to {most:g} are read as {unit}: the loss is {formula}"
    words += ", a regret of 0.01 one point"
    return [1 - f / scale for f in figures], words


def _canonical(space: Space, entries: Sequence[Entry]) -> NDArray[np.int64]:
    """Return [A, D] the archs with idle choices at their first candidate, each of them once."""
    rows_AD = np.array([entry.indices for entry in entries], dtype=np.int64)
    names = list(space.choices())
    active = space.cost.active(dict(zip(names, rows_AD.T, strict=True)))
    rows_AD = np.where(np.stack([active[name] for name in names], 1), rows_AD, 0)
    columns = dict(zip(names, rows_AD.T, strict=True))
    for rule in space.constraints:
        if len(broken := np.flatnonzero(~rule.allows(columns))):
            raise ValueError(
                f"{entries[broken[0]].where}: excluded by the {rule.name} rule of {space.name}"
            )
    first: dict[tuple[int, ...], Entry] = {}
    for key, entry in zip(map(tuple, rows_AD.tolist()), entries, strict=True):
        if (known := first.setdefault(key, entry)) is not entry:
            idle = "" if known.indices == entry.indices else ", as idle choices change nothing"
            raise ValueError(
                f"{entry.where}: the same arch as {known.where}{idle}; put its trainings together"
            )
    return rows_AD


def _check_complete(path: Path, space: Space, band: Band, rows_AD: NDArray[np.int64]) -> str:
    """Refuse a table without all archs of a band, and say how much is known of that.

    Raises:
        ValueError: with one of the missing archs.
    """
    all_AD = all_archs(space, band.bounds)
    if all_AD is None:
        return ", too many to see whether all are there: who asks for a missing one ends the race"
    known = set(map(tuple, rows_AD.tolist()))
    lacking = [key for key in map(tuple, all_AD.tolist()) if key not in known]
    if lacking:
        example = space.arch_at(dict(zip(space.choices(), lacking[0], strict=True)))
        raise ValueError(
            f"{path} lacks {len(lacking):,} of {len(all_AD):,} archs of {space.name} with "
            f"{band.low:,} to {band.high:,} FLOPs, among them {_described(example.choices)}; "
            "searches may ask for any of them: add them, or give by --flops LOW:HIGH a band of "
            "which all are in the table"
        )
    return ", all that there are"


def _told(losses: Sequence[Figures]) -> str:
    """Say what a search learns of an arch, and what judges the arch that it returns."""
    counts = [len(losses_S) for losses_S in losses]
    least, most = min(counts), max(counts)
    if most == 1:
        return (
            "one training an arch: a search is told the very loss that judges what it returns, "
            "without the noise of trainings"
        )
    number = f"{least}" if least == most else f"{least} to {most}"
    return (
        f"{number} trainings an arch: a search is told one of them, drawn anew for every search; "
        "the mean of all judges what it returns, and there is no other test"
    )


def _described(choices: Mapping[str, Value]) -> str:
    return " ".join(f"{name}={value}" for name, value in choices.items())
