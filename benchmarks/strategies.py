"""Black-box strategies against random search on the table: thousands of searches, no training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from ..core.loop import Report, silent
from ..core.ranked import as_ranked
from ..nasbench.arch_table import ArchTable
from ..nasbench.families import find_space, make_space
from ..nasbench.own_table import read_own_table
from ..nasbench.table import TABLES, load_table
from ..nasbench.table_files import is_listed
from ..strategies import STRATEGIES, BlackBox
from .method import machine

# P points of a curve, R searches

# Regrets are printed when so much of the evaluations is spent.
POINTS = (0.1, 0.2, 0.5, 1.0)
# Strategies that need a package which nastk installs only on request, and those only asked for.
OPTIONAL = {"on_optuna": "optuna", "on_nni": "nni"}
_MOST = 1_000_000  # searches or evaluations, more of which nobody means
ON_REQUEST = ("on_nni",)
SLOW = ("thompson",)  # solves an integer program for each arch: 8 CPU s for 100 evaluations


@dataclass
class NoisyTable:
    """Answers the questions of one search from a table, as one training of each arch would.

    The first question about an arch draws which of its trainings is meant; every later one is
    about the same training, at whatever share of its length.
    """

    table: ArchTable
    seed: int

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng((self.seed, 1_234_567))
        self._drawn: dict[int, int] = {}

    def loss(self, row: int, share: float) -> float:
        """Return the loss that is told when a share of the epochs is over."""
        if row not in self._drawn:
            self._drawn[row] = int(self._generator.integers(self.table.num_trainings(row)))
        epoch = max(1, round(share * self.table.num_epochs))
        return self.table.loss(row, self._drawn[row], epoch)


def found_rows(strategy: BlackBox, table: ArchTable, seed: int) -> Iterator[tuple[float, int]]:
    """Search on a table as `BlackBox.search` does.

    Yields:
        After each trial: the evaluations spent, in full trainings, and the row of the arch that
        would be returned then. That is the sampler's choice or, where it has none, the one of the
        lowest loss among the longest trainings so far.
    """
    sampler = strategy.sampler(table.space, table.budget, seed)
    noisy, spent = NoisyTable(table, seed), 0.0
    best = (0.0, -math.inf, 0)
    for arch, share in strategy.in_turn(lambda _: sampler.ask()):
        row = table.position(arch)
        loss = noisy.loss(row, share)
        sampler.tell(arch, loss)
        spent += share
        best = max(best, (share, -as_ranked(loss), row), key=lambda found: found[:2])
        choice = sampler.choose()
        yield spent, best[2] if choice is None else table.position(choice)


def search(strategy: BlackBox, table: ArchTable, seed: int) -> Iterator[tuple[float, float]]:
    """Yield after each trial of `found_rows` the evaluations spent and the regret of the arch.

    Its regret is its mean loss (the test loss, where the table has one) over its trainings, less
    that of the best arch of the table.
    """
    for spent, row in found_rows(strategy, table, seed):
        yield spent, float(table.regret[row])


def curve(strategy: BlackBox, table: ArchTable, seed: int) -> list[float]:
    """Return the regrets of one search at `POINTS` of its evaluations."""
    history = list(search(strategy, table, seed))
    limits = [point * strategy.evaluations + 1e-9 for point in POINTS]
    return [
        next((regret for spent, regret in reversed(history) if spent <= limit), math.nan)
        for limit in limits
    ]


def contenders(evaluations: int, *, nni: bool, slow: bool = False) -> dict[str, BlackBox]:
    """Return the black-box strategies with their defaults; optional ones where installed."""
    families = {n: family for n, family in STRATEGIES.items() if issubclass(family, BlackBox)}
    found = {
        name: family(evaluations=evaluations)
        for name, family in families.items()
        if name not in ON_REQUEST
        and (slow or name not in SLOW)
        and (name not in OPTIONAL or find_spec(OPTIONAL[name]) is not None)
    }
    if nni:
        asked: Any = {name: families[name] for name in ON_REQUEST}
        for name, family in asked.items():
            for driver in ("evolution", "tpe"):
                found[f"{name} {driver}"] = family(evaluations=evaluations, driver=driver)
    return found


def open_table(table: str, space: str | None = None, flops: str | None = None) -> ArchTable:
    """Return a table of nastk's own, or one of a user's for a space that is named.

    Args:
        table: name in `nastk.nasbench.table.TABLES`, a file that `nastk bench table` wrote or,
            with a space, a file of the format of `nastk.nasbench.table_files`.
        space: name of a space, or `FILE.py:CLASS`; the file is run.
        flops: budget in whose band archs of a user's table are looked for, all if None.

    Raises:
        ValueError: if one of them is wrong or missing, or they do not fit together.
        InfeasibleBudgetError: if no arch of the space can meet the budget.
    """
    path = Path(table).expanduser()
    if space is not None and table in TABLES:
        raise ValueError(
            f"{table} is a table of nastk's, of a space that it names; --space says of which space "
            "a table of yours is: add --table FILE"
        )
    if space is not None:
        return read_own_table(path, make_space(find_space(space), {}), flops)
    if path.is_file() and is_listed(path):
        raise ValueError(f"of which space are the archs of {table}? add --space FILE.py:CLASS")
    if flops is not None:
        raise ValueError(
            "--flops needs a table of your own with its --space; one of `nastk bench table` holds "
            "one band, which is raced over as it is"
        )
    return load_table(table)


def bench_strategies(
    *,
    seeds: int = 50,
    evaluations: int = 50,
    nni: bool = False,
    slow: bool = False,
    table: str = "mbconv-micro",
    space: str | None = None,
    flops: str | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Run every black-box strategy on a table with many seeds, and compare it with random.

    Args:
        seeds: searches of each strategy.
        evaluations: what each search may spend, in full trainings.
        nni: whether the evolution and the TPE of NNI take part.
        slow: whether strategies take part that need minutes, `thompson`.
        table: see `open_table`, also for `space` and `flops`.
        space: of a table of the user's.
        flops: budget, for a table of the user's.
        report: receives progress events.

    Returns:
        `rows`, the strategies from the lowest mean regret at `evaluations` to the highest:
        `strategy seeds evaluations regret random_regret p_value`, and `wins_percent` (pairs of
        its searches and random ones in which its regret is lower, ties half) and `curve` (mean
        regrets by evaluations). `p_value` is that of the one-sided Mann-Whitney U test that its
        regrets are lower than random's; None for random itself. And `table`, `notes` (lines on
        what was compared), `machine`, `seconds`.

    Raises:
        ValueError: if a number means nothing, or the table is missing, damaged or wrong.
        InfeasibleBudgetError: if no arch of the space can meet the budget.
    """
    if not (2 <= seeds <= _MOST and 1 <= evaluations <= _MOST):
        raise ValueError(
            f"needs at least 2 --seeds and 1 of --evaluations, and at most {_MOST:,} of each, got "
            f"{seeds} and {evaluations}"
        )
    if nni and find_spec("nni") is None:
        raise ValueError("--nni needs the package nni: pip install 'nastk[nni]'")
    start = time.perf_counter()
    loaded = open_table(table, space, flops)
    found, notes = _answered(contenders(evaluations, nni=nni, slow=slow), loaded)
    if (num_archs := len(loaded.regret)) <= evaluations:
        notes.append(
            f"a search of {evaluations} evaluations sees all {num_archs} archs: fewer "
            "--evaluations would tell more"
        )
    curves = _curves(found, loaded, seeds, report)
    rows = [_row(name, curves[name], curves["random"], evaluations) for name in found]
    return {
        "machine": machine(),
        "rows": sorted(rows, key=lambda row: float(row["regret"])),
        "table": {"name": table, "archs": num_archs, "sha256": loaded.sha256},
        "notes": notes,
        "seconds": time.perf_counter() - start,
    }


