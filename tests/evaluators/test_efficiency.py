"""Latency: what is timed, on how many threads, and in which unit."""

import time

import pytest
import torch
from nastk.core.budget import Budget
from nastk.core.spec import Spec
from nastk.evaluators.efficiency import Efficiency, latency_ms
from nastk.search_spaces import Toy
from nastk.tasks.named import make_task
from nastk.training.strategy import Problem
from torch import nn


class Probe(nn.Module):
    """Notes how it is run, and takes as long as it is told."""

    def __init__(self, seconds=()):
        super().__init__()
        self.seconds = iter(seconds)
        Probe.seen = []  # of the class, so that copies note there too

    def forward(self, x):
        how = (torch.get_num_threads(), tuple(x.shape), self.training, torch.is_grad_enabled())
        self.seen.append(how)
        time.sleep(next(self.seconds, 0))
        return x


@pytest.mark.parametrize("threads", [1, 2])
def test_one_image_is_timed_on_pinned_threads_and_those_before_come_back(threads):
    torch.set_num_threads(3)
    probe = Probe()
    latency_ms(probe, [Spec(shape=(3, 8, 10))], rounds=4, threads=threads)
    assert set(probe.seen) == {(threads, (1, 3, 8, 10), False, False)}
    assert torch.get_num_threads() == 3


def test_a_network_keeps_its_mode_and_its_memory_format():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).train()
    weight = network[0].weight
    strides = weight.stride()
    latency_ms(network, [Spec(shape=(3, 8, 10))], rounds=1)
    assert network[0].weight is weight
    assert weight.stride() == strides
    assert all(module.training for module in network.modules())
    network(torch.ones(2, 3, 8, 10)).sum().backward()
    assert weight.grad is not None


def test_one_thread_is_the_default():
    torch.set_num_threads(3)
    probe = Probe()
    latency_ms(probe, [Spec(shape=(3, 8, 8))], rounds=1)
    assert {threads for threads, *_ in probe.seen} == {1}


def test_threads_come_back_from_a_network_that_fails():
    torch.set_num_threads(3)
    with pytest.raises(RuntimeError):
        latency_ms(nn.Linear(7, 1), [Spec(shape=(3, 8, 8))])
    assert torch.get_num_threads() == 3


def test_latency_is_the_median_in_milliseconds_without_the_first_rounds():
    """Three slow rounds to warm up, then one that something else held up among four."""
    probe = Probe([0.2, 0.2, 0.2, 0.01, 0.2, 0.01, 0.01, 0.01])
    assert 10 <= latency_ms(probe, [Spec(shape=(3, 8, 8))], rounds=5) < 100
    assert len(probe.seen) == 8


def test_metrics_are_counts_and_a_latency_with_its_unit():
    space = Toy()
    task = make_task("digits-photo", 28)
    problem = Problem(space=space, proxy=space, task=task, budget=Budget(None, 10**6))
    arch = space.arch({"width": 8, "kernel": 3})
    counts = Efficiency(problem=problem).evaluate(arch)
    assert counts == space.cost.count(space.indices(arch))
    assert set(counts) == {"flops", "params", "activations"}
    metrics = Efficiency(problem=problem, measures_latency=True).evaluate(arch)
    assert 0 < metrics.pop("latency_ms") < 1000
    assert metrics == counts
