"""The null proxies: counts that cost nothing, and that many clever proxies fail to beat."""

from dataclasses import dataclass
from typing import ClassVar

from ...core.arch import Arch
from ...core.evaluator import Evaluator, Metrics


@dataclass(frozen=True, kw_only=True)
class Params(Evaluator):
    """The trainable scalars of the target; more is better."""

    name: ClassVar[str] = "params"
    objective: ClassVar[str] = "params"
    maximises: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = True

    def evaluate(self, arch: Arch) -> Metrics:
        """Return `params`."""
        space = self.problem.space
        return {"params": float(space.cost.count(space.indices(arch))["params"])}


@dataclass(frozen=True, kw_only=True)
class Flops(Evaluator):
    """The multiply-adds of the target; more is better, within the budget."""

    name: ClassVar[str] = "flops"
    objective: ClassVar[str] = "flops"
    maximises: ClassVar[bool] = True
    is_cheap: ClassVar[bool] = True

    def evaluate(self, arch: Arch) -> Metrics:
        """Return `flops`."""
        space = self.problem.space
        return {"flops": float(space.cost.count(space.indices(arch))["flops"])}
