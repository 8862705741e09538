"""How to choose: every strategy is one class, listed here under the name people type."""

from ..core.strategy import Strategy
from .meta_kernel import MetaKernel
from .random import RandomArch

STRATEGIES: dict[str, type[Strategy]] = {"meta_kernel": MetaKernel, "random": RandomArch}

__all__ = ["STRATEGIES", "MetaKernel", "RandomArch"]
