"""What must hold for every evaluator in the dict, new ones included."""

import copy

import pytest
import torch
from nastk.core.budget import Budget
from nastk.evaluators import EVALUATORS
from nastk.search_spaces import SandglassMicro, Toy
from nastk.tasks.named import make_task
from nastk.training.evaluator import Evaluator
from nastk.training.strategy import Problem

SPACE = Toy()
ARCHS = [SPACE.arch({"width": w, "kernel": k}) for w, k in ((8, 3), (16, 5))]


def make(name):
    problem = Problem(
        space=SPACE, proxy=SPACE, task=make_task("digits-photo", 28), budget=Budget(None, 10**6)
    )
    extra = {"inherit": {"supernet": SPACE.supernet(seed=1)}, "train": {"steps": 6}}
    return EVALUATORS[name](problem=problem, **extra.get(name, {}))


@pytest.mark.parametrize("name", EVALUATORS)
def test_equal_archs_have_equal_metrics_and_others_differ(name, sealed_test_split):
    evaluator = make(name)
    assert isinstance(evaluator, Evaluator) and evaluator.name == name
    first, again, other = (evaluator.evaluate(arch) for arch in (*ARCHS[:1] * 2, ARCHS[1]))
    assert first == again != other
    assert first and all(isinstance(value, float) for value in first.values())


@pytest.mark.parametrize("name", EVALUATORS)
def test_an_arch_of_another_space_is_refused(name):
    foreign = SandglassMicro().arch_at(dict.fromkeys(SandglassMicro().choices(), 0))
    with pytest.raises(ValueError, match="sandglass-micro"):
        make(name).evaluate(foreign)


def test_a_supernet_is_left_as_it_was():
    evaluator = make("inherit")
    before = copy.deepcopy(evaluator.supernet.state_dict())
    evaluator.evaluate(ARCHS[0])
    after = evaluator.supernet.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_training_learns():
    space = SandglassMicro()
    task = make_task("digits", 28)
    problem = Problem(space=space, proxy=space, task=task, budget=Budget(None, 10**6))
    arch = space.arch_at(dict.fromkeys(space.choices(), 0))
    losses = [
        EVALUATORS["train"](problem=problem, steps=steps).evaluate(arch)["architecture_loss_nats"]
        for steps in (6, 60)
    ]
    assert losses[1] < 1.2 < 2 < losses[0]
