"""What all zero-cost proxies share: an untrained network, a few batches, one score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.arch import Arch
from ...training.batch import Batch
from ...training.evaluator import Evaluator, Metrics
from ...training.task import Objective, training_batch

Measure = Callable[[nn.Module, Batch, Objective], float]
"""The score of a network on one batch, by the objective of its task."""


@dataclass(frozen=True, kw_only=True)
class ZeroCost(Evaluator):
    """Scores an arch's untrained network; more is better, and nothing is trained.

    The network is the problem's proxy, initialised from the problem's seed. Batches are those
    that a training with this seed would begin with, so that equal problems give equal scores.

    Attributes:
        num_batches: over which the score is averaged, or which it compares.
        batch_size: images of each.
    """

    maximises: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = True

    num_batches: int = 2
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.num_batches < 1 or self.batch_size < 2:
            raise ValueError(
                f"{self.name} needs at least 1 batch of 2 images, "
                f"got {self.num_batches} of {self.batch_size}"
            )

    @abstractmethod
    def score(self, network: nn.Module, batches: Sequence[Batch], objective: Objective) -> float:
        """Return the score of a network in training mode, whose dropout is off."""

    def evaluate(self, arch: Arch) -> Metrics:
        """Return the score, under the name of the objective."""
        problem = self.problem
        problem.proxy.indices(arch)
        network = problem.proxy.build(arch.choices, seed=problem.seed).to(problem.device)
        objective = problem.task.objective().to(problem.device)
        return {self.objective: self.score(ready(network), self._batches(), objective)}

    def _batches(self) -> list[Batch]:
        task, device = self.problem.task, self.problem.device
        size = min(self.batch_size, task.size("weights"))
        drawn = (
            training_batch(task, "weights", seed=self.problem.seed, step=step, batch_size=size)
            for step in range(self.num_batches)
        )
        # As they lie: scores were published with channels first.
        return [batch.like([x.to(device) for x in batch.tensors]) for batch in drawn]


def ready(network: nn.Module) -> nn.Module:
    """Put a network into training mode, but for its dropout, and return it.

    Norms then use the statistics of the batch: those of an untrained network mean nothing.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    return network


@dataclass(frozen=True, kw_only=True)
class ScoreOfBatch(ZeroCost):
    """A proxy that looks at one batch at a time; its score is the mean over batches."""

    measure: ClassVar[Measure]

    def score(self, network: nn.Module, batches: Sequence[Batch], objective: Objective) -> float:
        """Return the mean over batches."""
        return sum(self.measure(network, batch, objective) for batch in batches) / len(batches)


def weights_of(network: nn.Module) -> list[Tensor]:
    """Return the weights of all convolutions and linear layers, without biases.

    Raises:
        ValueError: if there is none.
    """
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    found = [module.weight for module in network.modules() if isinstance(module, kinds)]
    if not found:
        raise ValueError("this network has no convolution and no linear layer to score")
    return found


def loss_gradients(network: nn.Module, batch: Batch, objective: Objective) -> list[Tensor]:
    """Return the gradient of the mean loss of a batch for each of `weights_of`.

    A layer that does not reach the output has gradient zero.
    """
    with torch.enable_grad():
        loss = objective(network, batch, torch.zeros(()))
        return list(torch.autograd.grad(loss, weights_of(network), materialize_grads=True))
