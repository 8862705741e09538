"""How long a supernet trains on data of the user's: about as much as one network costs.

A step of a supernet costs more than one of a plain network at the budget: folded candidates have
the size of the largest, summed features that of all. So many fewer images are worth as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..core.budget import largest_below
from ..core.products import Product, product_of
from ..core.sampler import sample
from ..core.spec import examples
from ..ops.mixture import dirichlet
from ..training.strategy import Problem

LEAST_UPDATES = 1000
# From so many updates on a supernet is trained as networks are in long trainings.
LONG_STEPS = 5000

_MIXTURES = 4  # over which a step that samples paths is averaged
_ARCHS = 256
_SEED = 0  # the same length for every seed of a search


def plain_flops(problem: Problem) -> float:
    """Return the multiply-adds of one image in a network at the budget, as it is trained."""
    space, proxy = problem.space, problem.proxy
    top = largest_below(space, problem.budget)
    assert top is not None  # a budget without archs has been refused
    if proxy == space:
        return float(top)
    archs = sample(space, _ARCHS, _SEED)
    whole, small = (float(s.cost.flops.evaluate(archs).mean()) for s in (space, proxy))
    return top * small / whole


def mean_flops(problem: Problem) -> float:
    """Return the multiply-adds of one image in a random arch of the whole space."""
    archs = sample(problem.proxy, _ARCHS, _SEED)
    return float(problem.proxy.cost.flops.evaluate(archs).mean())


def supernet_flops(problem: Problem, *, features: bool) -> float:
    """Return the multiply-adds of one image in the supernet, counted as torch dispatches them.

    Args:
        problem: whose proxy is counted.
        features: whether candidates run one by one and their features are summed.
    """
    supernet = problem.proxy.supernet(seed=_SEED).eval()
    times = _MIXTURES if any(supernet.sampled) else 1
    generator = torch.Generator().manual_seed(_SEED)
    counter = _Counter()
    inputs = examples(problem.proxy.inputs())
    with torch.no_grad(), counter:
        for _ in range(times):
            drawn = dirichlet(supernet.num_candidates, 1.0, generator)
            supernet.mix(drawn, features=features)
            supernet(*inputs)
    return counter.flops / times


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the multiply-adds of what torch dispatches."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        product = product_of(func)
        if product == "composite":
            with self:
                return func.decompose(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if isinstance(product, Product):
            self.flops += product.flops(args, out)
        return out
