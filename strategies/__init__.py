"""How to choose: every strategy is one class, listed here under the name people type."""

from ..core.strategy import Strategy
from .black_box import BlackBox
from .evolution import Evolution
from .halving import Halving
from .local import LocalSearch
from .meta_kernel import MetaKernel
from .random import RandomArch

STRATEGIES: dict[str, type[Strategy]] = {
    "evolution": Evolution,
    "halving": Halving,
    "local": LocalSearch,
    "meta_kernel": MetaKernel,
    "random": RandomArch,
}

__all__ = [
    "STRATEGIES",
    "BlackBox",
    "Evolution",
    "Halving",
    "LocalSearch",
    "MetaKernel",
    "RandomArch",
]
