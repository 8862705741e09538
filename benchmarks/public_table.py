"""A public table of real results as a referee: every arch of a space, with its accuracy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.arch import Arch
from ..core.cost import Indices
from ..core.files import file_sha256
from ..core.space import Space
from ..nasbench.public_tables import read_nasbench201_csv, read_nasbench_macro
from ..search_spaces import NasBench201, NasBenchMacro
from ..search_spaces.nasbench201 import OPERATIONS, format_arch

# A archs, D choices, S trainings of an arch

Floats = NDArray[np.float64]

_OPERATION = re.compile(r"([a-z0-9_]+)~\d")


@dataclass(frozen=True, kw_only=True, eq=False)
class PublicTable:
    """All archs of a space with their real accuracies.

    Archs are numbered by their candidate indices, the last choice changing fastest.

    Attributes:
        space: of the archs.
        path: of the file.
        sha256: of the file as it lies there.
        accuracy: [A] percent, by which an arch is judged.
        told: [S] percent of each arch, one of which a search that asks for a training is told.
        budgets: of FLOPs, as people write them; None for the whole space.
        notes: what was read, what judges and what is told, in lines.
    """

    space: Space
    path: Path
    sha256: str
    accuracy: Floats
    told: Sequence[Floats]
    budgets: tuple[str | None, ...]
    notes: tuple[str, ...]

    @cached_property
    def indices(self) -> Indices:
        """For every choice [A] the candidate index of each arch."""
        return _all_indices(self.space)

    def position(self, arch: Arch) -> int:
        """Return the number of an arch."""
        counts = tuple(self.space.num_candidates.values())
        return int(np.ravel_multi_index(tuple(self.space.indices(arch).values()), counts))


def open_nasbench_macro(path: Path | str) -> PublicTable:
    """Read NAS-Bench-Macro and see that the space counts all its archs as the file does.

    Raises:
        ValueError: if the file cannot be read, lacks archs, or counts another network.
    """
    path, space = Path(path).expanduser(), NasBenchMacro()
    found = read_nasbench_macro(path)
    rows_AD = np.array([[int(digit) for digit in key] for key in found])
    order_A = _in_order(path, space, rows_AD, _macro_key)
    keys, records = list(found), list(found.values())
    indices = _all_indices(space)
    for name in ("flops", "params"):
        told_A = np.array([getattr(record, name) for record in records])[order_A]
        counted_A = space.cost.polynomial(name).evaluate(indices)
        if len(odd := np.flatnonzero(told_A != counted_A)):
            first = int(odd[0])
            raise ValueError(
                f"arch {keys[order_A[first]]} of {path} has {told_A[first]:,} {name}, and "
                f"{space.name} counts {counted_A[first]:,}: the file is of other networks"
            )
    told = [np.array(records[row].test_top1_percent) for row in order_A]
    return PublicTable(
        space=space,
        path=path,
        sha256=file_sha256(path),
        accuracy=np.array([one.mean() for one in told]),
        told=told,
        budgets=("30%", "40%", "50%", "60%", "80%"),
        notes=(
            f"{path}: {len(told):,} archs, counts of FLOPs and params equal those of {space.name}",
            "judged by the mean test accuracy of its trainings of 50 epochs on CIFAR-10; a search "
            "that asks for a training is told one of them",
        ),
    )


def open_nasbench201(path: Path | str) -> PublicTable:
    """Read the csv of NAS-Bench-201, by its accuracies on CIFAR-10.

    Raises:
        ValueError: if the file cannot be read, lacks archs, or has no accuracies on CIFAR-10.
    """
    path, space = Path(path).expanduser(), NasBench201()
    found = read_nasbench201_csv(path)
    columns = [
        name for name in ("cifar10-test", "cifar10-val") if name in next(iter(found.values()))
    ]
    if not columns:
        raise ValueError(f"{path} has no accuracies on CIFAR-10: it needs a column cifar10-test")
    rows_AD = np.array([[OPERATIONS.index(o) for o in _OPERATION.findall(cell)] for cell in found])
    order_A = _in_order(path, space, rows_AD, lambda row: format_arch(space.arch_at(row)))
    records = list(found.values())
    judged, told = columns[0], columns[-1]
    return PublicTable(
        space=space,
        path=path,
        sha256=file_sha256(path),
        accuracy=np.array([records[row][judged] for row in order_A]),
        told=[np.array([records[row][told]]) for row in order_A],
        budgets=("30M", "60M", "100M", None),
        notes=(
            f"{path}: {len(found):,} archs; FLOPs are those of {space.name}, the file has none",
            f"judged by {judged}; a search that asks for a training is told {told}",
            "accuracies of the csv that is in circulation are those after 12 epochs of training "
            "(best: 89.16): published results of 200 epochs do not stand beside them",
        ),
    )


def _in_order(
    path: Path,
    space: Space,
    rows_AD: NDArray[np.int64],
    key_of: Callable[[dict[str, int]], str],
) -> list[int]:
    """Return for every arch of a space the row of the file that has it."""
    counts = tuple(space.num_candidates.values())
    row_of = np.full(int(np.prod(counts)), -1)
    row_of[np.ravel_multi_index(tuple(rows_AD.T), counts)] = np.arange(len(rows_AD))
    if len(missing := np.flatnonzero(row_of < 0)):
        first = np.unravel_index(int(missing[0]), counts)
        key = key_of(dict(zip(space.num_candidates, map(int, first), strict=True)))
        raise ValueError(
            f"{path} lacks {len(missing):,} of the {len(row_of):,} archs of {space.name}, {key} "
            "first; a search may find any of them, so that all have to be in it"
        )
    order: list[int] = row_of.tolist()
    return order


def _all_indices(space: Space) -> Indices:
    """Return the candidate indices of every arch, the last choice changing fastest."""
    counts = space.num_candidates
    flat_A = np.arange(int(np.prod(list(counts.values()))))
    columns = np.unravel_index(flat_A, tuple(counts.values()))
    return dict(zip(counts, columns, strict=True))


def _macro_key(row: dict[str, int]) -> str:
    return "".join(map(str, row.values()))
