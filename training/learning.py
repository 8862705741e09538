"""Weights that learn by a recipe: groups of parameters, their rate, and the update of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..core.optimizer import set_learning_rate, step_all, weights_optimizer
from ..core.precision import grad_scaler
from ..core.supernet import Supernet
from .batch import Batch
from .recipe import Recipe
from .task import Objective, Task, training_batch


class Learning:
    """The optimiser of a network and of its objective.

    Attributes:
        recipe: how they learn.
        trained: both of them, `network` and `objective`.
        optimizer: of their weights.
        scaler: of gradients in float16.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        objective: Objective,
        *,
        device: torch.device,
        precision: str,
        is_recorded: bool = False,
    ) -> None:
        """Take what learns.

        Args:
            recipe: how.
            network: a plain one or a supernet, on the device.
            objective: there too.
            device: where they are.
            precision: in which the network computes.
            is_recorded: whether updates are recorded and replayed.
        """
        self.recipe = recipe
        self.trained = nn.ModuleDict({"network": network, "objective": objective})
        self.optimizer = weights_optimizer(
            parameter_groups(recipe, network, objective),
            recipe.optimizer,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            device=device,
            is_recorded=is_recorded,
        )
        self.scaler = grad_scaler(precision, device)

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights."""
        scaler = {"scaler": self.scaler} if self.scaler.is_enabled() else {}
        return {"weights": self.optimizer, **scaler}

    def begin(self, share: float) -> None:
        """Set the learning rate after a share of the updates."""
        set_learning_rate(self.optimizer, self.recipe.rate(share))

    def batches(self, task: Task, split: str, *, seed: int, step: int) -> list[Batch]:
        """Return the batches of an update, on the CPU."""
        count, cpu = self.recipe.accumulation, torch.device("cpu")
        found = (
            training_batch(
                task,
                split,
                seed=seed,
                step=step * count + number,
                batch_size=self.recipe.batch_size,
                amounts=self.recipe.amounts,
            )
            for number in range(count)
        )
        return [batch.to(cpu) for batch in found]

    def update(self, loss_of: Callable[[Batch], Tensor], batches: Sequence[Batch]) -> Tensor:
        """Do one update by the mean loss of batches, and return it.

        Args:
            loss_of: a scalar with its graph.
            batches: run one after the other, so that memory is that of one.
        """
        self.trained.zero_grad(set_to_none=True)
        told = []
        for batch in batches:
            loss = loss_of(batch)
            told.append(loss.detach())
            part = loss if len(batches) == 1 else loss / len(batches)
            self.scaler.scale(part).backward()  # type: ignore[no-untyped-call]
        self.step()
        return told[0] if len(told) == 1 else torch.stack(told).mean()

    def step(self, *others: torch.optim.Optimizer) -> None:
        """Let the optimiser step by the gradients there are, shortened, and others beside it."""
        if self.recipe.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.trained.parameters(), self.recipe.clip)
        step_all(self.scaler, self.optimizer, *others)


def parameter_groups(
    recipe: Recipe, network: nn.Module, objective: Objective
) -> list[nn.Parameter] | list[dict[str, Any]]:
    """Return what learns, in groups where parts learn in ways of their own, see `Objective.rates`.

    Layers are the parts of a network in their order, as far as they have parameters; the last of
    them learns at the whole rate.

    Args:
        recipe: with `layer_decay` and `decay_all`.
        network: a plain one or a supernet.
        objective: whose parts may have rates of their own.
    """
    factors = _layer_factors(recipe, network)
    for name, factor in objective.rates().items():
        factors |= {id(weight): factor for weight in objective.get_submodule(name).parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for weight in (*network.parameters(), *objective.parameters()):
        decays = recipe.decay_all or weight.ndim > 1
        groups.setdefault((factors.get(id(weight), 1.0), decays), []).append(weight)
    if set(groups) <= {(1.0, True)}:
        return [weight for group in groups.values() for weight in group]
    return [
        {
            "params": weights,
            "factor": factor,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (factor, decays), weights in groups.items()
    ]


def _layer_factors(recipe: Recipe, network: nn.Module) -> dict[int, float]:
    """Return by the identity of a parameter the factor on its rate."""
    if recipe.layer_decay == 1:
        return {}
    body = network.network if isinstance(network, Supernet) else network
    parts = [list(part.parameters()) for part in body.children()]
    layers = [weights for weights in parts if weights]
    return {
        id(weight): recipe.layer_decay ** (len(layers) - 1 - number)
        for number, weights in enumerate(layers)
        for weight in weights
    }
