"""How to choose: every strategy is one class, listed here under the name people type."""

from ..training.strategy import Strategy
from .black_box import BlackBox
from .evolution import Evolution
from .gumbel import Gumbel
from .halving import Halving
from .local import LocalSearch
from .logits import LogitsSearch
from .meta_kernel import MetaKernel
from .multi_feature import MultiFeature
from .on_nni import OnNni
from .on_optuna import OnOptuna
from .random import RandomArch
from .single_path import SinglePath
from .thompson import Thompson

STRATEGIES: dict[str, type[Strategy]] = {
    "evolution": Evolution,
    "gumbel": Gumbel,
    "halving": Halving,
    "local": LocalSearch,
    "logits": LogitsSearch,
    "meta_kernel": MetaKernel,
    "multi_feature": MultiFeature,
    "on_nni": OnNni,
    "on_optuna": OnOptuna,
    "random": RandomArch,
    "single_path": SinglePath,
    "thompson": Thompson,
}

__all__ = [
    "STRATEGIES",
    "BlackBox",
    "Evolution",
    "Gumbel",
    "Halving",
    "LocalSearch",
    "LogitsSearch",
    "MetaKernel",
    "MultiFeature",
    "OnNni",
    "OnOptuna",
    "RandomArch",
    "SinglePath",
    "Thompson",
]
