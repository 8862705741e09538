"""The null proxies: counts that cost nothing, and that many clever proxies fail to beat."""

from dataclasses import dataclass
from typing import ClassVar

from ..efficiency import Efficiency


@dataclass(frozen=True, kw_only=True)
class Params(Efficiency):
    """The trainable scalars of the target; more is better."""

    name: ClassVar[str] = "params"


@dataclass(frozen=True, kw_only=True)
class Flops(Efficiency):
    """The multiply-adds of the target; more is better, within the budget."""

    name: ClassVar[str] = "flops"
    objective: ClassVar[str] = "flops"
