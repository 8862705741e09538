"""The best arch under one budget or several, found exactly by integer programming (HiGHS)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from .bounds import Bounded
from .constraint import Constraint
from .polynomial import Polynomial, Table
from .pruning import worthwhile
from .stdout import prints_to_stderr

_MANY = 20_000  # entries of all tables: from there on candidates are told apart first
Row = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Columns and values of what is not zero."""


def maximise(
    objective: Polynomial,
    num_candidates: Mapping[str, int],
    costs: Sequence[Bounded] = (),
    gap: float = 0.0,
    constraints: Sequence[Constraint] = (),
    forbidden: Sequence[Mapping[str, int]] = (),
) -> dict[str, int] | None:
    """Return the candidate indices with the largest objective, all costs within their bounds.

    One binary variable stands for each candidate; a table over several choices gets one variable
    for each joint candidate, tied to the binaries by its marginals, which makes products exact.
    Candidates that make no difference to a table share its variables. Where there are very many
    joint candidates, those that no best arch can have are left out first, see `worthwhile`.
    The solver's answer is counted again in integers: should a tolerance have let it slip out of
    the bounds, it is cut off and the problem is solved again.

    Args:
        objective: what to maximise.
        num_candidates: number of candidates of every choice of the space.
        costs: what is bounded, with integer tables, and its smallest and largest allowed value.
        gap: relative distance from the largest objective at which to stop; 0 is exact, which can
            take for ever where objective and a cost are nearly the same function.
        constraints: further rules between choices.
        forbidden: settings of some choices, or of all, that must not occur together.

    Returns:
        One index for each choice, or None if no arch has all costs within their bounds.
    """
    kept = _kept(objective, num_candidates, costs, constraints, forbidden)
    inside = {name: len(candidates) for name, candidates in kept.items()}
    parts = [_restricted(p, kept) for p in (objective, *(cost for cost, _, _ in costs))]
    program = _Program(inside, parts)
    for constraint in constraints:
        row = program.row(_restricted(constraint.polynomial, kept))
        program.bound(row, -np.inf, constraint.high)
    for settings in forbidden:
        if all(index in kept[name] for name, index in settings.items()):
            program.forbid({n: int(np.searchsorted(kept[n], i)) for n, i in settings.items()})
    for (_, low, high), cost in zip(costs, parts[1:], strict=True):
        fixed = float(cost.tables.get((), np.asarray(0)))
        cost_row = program.row(cost)
        scale = max(np.abs(cost_row).max(initial=0.0), 1.0)
        program.bound(cost_row / scale, (low - fixed) / scale, (high - fixed) / scale)
    objective_row = program.row(parts[0])
    while True:
        solution = program.solve(objective_row, gap)
        if solution is None:
            return None
        arch = {name: int(kept[name][index]) for name, index in solution.items()}
        if _allows({n: np.array([i]) for n, i in arch.items()}, costs, constraints)[0]:
            return arch
        program.forbid(solution)


