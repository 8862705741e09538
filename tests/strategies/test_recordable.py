"""What a recorded step needs: it reads nothing on the host and brings nothing from there."""

from contextlib import nullcontext

import pytest
import torch
from nastk.core import precision
from nastk.core.budget import parse_budget
from nastk.search_spaces import SPACES
from nastk.strategies import STRATEGIES, differentiable
from nastk.tasks.named import make_task
from nastk.training import learning
from nastk.training.strategy import Problem
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")


class Watch(TorchDispatchMode):
    """Notes every operator that has to do with tensors of both devices, or with a host's value."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        reads_host = function is torch.ops.aten._local_scalar_dense.default
        if reads_host or len({t.device for t in tensors}) > 1:
            self.noted.append(str(function))
        return out


@pytest.mark.parametrize("kernels", ["compiled", "definition"])
@pytest.mark.parametrize("term", ["exact", pytest.param("three_case", marks=pytest.mark.slow)])
@pytest.mark.parametrize("level", ["single", "bilevel"])
@pytest.mark.parametrize(
    "name", ["sandglass-micro", pytest.param("mbconv", marks=pytest.mark.slow)]
)
def test_a_warm_step_asks_nothing_of_the_host(name, level, term, kernels, monkeypatch):
    """On meta tensors, which have no values to read, in the place of CUDA's.

    With `definition` the depthwise passes go the way they go on CUDA.
    """
    monkeypatch.setenv("NASTK_KERNELS", kernels)
    monkeypatch.setattr(precision, "autocast", lambda *_: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # unknown for meta tensors
    monkeypatch.setattr(
        learning,
        "weights_optimizer",
        lambda parameters, *_, lr, **__: torch.optim.SGD(parameters, lr, 0.9, foreach=False),
    )
    space = SPACES[name]()
    task = make_task("digits", space.resolution)
    budget = parse_budget("90%", space)
    problem = Problem(space=space, proxy=space, task=task, budget=budget, device=META, memory="low")
    options = {"level": level, "budget_term": term, "batch_size": 4}
    strategy = STRATEGIES["logits"](**options).resolved(20)
    search = differentiable._Search(strategy, problem)
    # Adam for tensors that nobody recorded counts its steps on the host.
    search.logits_optimizer = torch.optim.SGD(search.logits.parameters(), 0.1, foreach=False)
    assert strategy.can_record(space)
    bodies, noted = [], []
    monkeypatch.setattr(
        search.training, "run", lambda _, *update: bodies.append(update) or torch.zeros(3)
    )
    for step in (0, 19):
        search.step(step)
    assert bodies[0][0] != bodies[1][0]  # warm-up and search
    for body, inputs in bodies:
        inputs = [x.to(META) for x in inputs]
        with Watch() as cold:
            body(*inputs)  # brings constants to the device
        with Watch() as warm:
            body(*inputs)
        noted.append((len(cold.noted), warm.noted))
    assert noted[0][0] > 0 and [warm for _, warm in noted] == [[], []]
