"""Weights inherited from a supernet, their BatchNorm statistics estimated again on a copy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..core.choice import Value
from ..core.supernet import Supernet
from .strategy import Problem
from .task import Metrics, Task, measure, training_batch


def inherited_metrics(
    supernet: Supernet, arch: Mapping[str, Value], problem: Problem, *, num_batches: int = 20
) -> Metrics:
    """Return how good an arch of the proxy is on the architecture split with inherited weights.

    Returns:
        The metrics of the task, as `architecture_METRIC`.
    """
    network = supernet.extract(arch).to(problem.device)
    recalibrate(network, problem.task, num_batches=num_batches, seed=problem.seed)
    return measure(network, problem.task, "architecture", problem.device)


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
    if not norms:
        network.eval()
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    device = next(network.parameters()).device
    network.train()
    for step in range(num_batches):
        batch = training_batch(task, "weights", seed=seed, step=step, batch_size=64)
        network(*batch.to(device).inputs)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
