"""The best arch under a budget, found exactly by integer programming (HiGHS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from .polynomial import Polynomial, Table


def maximise(
    objective: Polynomial,
    cost: Polynomial,
    num_candidates: Mapping[str, int],
    low: float = -np.inf,
    high: float = np.inf,
    gap: float = 0.0,
) -> dict[str, int] | None:
    """Return the candidate indices with the largest objective and `low <= cost <= high`.

    One binary variable stands for each candidate; a table over several choices gets one variable
    for each joint candidate, tied to the binaries by its marginals, which makes products exact.
    The solver's answer is counted again in integers: should a tolerance have let it slip out of
    the bounds, it is cut off and the problem is solved again.

    Args:
        objective: what to maximise.
        cost: what is bounded, with integer tables.
        num_candidates: number of candidates of every choice of the space.
        low: smallest allowed cost.
        high: largest allowed cost.
        gap: relative distance from the largest objective at which to stop; 0 is exact, which can
            take for ever where objective and cost are nearly the same function.

    Returns:
        One index for each choice, or None if no arch has a cost within the bounds.
    """
    program = _Program(num_candidates)
    objective_row = program.row(objective)
    cost_row = program.row(cost)
    program.tie_tables()
    fixed = float(cost.tables.get((), np.asarray(0)))
    scale = max(np.abs(cost_row).max(initial=0.0), 1.0)
    if np.isfinite(low) or np.isfinite(high):
        program.bound(
            program.padded(cost_row) / scale, (low - fixed) / scale, (high - fixed) / scale
        )
    while True:
        solution = program.solve(program.padded(objective_row), gap)
        if solution is None:
            return None
        one = {name: np.array([index]) for name, index in solution.items()}
        if low <= cost.evaluate(one)[0] <= high:
            return solution
        program.forbid(solution)


@dataclass
class _Program:
    """The variables and constraints of one integer program."""

    num_candidates: Mapping[str, int]
    offsets: dict[str, int] = field(default_factory=dict)
    tables: dict[tuple[str, ...], tuple[int, Table]] = field(default_factory=dict)
    size: int = 0
    num_binaries: int = 0
    rows: list[tuple[NDArray[np.float64], float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, count in self.num_candidates.items():
            self.offsets[name] = self.size
            self.size += count
        self.num_binaries = self.size

    def row(self, polynomial: Polynomial) -> NDArray[np.float64]:
        """Return the coefficients of a polynomial, adding variables for its joint tables."""
        for key, table in polynomial.tables.items():
            if len(key) > 1 and key not in self.tables:
                self.tables[key] = (self.size, table)
                self.size += table.size
        row = np.zeros(self.size)
        for key, table in polynomial.tables.items():
            if key:
                start = self.offsets[key[0]] if len(key) == 1 else self.tables[key][0]
                row[start : start + table.size] += table.reshape(-1)
        return row

    def padded(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a row lengthened by zeros to the present number of variables."""
        return np.pad(row, (0, self.size - len(row)))

    def tie_tables(self) -> None:
        """One candidate a choice; the marginals of every joint table are its choices' binaries."""
        for name, count in self.num_candidates.items():
            row = np.zeros(self.size)
            row[self.offsets[name] : self.offsets[name] + count] = 1
            self.rows.append((row, 1, 1))
        for key, (start, table) in self.tables.items():
            cells = np.arange(start, start + table.size).reshape(table.shape)
            for axis, name in enumerate(key):
                for index in range(table.shape[axis]):
                    row = np.zeros(self.size)
                    row[np.take(cells, index, axis=axis).reshape(-1)] = 1
                    row[self.offsets[name] + index] = -1
                    self.rows.append((row, 0, 0))

    def bound(self, row: NDArray[np.float64], low: float, high: float) -> None:
        """Add `low <= row . x <= high`."""
        self.rows.append((row, low, high))

    def forbid(self, solution: Mapping[str, int]) -> None:
        """Cut off one assignment of all choices."""
        row = np.zeros(self.size)
        for name, index in solution.items():
            row[self.offsets[name] + index] = 1
        self.rows.append((row, -np.inf, len(solution) - 1))

    def solve(self, objective: NDArray[np.float64], gap: float) -> dict[str, int] | None:
        """Return the best candidate indices, or None if there are none."""
        if not self.num_candidates:
            return {}
        matrix = csr_matrix(np.stack([row for row, _, _ in self.rows]))
        lows, highs = (np.array([r[i] for r in self.rows]) for i in (1, 2))
        integrality = np.zeros(self.size)
        integrality[: self.num_binaries] = 1
        result = milp(
            -objective,
            constraints=LinearConstraint(matrix, lows, highs),
            integrality=integrality,
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
