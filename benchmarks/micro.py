"""Compare searches on sandglass-micro with random archs of the same band, all trained alike.

python benchmarks/micro.py --out micro.json
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

import nastk
import numpy as np
import torch
from nastk.core.arch import Arch
from nastk.core.budget import Budget, best_arch
from nastk.core.metrics import test_metrics
from nastk.core.sampler import sample
from nastk.evaluators.recipe import DEMONSTRATION
from nastk.evaluators.tasks import make_task
from nastk.evaluators.train import Training
from nastk.search_spaces import SandglassMicro


def train(space, choices, task, seed):
    """Return the test loss of one training, and its CPU seconds."""
    start = time.process_time()
    network = space.build(choices, seed=seed)
    trained = Training(network=network, task=task, recipe=DEMONSTRATION, seed=seed).fit()
    return test_metrics(trained, task)["test_loss_nats"], time.process_time() - start


def search(options, seed):
    """Return what a search found, and its arch."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        found = nastk.search(
            "sandglass-micro",
            options.flops,
            strategy=options.strategy,
            strategy_options=options.options,
            seed=seed,
            steps=options.steps,
            out=out,
        )
        return found, Arch.from_json((out / "arch.json").read_text())


def best_of(count, medians, losses):
    """Return the mean and the deviation of the best of so many archs, picked by one training."""
    rng = np.random.default_rng(0)
    picks = []
    for _ in range(2000):
        subset, seed = rng.choice(len(medians), count, replace=False), int(rng.integers(3))
        picks.append(medians[min(subset, key=lambda i: losses[i][seed])])
    return [statistics.mean(picks), statistics.stdev(picks)]


def baselines(options, space, losses):
    """Return the losses of the arch with the most parameters and of random archs of the band."""
    budget = Budget.parse(options.flops)
    drawn = sample(space, options.random, 1234, budget.band)
    rows = {"most_params": losses(best_arch(space, space.cost.params, budget).choices)}
    print("most params", rows["most_params"], flush=True)
    rows["random"] = []
    for i in range(options.random):
        arch = space.arch_at({name: int(column[i]) for name, column in drawn.items()})
        rows["random"].append(losses(arch.choices))
        print("random", i, rows["random"][-1], flush=True)
    medians = [statistics.median(r) for r in rows["random"]]
    rows["random_mean"], rows["random_best"] = statistics.mean(medians), min(medians)
    for k in (4, 8):
        rows[f"best_of_{k}"] = best_of(k, medians, rows["random"])
    return rows


def main():
    """Search, train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flops", default="0.8M")
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--random", type=int, default=16, help="8 or more; 0 for no baselines")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--strategy", default="meta_kernel")
    parser.add_argument("--options", type=json.loads, default={}, help="of the strategy, as JSON")
    parser.add_argument("--out", type=Path, default=Path("micro.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = SandglassMicro()
    task = make_task("digits-photo", space.resolution)
    seconds = []

    def losses(choices):
        results = [train(space, choices, task, seed) for seed in range(3)]
        seconds.extend(s for _, s in results)
        return [loss for loss, _ in results]

    rows = {"search": [], "search_cpu_seconds": [], "search_params": []}
    for seed in range(options.searches):
        found, arch = search(options, seed)
        rows["search_cpu_seconds"].append(found["cpu_seconds"])
        rows["search_params"].append(found["params"])
        rows["search"].append(losses(arch.choices))
        print("search", seed, found["flops"], found["params"], rows["search"][-1], flush=True)
    if options.random:
        rows |= baselines(options, space, losses)
    rows["training_cpu_seconds"] = statistics.median(seconds)
    found = [statistics.median(r) for r in rows["search"]]
    rows["search_mean"], rows["search_medians"] = statistics.mean(found), found
    options.out.write_text(json.dumps(rows, indent=1))
    for key in itertools.islice(reversed(rows), 9):
        print(key, rows[key])


if __name__ == "__main__":
    main()
