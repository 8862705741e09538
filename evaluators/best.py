"""The best weights that a training has had, of which those that broke down are none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.checkpoint import load_checkpoint, save_checkpoint
from ..core.loop import Report
from ..core.ranked import as_ranked

LOWER = "train with a lower --lr or another --recipe; on a GPU also with --precision float32"


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether all numbers of all tensors are finite."""
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())


class Best:
    """Keeps the weights of the lowest loss in the checkpoint `NAME-best` of a run."""

    def __init__(self, folder: Path, name: str) -> None:
        """Keep nothing yet.

        Args:
            folder: of the run's checkpoints.
            name: of the training.
        """
        self._folder, self._name = folder, f"{name}-best"
        self._weights: dict[str, Tensor] | None = None

    def offer(self, network: nn.Module, loss: float, notes: dict[str, Any], step: int) -> None:
        """Keep the network's weights behind the update `step` if they are the best so far.

        What is not finite is never the best; `notes` remember the lowest loss.
        """
        state = network.state_dict()
        if as_ranked(loss) >= as_ranked(notes.get("best_loss")) or not are_finite(state.values()):
            return
        notes["best_loss"], notes["best_update"] = loss, step + 1
        self._weights = {key: value.clone() for key, value in state.items()}
        save_checkpoint(self._folder, self._name, self._weights, {"loss": loss})

    def restore(self, network: nn.Module, notes: dict[str, Any]) -> int | None:
        """Give the network its best weights, of an earlier process if need be.

        Returns:
            The update behind which they were, None if none were finite.

        Raises:
            ValueError: if the checkpoint that held them is gone or damaged.
        """
        if not math.isfinite(as_ranked(notes.get("best_loss"))):
            return None
        if self._weights is not None:
            network.load_state_dict(self._weights)
        elif load_checkpoint(self._folder, self._name, take=partial(_load, network)) is None:
            raise ValueError(
                f"{self._folder / self._name} is gone, which held the best weights: remove "
                f"{self._folder / self._name.replace('-best', '-last')} to train again"
            )
        return int(notes.get("best_update", 0))


def _load(network: nn.Module, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
    network.load_state_dict(weights)


def check_finite(diverged_at: int | None, restored_from: int | None, report: Report) -> None:
    """Say of a training that diverged from where its weights are.

    Args:
        diverged_at: as of `nastk.evaluators.train.Training`.
        restored_from: as there.
        report: receives the line.

    Raises:
        RuntimeError: if it has no finite weights.
    """
    if diverged_at is None:
        return
    what = f"the training diverged at update {diverged_at:,}"
    if restored_from is None:
        raise RuntimeError(f"{what}: {LOWER}")
    say = f"{what}; the best weights before, those of update {restored_from:,}, are kept"
    report({"phase": "train", "step": diverged_at, "total": diverged_at, "say": say})
