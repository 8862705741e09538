"""Searches on nastk's own spaces beside random search and the free rules at equal total cost.

python -m nastk.benchmarks.own_spaces --space sandglass-micro --flops 0.8M --folder own

A search costs its supernet and all that it looks at, counted in trainings of a free rule's arch,
one of which is timed beside it. Random search spends as much on random archs of the band, trained
on three quarters of the training data, and the loss on the rest chooses; a free rule costs nothing.
What each chooses is trained anew by the same recipe and measured on the test split. Given again,
the command goes on with what its folder lacks.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nastk
import torch
from nastk.benchmarks.curves import (
    POOL_SEED,
    Setting,
    setting_of,
    setting_parser,
    time_training,
)
from nastk.benchmarks.method import machine
from nastk.benchmarks.tables import table
from nastk.core.arch import Arch
from nastk.core.band import band_of
from nastk.core.best import free_archs
from nastk.core.budget import parse_budget
from nastk.core.run import write_json
from nastk.core.sampler import sample_archs
from nastk.search_spaces import SPACES
from scipy.stats import ttest_ind

# A archs, S seeds of trainings

RULE_SEEDS = 15  # trainings of what a free rule chooses


def searched(setting: Setting, strategy: str, seed: int) -> dict[str, Any]:
    """Return the choices that a search finds and its cost, in CPU seconds and in trainings."""
    file = setting.folder / "searches" / f"{setting.name}-{strategy}-{seed}.json"
    if file.is_file():
        known: dict[str, Any] = json.loads(file.read_text())
        return known
    one = time_training(setting)
    with tempfile.TemporaryDirectory() as folder:
        found = nastk.search(
            setting.space,
            setting.flops,
            data=setting.data,
            strategy=strategy,
            seed=seed,
            out=Path(folder, "run"),
            progress=False,
        )
        spent = found["cpu_seconds"]
        result = {"choices": dict(found.arch.choices), "cpu_seconds": spent}
    result["trainings"] = spent / one
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return result


def random_search(setting: Setting, seed: int, count: int) -> Arch:
    """Return the best of `count` random archs of the band, told by one training each."""
    space = SPACES[setting.space]()
    band = band_of(space, parse_budget(setting.flops, space)).bounds
    archs = sample_archs(space, count, (POOL_SEED, seed), band)
    told_A = [row[0] for row in setting.train(archs, 1, "weights")]
    return archs[told_A.index(min(told_A))]


def beside(losses: Sequence[float], rival: Sequence[float]) -> dict[str, float]:
    """Return by how much losses are lower than a rival's, and the p of Welch's one-sided test."""
    test = ttest_ind(losses, rival, equal_var=False, alternative="less")
    return {"difference": statistics.mean(losses) - statistics.mean(rival), "p": float(test.pvalue)}


def measure(setting: Setting, strategies: Sequence[str], seeds: int, retrainings: int) -> Any:
    """Search and train what is missing, and return losses and tests.

    Returns:
        `random` and `strategies`: by seed the mean test losses of what was found; `rules`: all
        trainings by rule; `trainings` that a search of each strategy costs; `tests` of each
        strategy against `random` and the `rule` of the lowest mean.
    """
    space = SPACES[setting.space]()
    found = {name: [searched(setting, name, s) for s in range(seeds)] for name in strategies}
    rules_A = free_archs(space, parse_budget(setting.flops, space))
    rules = dict(zip(rules_A, setting.train([*rules_A.values()], RULE_SEEDS), strict=True))
    one = setting.seconds([*rules_A.values()], "train")
    costs = {name: statistics.mean(r["trainings"] for r in rows) for name, rows in found.items()}
    setting.train([*rules_A.values()], 1, "weights")  # to be timed
    choosing = setting.seconds([*rules_A.values()], "weights")
    count = max(1, round(max(costs.values()) * one / choosing))
    drawn = [random_search(setting, seed, count) for seed in range(seeds)]

    def means(archs: Sequence[Arch]) -> list[float]:
        return [statistics.mean(row) for row in setting.train(archs, retrainings)]

    random = means(drawn)
    by_name = {
        name: means([space.arch(row["choices"]) for row in rows]) for name, rows in found.items()
    }
    best = min(rules, key=lambda rule: statistics.mean(rules[rule]))
    return {
        "machine": machine(),
        "random": random,
        "random_archs": count,
        "rules": rules,
        "best_rule": best,
        "strategies": by_name,
        "trainings": costs,
        "cpu_seconds": {n: [r["cpu_seconds"] for r in rows] for n, rows in found.items()},
        "tests": {
            name: {"random": beside(losses, random), "rule": beside(losses, rules[best])}
            for name, losses in by_name.items()
        },
    }


def rows_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a contender: its mean loss, deviation over seeds, cost and tests."""

    def row(name: str, losses: Sequence[float], cost: float) -> dict[str, Any]:
        spread = statistics.stdev(losses) if len(losses) > 1 else 0.0
        tests = result["tests"].get(name, {})
        said = {name: f"{t['difference']:+.3f}, p {t['p']:.2g}" for name, t in tests.items()}
        return {
            "what": name,
            "loss": statistics.mean(losses),
            "deviation": spread,
            "trainings": f"{cost:.1f}",
            "against random": said.get("random", ""),
            "against rule": said.get("rule", ""),
        }

    rows = [row(n, losses, result["trainings"][n]) for n, losses in result["strategies"].items()]
    dearest = max(result["trainings"].values())
    rows.append(row(f"best of {result['random_archs']} random", result["random"], dearest))
    return rows + [row(rule, losses, 0.0) for rule, losses in result["rules"].items()]


def main() -> None:
    """Measure and print."""
    parser = setting_parser(__doc__)
    parser.add_argument("--strategies", nargs="+", default=["meta_kernel", "logits"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = setting_of(options)
    result = measure(setting, options.strategies, options.seeds, options.retrainings)
    write_json(options.folder / f"{setting.name}.json", result)
    print("\n".join(table(rows_of(result))))


if __name__ == "__main__":
    main()
