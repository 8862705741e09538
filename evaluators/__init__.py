"""How good a choice is: every evaluator is one class, listed here under its name."""

from ..training.evaluator import Evaluator
from .efficiency import Efficiency
from .inherit import Inherit
from .train import Train
from .zero_cost import Flops, GradNorm, JacobCov, NasWot, Params, Snip, SynFlow, ZiCo

EVALUATORS: dict[str, type[Evaluator]] = {
    "efficiency": Efficiency,
    "flops": Flops,
    "grad_norm": GradNorm,
    "inherit": Inherit,
    "jacob_cov": JacobCov,
    "naswot": NasWot,
    "params": Params,
    "snip": Snip,
    "synflow": SynFlow,
    "train": Train,
    "zico": ZiCo,
}

__all__ = [
    "EVALUATORS",
    "Efficiency",
    "Flops",
    "GradNorm",
    "Inherit",
    "JacobCov",
    "NasWot",
    "Params",
    "Snip",
    "SynFlow",
    "Train",
    "ZiCo",
]
