"""NNI and Optuna beside nastk's evolution: the same table, budget and evaluations.

`python -m nastk.benchmarks.side_by_side [--seeds N]` measures what a search costs beside its
evaluations, and what it finds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

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
        rows.append(row | {f"regret at {EVALUATIONS}": sum(regrets) / seeds})
    return rows


def main() -> None:
    """Measure, and print markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="searches of each on the table")
    given = parser.parse_args()
    print(markdown({"machine": machine(), "rows": on_table(given.seeds)}))


if __name__ == "__main__":
    main()
