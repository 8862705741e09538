"""The steps of a search by mixtures: what is mixed, in which order, and what cannot be told."""

import json
from dataclasses import dataclass
from typing import ClassVar

import asking
import pytest
import torch
from nastk import Space
from nastk.core.budget import parse_budget
from nastk.ops import ConvNormAct, batch_norm, conv2d, linear
from nastk.search_spaces import Sandglass, T2TMicro, Toy
from nastk.search_spaces.blocks import Head
from nastk.strategies.meta_kernel import MetaKernel
from nastk.strategies.mixed import MixedSearch
from nastk.tasks.named import make_task
from nastk.training.strategy import Problem
from torch import nn


def search_of(space, seed=0, **options):
    task = make_task("digits", space.input_shape[-1])
    given = {"space": space, "proxy": space, "task": task, "seed": seed}
    problem = Problem(**given, budget=parse_budget("100%", space))
    strategy = MetaKernel(**options).resolved(options["steps"])
    return MixedSearch(strategy.plan(space), strategy.recipe(problem), problem)


@pytest.fixture(scope="module")
def transformers():
    """A search of a space with choices of which one candidate runs."""
    return search_of(T2TMicro(), steps=60)


def test_a_mixture_is_a_function_of_seed_and_step():
    first, again, other = (search_of(Toy(), seed, steps=40, supernets=2) for seed in (0, 0, 1))
    first.mixture(0, 3)  # whatever was asked for before
    assert torch.equal(first.mixture(0, 17), again.mixture(0, 17))
    assert not torch.equal(first.mixture(0, 17), first.mixture(0, 18))
    assert not torch.equal(first.mixture(0, 17), first.mixture(1, 17))
    assert not torch.equal(first.mixture(0, 17), other.mixture(0, 17))


def test_the_supernets_of_a_search_do_not_start_alike():
    first, second = (t.supernet for t in search_of(Toy(), steps=12, supernets=2).trainings)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_mixtures_sum_to_one_and_come_near_single_candidates():
    searches = [search_of(Toy(), seed, steps=400) for seed in range(4)]

    def largest(steps):
        return torch.stack([s.mixture(0, step).amax(1) for s in searches for step in steps]).mean()

    assert searches[0].mixture(0, 9).sum(1) == pytest.approx(1)
    # 0.78 and 0.95 over many seeds, each with an error of 0.005 here.
    assert largest(range(100)) < 0.82 < 0.93 < largest(range(300, 400))


def test_networks_of_many_choices_begin_near_the_middle():
    small, large = (MetaKernel().first_concentration(space) for space in (Toy(), Sandglass()))
    assert small == 1 and large == pytest.approx((len(Sandglass().num_candidates) / 8) ** 2)
    assert MetaKernel(concentration_start=3.0).first_concentration(Sandglass()) == 3
    one = [search_of(Toy(), steps=40, concentration_start=a).mixture(0, 0) for a in (1.0, 1e4)]
    assert one[1] == pytest.approx(0.5, abs=0.05) and not torch.equal(*one)


def test_a_choice_that_runs_one_candidate_takes_each_once_in_as_many_steps(transformers):
    supernet = transformers.trainings[0].supernet
    rows = [row for row, is_sampled in enumerate(supernet.sampled) if is_sampled]
    assert rows and len(rows) < len(supernet.sampled)
    orders = set()
    for row in rows:
        count = supernet.num_candidates[row]
        for turn in range(3):
            steps = range(turn * count, (turn + 1) * count)
            taken = [transformers.mixture(0, step)[row] for step in steps]
            assert all(sorted(one.tolist()) == [0.0] * (len(one) - 1) + [1.0] for one in taken)
            order = tuple(int(one.argmax()) for one in taken)
            assert sorted(order) == list(range(count))
            orders.add((count, turn, order))
    assert len({order for count, _, order in orders if count > 1}) > len(
        {count for count, _, _ in orders}
    )  # not always the same order


def test_steps_are_updates_and_tests_of_each_supernet_and_untrained_archs_behind():
    search = search_of(Toy(), steps=12, supernets=2, archs=3, untrained=2)
    phases = [search.phase(step) for step in range(search.total)]
    each = ["supernet"] * 12 + ["inherited"] * 3
    assert phases == each * 2 + ["untrained"] * 2
    assert [search.in_words(step) for step in (0, 12, 29, 30)] == [
        "training supernet 1 of 2",
        "testing archs with the weights of supernet 1 of 2",
        "testing archs with the weights of supernet 2 of 2",
        "looking at untrained archs",
    ]
    assert search_of(Toy(), steps=12).in_words(0) == "training the supernet"


@dataclass(frozen=True, kw_only=True)
class Silent(Space):
    """A space without any module of an activation."""

    name: ClassVar[str] = "silent"
    recipe: ClassVar[str] = "small"
    resolution: int = 28
    num_classes: int = 10

    def network(self, choose):
        width = choose("width", (4, 8))
        return nn.Sequential(
            ConvNormAct(conv2d(3, 4, choose("kernel", (3, 5)), stride=4), batch_norm(4)),
            ConvNormAct(conv2d(4, width, 1), batch_norm(width)),
            Head(linear(width, self.num_classes)),
        )


def test_a_space_without_activations_is_searched_without_their_patterns(tmp_path):
    options = {"data": "digits", "batch_size": 8, "quiet": True}
    found = asking.search(Silent, "100%", steps=12, out=tmp_path / "run", **options)
    assert set(found.arch.choices) == {"width", "kernel"}
    ranking = json.loads((tmp_path / "run/ranking.json").read_text())
    assert [figures["name"] for figures in ranking["figures"]] == ["training 0", "inherited 0"]
    events = [
        json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    ]
    patterns = [event["naswot"] for event in events if "untrained" in event]
    assert len(patterns) == 10 and set(patterns) == {None}
