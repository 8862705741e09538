"""How to choose: every strategy is one class, listed here under the name people type."""

from ..core.strategy import Strategy
from .black_box import BlackBox
from .evolution import Evolution
from .local import LocalSearch
from .meta_kernel import MetaKernel
from .random import RandomArch

STRATEGIES: dict[str, type[Strategy]] = {
    "evolution": Evolution,
    "local": LocalSearch,
    "meta_kernel": MetaKernel,
    "random": RandomArch,
}

__all__ = ["STRATEGIES", "BlackBox", "Evolution", "LocalSearch", "MetaKernel", "RandomArch"]
