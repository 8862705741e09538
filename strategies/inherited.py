"""Testing archs with the weights of a supernet, by the statistics of the batch itself."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch

from ..core.supernet import Supernet
from ..training.strategy import Problem
from ..training.task import Objective
from .supernet_training import SupernetTraining

_IMAGES = (16, 128)  # fewest and most on which an arch is tested


class ArchTest:
    """A trained supernet whose archs are tested on the first items that choose architectures.

    The supernet itself stays as it is. Its norms read the batch and remember nothing of it, which
    takes a tenth of the time of estimating their statistics anew.

    Args:
        supernet: trained.
        objective: whose parts the loss has, as the training left them.
        problem: with the items.
        items: of the batch.
    """

    def __init__(
        self, supernet: Supernet, objective: Objective, problem: Problem, items: int
    ) -> None:
        self.supernet = copy.deepcopy(supernet).eval()
        # Without what a recipe adds, as smoothing: losses are compared with those of guessing.
        self.objective = problem.task.objective().to(problem.device).eval()
        self.objective.load_state_dict(objective.state_dict())
        for module in self.supernet.modules():
            if hasattr(module, "momentum"):  # a norm
                module.train()
                cast(Any, module).momentum = 0.0
        items = min(items, problem.task.size("architecture"))
        batch = problem.task.read("architecture", range(items), None)
        self.batch, self.end = batch.to(problem.device), torch.ones((), device=problem.device)

    @torch.no_grad()
    def loss(self, chosen: dict[str, int]) -> float:
        """Return the loss of an arch of the supernet at its true size.

        Args:
            chosen: candidate index of every choice.
        """
        for name, choice in self.supernet.choices.items():
            choice.slot.set_index(chosen[name])
        return float(self.objective(self.supernet, self.batch, self.end))


def images_for(archs: int, training: SupernetTraining, updates: int) -> int:
    """Return on how many images each arch is tested: in all at most a seventh of the training."""
    share = 3 * updates * training.items_an_update // (7 * max(archs, 1))
    return min(max(share, _IMAGES[0]), _IMAGES[1])
