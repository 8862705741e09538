"""Black-box strategies that are told results of a public table: what their trainings would buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from ..core.arch import Arch
from ..core.budget import Budget
from ..core.files import hash_of
from ..core.lookup import lookup
from ..core.loop import Report
from ..core.record import Count, Record, read_record
from ..core.run import write_json
from ..core.space import Space
from ..nasbench.arch_table import Figures
from ..strategies import STRATEGIES, BlackBox
from .judge import Judge
from .public_rows import Row, Trial
from .strategies import ON_REQUEST, OPTIONAL, found_rows

EVALUATIONS = (20, 50, 100)
"""Trainings that a search may spend."""

_TOLD = ("evolution", "local", "thompson", "on_optuna")


@dataclass(frozen=True, kw_only=True, eq=False)
class ToldTable:
    """All archs of a public table, for searches under one budget, see `nasbench.ArchTable`.

    Attributes:
        judge: of the budget.
    """

    judge: Judge
    num_epochs: int = 1

    @property
    def space(self) -> Space:
        """The space of the archs."""
        return self.judge.table.space

    @property
    def budget(self) -> Budget:
        """Under which searches look."""
        return self.judge.budget

    @cached_property
    def regret(self) -> Figures:
        """[A] points of accuracy lost to the best arch under the budget."""
        result: Figures = self.judge.best - self.judge.table.accuracy
        return result

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return self.judge.table.sha256

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that say what was read, what a search is told and what it is judged by."""
        return self.judge.table.notes

    def position(self, arch: Arch) -> int:
        """Return the number of an arch."""
        return self.judge.table.position(arch)

    def num_trainings(self, row: int) -> int:
        """Return how many trainings an arch has."""
        return len(self.judge.table.told[row])

    def loss(self, row: int, training: int, epoch: int) -> float:
        """Return the share that one training of an arch gets wrong."""
        return 1 - float(self.judge.table.told[row][training]) / 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers(Record):
    """`NAME-EVALUATIONS-HASH.json`: numbers of the archs found with seeds from 0."""

    archs: list[Count] = field(default_factory=list)


def default_told() -> list[str]:
    """Return the black-box strategies that are compared unless others are asked for."""
    return [name for name in _TOLD if _is_installed(name)]


def check_told(names: Sequence[str]) -> None:
    """Refuse strategies that cannot be told results of whole trainings.

    Raises:
        ValueError: naming the strategy.
    """
    for name in names:
        family = lookup("strategy", name, STRATEGIES)
        if not issubclass(family, BlackBox) or name in ON_REQUEST:
            raise ValueError(f"{name} cannot be told results of a table: take {', '.join(_TOLD)}")
        if min(family(evaluations=EVALUATIONS[0]).shares()) < 1:
            raise ValueError(f"{name} asks for shorter trainings, which the table does not have")
        if not _is_installed(name):
            raise ValueError(f"{name} needs the package {OPTIONAL[name]}: pip install it first")


def told_rows(
    name: str, judges: Sequence[Judge], searches: int, folder: Path, report: Report
) -> list[Row]:
    """Return one row for each number of evaluations.

    Args:
        name: of the strategy.
        judges: of the budgets.
        searches: for each budget, with seeds from 0.
        folder: where what was found is kept.
        report: receives progress events.
    """
    result = []
    for evaluations in EVALUATIONS:
        found: dict[str, list[int]] = {}
        for number, judge in enumerate(judges):
            found[judge.name] = _found(name, evaluations, judge, searches, folder)
            phase = f"{judge.table.space.name} {name} told {evaluations}"
            report({"phase": phase, "step": number + 1, "total": len(judges)})
        trials = [
            Trial(
                budgets={j.name: j.figures(found[j.name][seed]) for j in judges},
                seed=seed,
                trainings=evaluations,
            )
            for seed in range(searches)
        ]
        title = f"{name}, told {evaluations} trainings a budget"
        result.append(Row(name=title, kind="told", trials=trials))
    return result


def _found(name: str, evaluations: int, judge: Judge, searches: int, folder: Path) -> list[int]:
    """Return the numbers of the archs found by searches, those that are not known searched."""
    table = ToldTable(judge=judge)
    about = f"{table.sha256} {judge.budget} {evaluations}"
    file = folder / f"{name}-{evaluations}-{hash_of(about)}.json"
    known = list(read_record(file, Answers).archs) if file.is_file() else []
    if any(row >= len(judge.table.accuracy) for row in known):
        raise ValueError(f"{file} is damaged: it names an arch that the table does not have")
    strategy = STRATEGIES[name](**{"evaluations": evaluations})
    assert isinstance(strategy, BlackBox)
    if len(known) < searches:
        for seed in range(len(known), searches):
            *_, (_, row) = found_rows(strategy, table, seed)
            known.append(int(row))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"archs": known})
    return known[:searches]


def _is_installed(name: str) -> bool:
    return name not in OPTIONAL or find_spec(OPTIONAL[name]) is not None