def _kept(
    objective: Polynomial,
    num_candidates: Mapping[str, int],
    costs: Sequence[Bounded],
    constraints: Sequence[Constraint],
    forbidden: Sequence[Mapping[str, int]],
) -> dict[str, NDArray[np.int64]]:
    """Return the candidates of each choice that are worth a variable: all, in small programs."""
    every = {name: np.arange(count) for name, count in num_candidates.items()}
    keys = {key for p in (objective, *(cost for cost, _, _ in costs)) for key in p.tables}
    size = sum(math.prod(num_candidates[name] for name in key) for key in keys)
    if size < _MANY or len(costs) != 1:
        return every

    def is_allowed(archs: dict[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
        allowed = _allows(archs, costs, constraints)
        for settings in forbidden:
            allowed &= ~np.logical_and.reduce([archs[n] == i for n, i in settings.items()])
        return allowed

    return worthwhile(objective, num_candidates, costs[0], is_allowed) or every


def _allows(
    archs: Mapping[str, NDArray[np.int64]],
    costs: Sequence[Bounded],
    constraints: Sequence[Constraint],
) -> NDArray[np.bool_]:
    """Return [A] whether archs, [A] candidate indices a choice, keep all bounds and rules."""
    allowed = [constraint.allows(archs) for constraint in constraints]
    for cost, low, high in costs:
        values = cost.evaluate(archs)
        allowed.append((low <= values) & (values <= high))
    found: NDArray[np.bool_] = np.logical_and.reduce(allowed) if allowed else np.array([True])
    return found


def _restricted(polynomial: Polynomial, kept: Mapping[str, NDArray[np.int64]]) -> Polynomial:
    """Return a polynomial over some candidates of each choice alone."""
    return Polynomial(
        {
            key: table[np.ix_(*(kept[name] for name in key))] if key else table
            for key, table in polynomial.tables.items()
        }
    )


@dataclass(frozen=True)
class _Cells:
    """The variables of one joint table.

    Attributes:
        start: number of the first variable.
        classes: for each axis, the class of each candidate; candidates whose slices are equal in
            every polynomial are of one class.
        first: for each axis, a candidate of each class.
    """

    start: int
    classes: list[NDArray[np.int64]]
    first: list[NDArray[np.int64]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of classes of each axis."""
        return tuple(len(candidates) for candidates in self.first)


class _Program:
    """The variables and constraints of one integer program."""

    def __init__(self, num_candidates: Mapping[str, int], polynomials: list[Polynomial]) -> None:
        self.num_candidates = num_candidates
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, count in num_candidates.items():
            self.offsets[name] = self.size
            self.size += count
        self.num_binaries = self.size
        self.cells: dict[tuple[str, ...], _Cells] = {}
        for key in {key: None for p in polynomials for key in p.tables if len(key) > 1}:
            cells = _cells([p.tables[key] for p in polynomials if key in p.tables], self.size)
            self.cells[key] = cells
            self.size += math.prod(cells.shape)
        self.rows: list[tuple[Row, float, float]] = []
        self._tie()

    def row(self, polynomial: Polynomial) -> NDArray[np.float64]:
        """Return the coefficients of a polynomial."""
        row = np.zeros(self.size)
        for key, table in polynomial.tables.items():
            if len(key) == 1:
                start = self.offsets[key[0]]
                row[start : start + table.size] += table
            elif key:
                cells = self.cells[key]
                values = table[np.ix_(*cells.first)].reshape(-1)
                row[cells.start : cells.start + values.size] += values
        return row

    def _tie(self) -> None:
        """One candidate a choice; the marginals of every joint table are its choices' binaries."""
        for name, count in self.num_candidates.items():
            columns = np.arange(self.offsets[name], self.offsets[name] + count)
            self.rows.append(((columns, np.ones(count)), 1, 1))
        for key, cells in self.cells.items():
            numbers = cells.start + np.arange(math.prod(cells.shape)).reshape(cells.shape)
            for axis, name in enumerate(key):
                for index in range(cells.shape[axis]):
                    inside = np.take(numbers, index, axis=axis).reshape(-1)
                    members = self.offsets[name] + np.flatnonzero(cells.classes[axis] == index)
                    signs = np.concatenate([np.ones(len(inside)), -np.ones(len(members))])
                    self.rows.append(((np.concatenate([inside, members]), signs), 0, 0))

    def bound(self, row: NDArray[np.float64], low: float, high: float) -> None:
        """Add `low <= row . x <= high`."""
        columns = np.flatnonzero(row)
        self.rows.append(((columns, row[columns]), low, high))

    def forbid(self, settings: Mapping[str, int]) -> None:
        """Cut off an assignment of some choices, or of all."""
        columns = np.array([self.offsets[name] + index for name, index in settings.items()])
        self.rows.append(((columns, np.ones(len(columns))), -np.inf, len(settings) - 1))

    def solve(self, objective: NDArray[np.float64], gap: float) -> dict[str, int] | None:
        """Return the best candidate indices, or None if there are none."""
        if not self.num_candidates:
            return {}
        with prints_to_stderr():
            result = milp(
                -objective,
                constraints=self._constraints(),
                integrality=(np.arange(self.size) < self.num_binaries).astype(int),
                bounds=Bounds(0, 1),
                options={"mip_rel_gap": gap},
            )
        if result.status == 2:
            return None
        if result.x is None or result.status != 0:
            raise RuntimeError(f"the budget solver stopped without an answer: {result.message}")
        return {
            name: int(np.argmax(result.x[start : start + self.num_candidates[name]]))
            for name, start in self.offsets.items()
        }

    def _constraints(self) -> LinearConstraint:
        counts = [len(columns) for (columns, _), _, _ in self.rows]
        columns = np.concatenate([columns for (columns, _), _, _ in self.rows])
        values = np.concatenate([values for (_, values), _, _ in self.rows])
        numbers = np.repeat(np.arange(len(self.rows)), counts)
        matrix = csr_matrix((values, (numbers, columns)), shape=(len(self.rows), self.size))
        lows, highs = (np.array([row[i] for row in self.rows]) for i in (1, 2))
        return LinearConstraint(matrix, lows, highs)


def _cells(tables: list[Table], start: int) -> _Cells:
    """Return the variables of a joint table, from `start` on."""
    stacked = np.stack([table.astype(np.float64) for table in tables])
    classes, first = [], []
    for axis in range(1, stacked.ndim):
        slices = np.moveaxis(stacked, axis, 0).reshape(stacked.shape[axis], -1)
        _, candidates, of_candidate = np.unique(
            slices, axis=0, return_index=True, return_inverse=True
        )
        classes.append(of_candidate.reshape(-1))
        first.append(candidates)
    return _Cells(start, classes, first)
