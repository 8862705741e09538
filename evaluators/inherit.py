"""Weights inherited from a supernet, their BatchNorm statistics estimated again on a copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from ..core.arch import Arch
from ..core.checkpoint import load_checkpoint
from ..core.choice import Value
from ..core.evaluator import Evaluator, Metrics
from ..core.space import Space
from ..core.supernet import Supernet
from ..core.task import Task
from .train import test_metrics


@dataclass(frozen=True, kw_only=True)
class Inherit(Evaluator):
    """Tests an arch with the weights of a trained supernet on the architecture split.

    Attributes:
        supernet: of the problem's proxy, left as it is.
        num_batches: over which BatchNorm statistics are averaged.
    """

    name: ClassVar[str] = "inherit"

    supernet: Supernet
    num_batches: int = 20

    def evaluate(self, arch: Arch) -> Metrics:
        """Return `architecture_loss_nats` and `architecture_top1_percent`."""
        problem = self.problem
        problem.proxy.indices(arch)
        network = inherit(
            self.supernet,
            arch.choices,
            problem.task,
            num_batches=self.num_batches,
            seed=problem.seed,
        )
        return test_metrics(network, problem.task, "architecture", problem.device)


def load_supernet(folder: Path, space: Space) -> Supernet:
    """Return the supernet that a search has trained.

    Args:
        folder: of the search.
        space: the proxy that it trained.

    Raises:
        ValueError: if the folder holds none.
    """
    found = load_checkpoint(folder / "checkpoints", "last")
    prefix = "supernet."
    weights = {
        key.removeprefix(prefix): value
        for key, value in (found[0] if found else {}).items()
        if key.startswith(prefix)
    }
    if not weights:
        raise ValueError(f"{folder} holds no supernet to inherit from; search with meta_kernel")
    supernet = space.supernet()
    supernet.load_state_dict(weights)
    return supernet


def inherit(
    supernet: Supernet,
    arch: Mapping[str, Value],
    task: Task,
    *,
    num_batches: int = 20,
    seed: int = 0,
) -> nn.Module:
    """Return the plain network of `arch` with the supernet's weights.

    The statistics of its BatchNorms are averaged over training batches; the supernet itself is
    left as it is.
    """
    network = supernet.extract(arch)
    recalibrate(network, task, num_batches=num_batches, seed=seed)
    return network


@torch.no_grad()
def recalibrate(network: nn.Module, task: Task, *, num_batches: int = 20, seed: int = 0) -> None:
    """Estimate the BatchNorm statistics of a network again, as plain means over batches."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    network.train()
    for step in range(num_batches):
        x, _ = task.batch("weights", seed=seed, step=step, batch_size=64)
        network(x.contiguous(memory_format=torch.channels_last))
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
