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


def main():
    """Search, train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flops", default="0.8M")
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--random", type=int, default=16)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("micro.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    space, budget = SandglassMicro(), Budget.parse(options.flops)
    task = make_task("digits-photo", space.resolution)
    seconds = []

    def losses(choices):
        results = [train(space, choices, task, seed) for seed in range(3)]
        seconds.extend(s for _, s in results)
        return [loss for loss, _ in results]

    drawn = sample(space, options.random, 1234, budget.band)
    rows = {"random": [], "search": [], "search_cpu_seconds": [], "search_params": []}
    for seed in range(options.searches):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "run")
            found = nastk.search(
                "sandglass-micro", options.flops, seed=seed, steps=options.steps, out=out
            )
            arch = Arch.from_json((out / "arch.json").read_text())
        rows["search_cpu_seconds"].append(found["cpu_seconds"])
        rows["search_params"].append(found["params"])
        rows["search"].append(losses(arch.choices))
        print("search", seed, found["flops"], found["params"], rows["search"][-1], flush=True)
    rows["most_params"] = losses(best_arch(space, space.cost.params, budget).choices)
    print("most params", rows["most_params"], flush=True)
    for i in range(options.random):
        arch = space.arch_at({name: int(column[i]) for name, column in drawn.items()})
        rows["random"].append(losses(arch.choices))
        print("random", i, rows["random"][-1], flush=True)
    rows["training_cpu_seconds"] = statistics.median(seconds)
    medians = [statistics.median(r) for r in rows["random"]]
    rows["random_mean"], rows["random_best"] = statistics.mean(medians), min(medians)
    for k in (4, 8):
        rng = np.random.default_rng(0)
        picks = []
        for _ in range(2000):
            subset, seed = rng.choice(len(medians), k, replace=False), int(rng.integers(3))
            picks.append(medians[min(subset, key=lambda i: rows["random"][i][seed])])
        rows[f"best_of_{k}"] = [statistics.mean(picks), statistics.stdev(picks)]
    found = [statistics.median(r) for r in rows["search"]]
    rows["search_mean"], rows["search_medians"] = statistics.mean(found), found
    options.out.write_text(json.dumps(rows, indent=1))
    for key in itertools.islice(reversed(rows), 9):
        print(key, rows[key])


if __name__ == "__main__":
    main()
