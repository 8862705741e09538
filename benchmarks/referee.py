"""Searches judged by public tables, in which the real results of all archs stand."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..core.clock import cpu_seconds
from ..core.files import hash_of
from ..core.lookup import lookup
from ..core.loop import Report, silent
from ..core.torch_state import own_torch_state
from ..records.manifest import absolute_data
from ..records.named import find_strategy
from ..records.naming import check_numbers, find_device
from ..records.plugins import make_strategy
from ..strategies import BlackBox
from ..tasks.named import find_data
from .judge import Judge
from .method import machine
from .public_rows import Row, rules
from .public_searches import Settings, search_rows
from .public_table import PublicTable, open_nasbench201, open_nasbench_macro
from .told import check_told, default_told, told_rows
from .untrained import PROXIES, Untrained, ceiling

_MOST = 1_000_000  # searches or archs, more of which nobody means
DEFAULT_FOLDER = Path("runs", "bench-public")


@own_torch_state()
def bench_public(
    *,
    macro: str | Path | None = None,
    nb201: str | Path | None = None,
    strategies: Sequence[str] = ("meta_kernel",),
    strategy_options: Mapping[str, Mapping[str, Any]] | None = None,
    flops: Sequence[str] | None = None,
    proxies: Sequence[str] = tuple(PROXIES),
    untrained: int = 120,
    told: Sequence[str] | None = None,
    told_searches: int = 10,
    data: str = "digits-photo",
    seeds: int = 5,
    steps: int | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    report: Report = silent,
) -> dict[str, Any]:
    """Search the spaces of public tables, and look up what was found.

    Networks are trained on `data` alone; the accuracies of the table judge. Each finished search
    is a run folder that is not searched again, and one that was interrupted goes on.

    Args:
        macro: file of NAS-Bench-Macro, `nas-bench-macro_cifar10.json`, maybe packed.
        nb201: csv of NAS-Bench-201, maybe packed; see `nastk.nasbench.public_tables`.
        strategies: that train supernets, by name or `FILE.py:CLASS`.
        strategy_options: fields of each, by its name.
        flops: budgets in place of those of each table; `none` is the whole space.
        proxies: names in `PROXIES`, each of which is measured on untrained archs and fitted.
        untrained: archs that a proxy measures.
        told: black-box strategies that are told accuracies of the table; those of
            `default_told` if None.
        told_searches: of each of these, with seeds from 0.
        data: on which networks are trained.
        seeds: searches of each strategy, with seeds from 0.
        steps: updates of each supernet; the space's if None.
        out: folder of the runs, `runs/bench-public` if None.
        device: `cpu` or `cuda`.
        report: receives progress events.

    Returns:
        `tables`, for each what it is, its `budgets` (`Judge.describe`) and its `rows`
        (`Row.to_json`), and `machine`, `settings`, `seconds` of this call.

    Raises:
        ValueError: if a file or an option is wrong, before anything is searched.
        InfeasibleBudgetError: if no arch of a space can meet a budget.
    """
    start = time.perf_counter()
    check_numbers(steps=steps)
    if macro is None and nb201 is None:
        raise ValueError("needs a table: --macro FILE, --nb201 FILE or both; see --help")
    find_device(device)
    find_data(data := absolute_data(data))
    settings = Settings(
        data=data,
        seeds=seeds,
        steps=steps,
        folder=Path(out) if out else DEFAULT_FOLDER,
        device=device,
        strategies={name: dict((strategy_options or {}).get(name, {})) for name in strategies},
        proxies=list(proxies),
        untrained=untrained,
        told=default_told() if told is None else list(told),
        told_searches=told_searches,
    )
    _check(settings, strategy_options or {})
    openers = ((macro, open_nasbench_macro), (nb201, open_nasbench201))
    tables = [opener(file) for file, opener in openers if file is not None]
    judged = [(table, _judges(table, flops)) for table in tables]
    torch.set_num_threads(1)
    return {
        "machine": machine(),
        "settings": json.loads(json.dumps(dataclasses.asdict(settings), default=str)),
        "tables": [_compared(table, judges, settings, report) for table, judges in judged],
        "seconds": time.perf_counter() - start,
    }


def _check(settings: Settings, given: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse numbers that mean nothing, unknown names, and options that a strategy lacks."""
    least = {"seeds": 1, "untrained": 2, "told_searches": 1}
    for name, number in least.items():
        if not number <= (value := getattr(settings, name)) <= _MOST:
            flag = name.replace("_", "-")
            raise ValueError(
                f"needs at least {number} and at most {_MOST:,} of --{flag}, got {value}"
            )
    for name in settings.proxies:
        lookup("proxy", name, PROXIES)
    check_told(settings.told)
    for name in given:
        if name not in settings.strategies:
            raise ValueError(f"--set gives an option to {name}, which --strategies does not name")
    for name, options in settings.strategies.items():
        family = find_strategy(name)
        if issubclass(family, BlackBox):
            raise ValueError(
                f"{name} trains archs one by one, and no supernet: it belongs to --told"
            )
        if settings.steps is not None and "steps" in options:
            raise ValueError("--steps and --set steps are one setting: leave one out")
        make_strategy(family, options)


def _judges(table: PublicTable, flops: Sequence[str] | None) -> list[Judge]:
    texts = table.budgets if flops is None else [None if t == "none" else t for t in flops]
    return [Judge(table, text) for text in dict.fromkeys(texts)]


def _compared(
    table: PublicTable, judges: Sequence[Judge], settings: Settings, report: Report
) -> dict[str, Any]:
    """Return all that was tried on one table."""
    before = cpu_seconds()
    rows = [row.to_json() for row in _rows(table, judges, settings, report)]
    return {
        "table": table.space.name,
        "path": str(table.path),
        "sha256": table.sha256,
        "archs": len(table.accuracy),
        "notes": list(table.notes),
        "budgets": {judge.name: judge.describe() for judge in judges},
        "rows": rows,
        "cpu_seconds_here": cpu_seconds() - before,
    }


def _rows(
    table: PublicTable, judges: Sequence[Judge], settings: Settings, report: Report
) -> Iterator[Row]:
    folder = settings.folder / table.space.name
    yield from rules(table, judges)
    for name in settings.strategies:
        yield from search_rows(name, table, judges, settings, report)
    measured = Untrained(
        table=table,
        data=settings.data,
        archs=settings.untrained,
        folder=folder / f"untrained-{hash_of(settings.data)}",
    )
    for name in settings.proxies:
        yield measured.row(name, settings.seeds, judges, report)
    for name in settings.told:
        yield from told_rows(name, judges, settings.told_searches, folder / "told", report)
    yield ceiling(table, judges)
