"""NNI and Optuna beside nastk's evolution: the same task, budget and evaluations.

`python -m nastk.benchmarks.side_by_side [--seeds N] [--train N]`: what a search costs without its
evaluations, on the table; with `--train`, searches with so many real trainings as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.run import Run
from ..nasbench.table import Table, load_table
from ..strategies import BlackBox, Evolution, OnNni, OnOptuna
from ..strategies.on_nni import to_nni
from .method import machine
from .strategies import NoisyTable, search
from .tables import markdown

EVALUATIONS = 100
STRATEGIES: dict[str, Callable[..., BlackBox]] = {
    "evolution": Evolution,
    "on_optuna, TPE": OnOptuna,
    "on_nni, evolution": OnNni,
    "on_nni, TPE": lambda **options: OnNni(driver="tpe", **options),
}
BY_ITSELF = "NNI by itself, evolution"


def by_bridge(name: str, table: Table, seed: int) -> float:
    """Return the regret of a search by nastk's ask and tell."""
    return list(search(STRATEGIES[name](evaluations=EVALUATIONS), table, seed))[-1][1]


def by_itself(name: str, table: Table, seed: int) -> float:
    """Return the regret of NNI's own loop, which refuses samples outside of the budget."""
    import nni
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import RegularizedEvolution

    noisy, found = NoisyTable(table, seed), []

    def score(network: Any) -> None:
        row = table.position(network.arch)
        found.append((noisy.loss(row, 1.0), row))
        nni.report_final_result(-found[-1][0])

    models = to_nni(table.space, table.budget)
    strategy = RegularizedEvolution(population_size=20, sample_size=10, seed=seed)
    strategy(
        RawFormatModelSpace.from_model(models, FunctionalEvaluator(score)),
        SequentialExecutionEngine(max_model_count=EVALUATIONS),
    )
    return float(table.regret[min(found)[1]])


def on_table(seeds: int) -> list[dict[str, Any]]:
    """Return a row for each contender: CPU milliseconds of an evaluation, and its regret."""
    table, rows = load_table(), []
    for name in [*STRATEGIES, BY_ITSELF]:
        run = by_itself if name == BY_ITSELF else by_bridge
        run(name, table, seeds)  # imports and first traces are not counted
        start = time.process_time()
        regrets = [run(name, table, seed) for seed in range(seeds)]
        spent = 1000 * (time.process_time() - start) / seeds / EVALUATIONS
        row = {"contender": name, "CPU ms an evaluation": spent}
        rows.append(row | {"regret at 100": sum(regrets) / seeds})
    return rows


def with_trainings(evaluations: int) -> list[dict[str, Any]]:
    """Return a row for each strategy: a search of `sandglass-micro` at 0.8M, seed 0."""
    from ..api import search as search_space

    drivers = {"evolution": ("evolution", {}), "on_optuna, TPE": ("on_optuna", {})}
    drivers |= {"on_nni, evolution": ("on_nni", {})}
    drivers |= {"on_nni, TPE": ("on_nni", {"driver": "tpe"})}
    rows = []
    for name, (strategy, options) in drivers.items():
        with tempfile.TemporaryDirectory() as folder:
            found = search_space(
                "sandglass-micro",
                "0.8M",
                strategy=strategy,
                evaluations=evaluations,
                strategy_options=options,
                processes=1,
                out=Path(folder) / "run",
            )
            losses = [event["loss"] for event in Run.open(Path(folder) / "run").events()]
        row = {"strategy": name, "trainings": len(losses), "CPU s": found["cpu_seconds"]}
        rows.append(row | {"flops": found["flops"], "lowest loss": min(losses)})
    return rows


def main() -> None:
    """Measure, and print markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="searches of each on the table")
    parser.add_argument("--train", type=int, default=0, help="real trainings of a search")
    given = parser.parse_args()
    print(markdown({"machine": machine(), "rows": on_table(given.seeds)}))
    if given.train:
        print(markdown({"machine": machine(), "rows": with_trainings(given.train)}))


if __name__ == "__main__":
    main()
