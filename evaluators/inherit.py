"""How good an arch is with the weights of a trained supernet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ..core.arch import Arch
from ..core.checkpoint import load_checkpoint
from ..core.space import Space
from ..core.supernet import Supernet
from ..training.evaluator import Evaluator, Metrics
from ..training.inherit import inherited_metrics


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
        """Return the metrics of the task, as `architecture_METRIC`."""
        problem = self.problem
        problem.proxy.indices(arch)
        return inherited_metrics(self.supernet, arch.choices, problem, num_batches=self.num_batches)


def load_supernet(folder: Path, space: Space) -> Supernet:
    """Return the supernet that a search has trained, with its averaged weights if it has such.

    Args:
        folder: of the search.
        space: the proxy that it trained.

    Raises:
        ValueError: if the folder holds none.
    """
    supernet = space.supernet()

    def take(weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        if own := _of_supernet(weights):
            supernet.load_state_dict(own)

    found = load_checkpoint(folder / "checkpoints", "last", take=take)
    if found is None or not _of_supernet(found[0]):
        raise ValueError(
            f"{folder} holds no supernet to inherit from; search with a strategy that trains one, "
            "such as meta_kernel"
        )
    return supernet


def _of_supernet(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that archs inherit among those of a checkpoint."""
    for prefix in ("average.", "supernet."):
        if own := {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}:
            return own
    return {}
