"""Deep and narrow against shallow and wide at one budget, T2T-ViT's ablation in miniature.

    python -m nastk.benchmarks.deep_narrow

Two archs of t2t-micro with equal FLOPs are trained from scratch with 3 seeds on digits-photo and
tested on the architecture split. The rule that would exclude the wide one is switched off.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch

from ..evaluators.recipe import DEMONSTRATION_TOKENS
from ..evaluators.tasks import make_task
from ..evaluators.train import Training, test_metrics
from ..search_spaces import T2TMicro

SHAPES: dict[str, dict[str, Any]] = {
    "deep and narrow": {"depth": 6, "width": 48, "mlp_ratio": 2},
    "shallow and wide": {"depth": 1, "width": 96, "mlp_ratio": 4},
}


def main() -> None:
    """Print FLOPs, params, and loss and accuracy by seed."""
    torch.set_num_threads(1)
    space = T2TMicro(deep_narrow=False)
    task = make_task("digits-photo", space.resolution)
    for name, shape in SHAPES.items():
        arch = space.uniform(token_width=16, **shape)
        counts = space.cost.count(space.indices(arch))
        print(f"{name}: {counts['flops']:,} FLOPs, {counts['params']:,} params", flush=True)
        losses, shares = [], []
        for seed in range(3):
            network = space.build(arch, seed=seed)
            recipe = DEMONSTRATION_TOKENS
            Training(network=network, task=task, recipe=recipe, seed=seed, split="weights").fit()
            metrics = test_metrics(network, task, "architecture")
            losses.append(metrics["architecture_loss_nats"])
            shares.append(metrics["architecture_top1_percent"])
            print(f"  seed {seed}: loss {losses[-1]:.3f}, top-1 {shares[-1]:.1f} %", flush=True)
        print(
            f"  mean loss {statistics.mean(losses):.3f} ± {statistics.stdev(losses):.3f}, "
            f"top-1 {statistics.mean(shares):.1f} ± {statistics.stdev(shares):.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
