"""Compare searches on sandglass-micro with random archs of the same band, all trained alike.

python -m nastk.benchmarks.micro --searches 5 --out micro.json

Every arch is trained with three seeds by the same recipe; its loss is the median on the test split.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nastk
import numpy as np
import torch
from nastk.benchmarks.tables import table
from nastk.core.arch import Arch
from nastk.core.band import band_of
from nastk.core.best import most_params
from nastk.core.budget import Budget
from nastk.core.ranked import as_ranked
from nastk.core.run import write_json
from nastk.core.sampler import sample_archs
from nastk.evaluators.train import Training
from nastk.search_spaces import SandglassMicro
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION
from nastk.training.task import measure as measured_on

SEEDS = 3
POOL_SEED = 1234  # of the random archs
DRAWS = 2000  # of so many random archs, for the best of a few


class Trainings:
    """Trains archs of one space on one task and remembers what that took."""

    def __init__(self, space: SandglassMicro) -> None:
        self.space, self.task = space, make_task("digits-photo", space.resolution)
        self.seconds: list[float] = []

    def losses(self, arch: Arch) -> list[float]:
        """Return the test loss of an arch by seed."""
        losses = []
        for seed in range(SEEDS):
            start = time.process_time()
            network = self.space.build(arch, seed=seed)
            trained = Training(network=network, task=self.task, recipe=DEMONSTRATION, seed=seed)
            losses.append(measured_on(trained.fit(), self.task)["test_loss_nats"])
            self.seconds.append(time.process_time() - start)
        return losses


def search(options: argparse.Namespace, seed: int) -> tuple[Mapping[str, Any], Arch]:
    """Return what a search found, and its arch."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        length = {} if options.steps is None else {"steps": options.steps}
        found = nastk.search(
            "sandglass-micro",
            options.flops,
            strategy=nastk.Named(options.strategy, options.options | length),
            seed=seed,
            out=out,
        )
        return found, Arch.from_json((out / "arch.json").read_text())


def best_of(
    count: int, medians: Sequence[float], losses: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return mean and deviation of the best of so many archs, chosen by one of its trainings."""
    rng = np.random.default_rng(0)
    picks = []
    for _ in range(DRAWS):
        drawn, seed = rng.choice(len(medians), count, replace=False), int(rng.integers(SEEDS))
        picks.append(medians[min(drawn, key=lambda i: as_ranked(losses[i][seed]))])
    return statistics.mean(picks), statistics.stdev(picks)


def row(
    what: str, loss: float, spread: float | None, trainings: float | None = None
) -> dict[str, Any]:
    """Return a row of the printed table."""
    return {
        "archs": what,
        "test loss": loss,
        "deviation": "" if spread is None else spread,
        "cost in trainings": "" if trainings is None else round(trainings, 1),
    }


def rows_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return where the searches stand beside random archs and the arch with the most params."""
    one = statistics.median(result["training_cpu_seconds"])
    cost = statistics.mean(result["search_cpu_seconds"]) / one
    found = [statistics.median(losses) for losses in result["search"]]
    spread = statistics.stdev(found) if len(found) > 1 else None
    rows = [row(f"found, mean of {len(found)} searches", statistics.mean(found), spread, cost)]
    if not result["random"]:
        return rows
    medians = [statistics.median(losses) for losses in result["random"]]
    count = len(medians)
    mean, deviation = statistics.mean(medians), statistics.stdev(medians)
    rows.append(row(f"random, mean of {count}", mean, deviation))
    for k in (4, 8):
        rows.append(row(f"random, best of {k}", *best_of(k, medians, result["random"]), k))
    rows.append(row(f"random, best of {count}", min(medians), None))
    rows.append(row("most params", statistics.median(result["most_params"]), None, 0))
    return rows


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Search and train, and return all losses and costs."""
    space = SandglassMicro()
    budget, trainings = Budget.parse(options.flops), Trainings(space)
    result: dict[str, Any] = {"search": [], "search_cpu_seconds": [], "search_params": []}
    for seed in range(options.searches):
        found, arch = search(options, seed)
        result["search_cpu_seconds"].append(found["cpu_seconds"])
        result["search_params"].append(found["params"])
        result["search"].append(trainings.losses(arch))
        print("search", seed, found["flops"], found["params"], result["search"][-1], flush=True)
    result["random"] = []
    drawn = sample_archs(space, options.random, POOL_SEED, band_of(space, budget).bounds)
    for number, arch in enumerate(drawn):
        result["random"].append(trainings.losses(arch))
        print("random", number, result["random"][-1], flush=True)
    if options.random:
        result["most_params"] = trainings.losses(most_params(space, budget))
    return result | {"training_cpu_seconds": trainings.seconds}


def main() -> None:
    """Search, train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--flops", default="0.8M")
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--random", type=int, default=16, help="8 or more; 0 for no baselines")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--strategy", default="meta_kernel")
    parser.add_argument("--options", type=json.loads, default={}, help="of the strategy, as JSON")
    parser.add_argument("--out", type=Path, default=Path("micro.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(options)
    write_json(options.out, result)
    print("\n".join(table(rows_of(result))))


if __name__ == "__main__":
    main()
