"""Zero-cost proxies score the networks of every space."""

import dataclasses
import math

import pytest
import torch
from nastk.core.budget import Budget
from nastk.core.sampler import sample
from nastk.evaluators import EVALUATORS
from nastk.evaluators.zero_cost import ZeroCost
from nastk.evaluators.zero_cost.score import ready
from nastk.ops.attention import SelfAttention
from nastk.search_spaces import SPACES, NasBench201
from nastk.tasks.images.classification import CrossEntropy
from nastk.training.batch import Batch
from nastk.training.strategy import Problem

SMALL = {"resolution": 32, "num_classes": 10, "scale": 0.2, "cells": 1}
FAST = ("toy", "sandglass-micro", "nasbench201", "t2t-micro")
PROXIES = [name for name, kind in EVALUATORS.items() if issubclass(kind, ZeroCost)]


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize(
    "space", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SPACES]
)
def test_networks_of_every_space_are_scored(space, name):
    family = SPACES[space]
    known = {f.name for f in dataclasses.fields(family)}
    made = family(**{k: v for k, v in SMALL.items() if k in known and known & {"scale", "cells"}})
    arch = sample(made, 1, 0)
    network = made.build(made.arch_at({choice: int(index[0]) for choice, index in arch.items()}))
    generator = torch.Generator().manual_seed(0)
    shape = (2, 4, *made.input_shape)
    images = torch.randn(shape, generator=generator)
    drawn = [Batch(inputs=(x,), targets={"labels": torch.arange(4)}) for x in images]
    problem = Problem(space=made, proxy=made, task=None, budget=Budget(None, 10**6))
    evaluator = EVALUATORS[name](problem=problem)
    mixes_tokens = any(isinstance(m, SelfAttention) for m in network.modules())
    if name == "synflow" and mixes_tokens:
        with pytest.raises(ValueError, match="attention"):
            evaluator.score(ready(network), drawn, CrossEntropy())
    else:
        assert math.isfinite(evaluator.score(ready(network), drawn, CrossEntropy()))


@pytest.mark.parametrize("name", PROXIES)
def test_a_network_that_does_not_read_its_input_is_no_crash(name):
    space = NasBench201(cells=1)
    network = space.build(dict.fromkeys(space.choices(), "none"))
    images = torch.randn(2, 4, *space.input_shape)
    drawn = [Batch(inputs=(x,), targets={"labels": torch.arange(4)}) for x in images]
    problem = Problem(space=space, proxy=space, task=None, budget=Budget(None, 10**9))
    score = EVALUATORS[name](problem=problem).score(ready(network), drawn, CrossEntropy())
    assert math.isnan(score) == (name == "jacob_cov")