def _answered(
    found: dict[str, BlackBox], table: ArchTable
) -> tuple[dict[str, BlackBox], list[str]]:
    """Return the strategies whose questions a table can answer, and what is to be said."""
    asks = {
        name: min(strategy.shares()) * table.num_epochs >= 1 for name, strategy in found.items()
    }
    notes = list(table.notes)
    if unanswered := [name for name, is_answered in asks.items() if not is_answered]:
        notes.append(
            f"left out: {', '.join(unanswered)}, which asks for shorter trainings; the table has "
            "the ends of whole ones"
        )
    return {name: strategy for name, strategy in found.items() if asks[name]}, notes


def _curves(
    found: dict[str, BlackBox], table: ArchTable, seeds: int, report: Report
) -> dict[str, NDArray[np.float64]]:
    """Return [R, P] regrets of the searches of each strategy."""
    curves: dict[str, NDArray[np.float64]] = {}
    for number, (name, strategy) in enumerate(found.items()):
        results = []
        for seed in range(seeds):
            results.append(curve(strategy, table, seed))
            step = number * seeds + seed + 1
            report({"phase": name, "step": step, "total": len(found) * seeds})
        curves[name] = np.array(results)
    return curves


def _row(
    name: str, curves_RP: NDArray[np.float64], random_RP: NDArray[np.float64], evaluations: int
) -> dict[str, Any]:
    mine, others = curves_RP[:, -1], random_RP[:, -1]
    test = mannwhitneyu(mine, others, alternative="less")
    points = [f"{point * evaluations:g}" for point in POINTS]
    means = [float(value) if math.isfinite(value) else None for value in curves_RP.mean(0)]
    return {
        "strategy": name,
        "seeds": len(mine),
        "evaluations": evaluations,
        "regret": float(mine.mean()),
        "random_regret": float(others.mean()),
        "p_value": None if name == "random" else float(test.pvalue),
        "wins_percent": 100 * (1 - float(test.statistic) / (len(mine) * len(others))),
        "curve": dict(zip(points, means, strict=True)),
    }


def as_text(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result for `markdown`: one column a point of the curve, few digits."""
    rows = []
    for row in result["rows"]:
        cells = {"strategy": row["strategy"]}
        for point, regret in row["curve"].items():
            cells[f"regret at {point}"] = "-" if regret is None else f"{regret:.4f}"
        p_value = row["p_value"]
        cells["better than random, % of pairs"] = f"{row['wins_percent']:.0f}"
        cells["p (Mann-Whitney)"] = "-" if p_value is None else f"{p_value:.1g}"
        rows.append(cells)
    return {**result, "rows": rows}
