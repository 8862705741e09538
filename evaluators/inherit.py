"""How good an arch is with the weights of a trained supernet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..core.arch import Arch
from ..core.checkpoint import load_checkpoint
from ..core.evaluator import Evaluator, Metrics
from ..core.inherit import inherited_metrics
from ..core.space import Space
from ..core.supernet import Supernet


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
        return inherited_metrics(self.supernet, arch.choices, problem, num_batches=self.num_batches)


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
        raise ValueError(
            f"{folder} holds no supernet to inherit from; search with a strategy that trains one, "
            "such as meta_kernel"
        )
    supernet = space.supernet()
    supernet.load_state_dict(weights)
    return supernet
