"""Zero-cost proxies: scores of an untrained network, cheaper than a minute of training."""

from .activations import JacobCov, NasWot, jacob_cov, naswot
from .null import Flops, Params
from .saliency import GradNorm, Snip, SynFlow, grad_norm, snip, synflow
from .score import ZeroCost
from .zico import ZiCo, zico

__all__ = [
    "Flops",
    "GradNorm",
    "JacobCov",
    "NasWot",
    "Params",
    "Snip",
    "SynFlow",
    "ZeroCost",
    "ZiCo",
    "grad_norm",
    "jacob_cov",
    "naswot",
    "snip",
    "synflow",
    "zico",
]
