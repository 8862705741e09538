import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nastk.core.arch import Arch
from nastk.core.band import band_of
from nastk.core.best import best_arch, log_probability
from nastk.core.budget import Budget, InfeasibleBudgetError, flops_range, parse_budget
from nastk.core.polynomial import Polynomial
from nastk.core.sampler import sample
from nastk.core.solver import maximise
from nastk.core.space import Space
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear, residual
from nastk.search_spaces import SPACES, Sandglass, SandglassMicro, Toy
from nastk.search_spaces.blocks import Head
from torch import nn


@pytest.mark.parametrize(
    "text, low, high",
    [
        ("357M", None, 357000000),
        ("0.357G", None, 357000000),
        ("357e6", None, 357000000),
        ("340M:360M", 340000000, 360000000),
        ("60%", None, 600),
        ("1k", None, 1000),
    ],
)
def test_budget_grammar(text, low, high):
    assert Budget.parse(text, largest=1000) == Budget(low, high)


@pytest.mark.parametrize("text", ["", "M", "357X", "1:2:3", "360M:340M", "0", "-5M", "nan", "5%M"])
def test_malformed_budget_is_one_line_with_the_grammar(text):
    with pytest.raises(ValueError, match="357M") as caught:
        Budget.parse(text, largest=1000)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 10**12))
def test_any_count_of_flops_reads_back(count):
    assert Budget.parse(str(count)).high == count
    assert Budget.parse(f"{count}M").high == count * 10**6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.98))
def test_solver_equals_brute_force_on_random_spaces(seed, share):
    generator = np.random.default_rng(seed)
    counts = {f"c{i}": int(generator.integers(2, 4)) for i in range(5)}
    cost = Polynomial.constant(7)
    for _ in range(6):
        term = Polynomial.constant(1)
        for name in generator.choice(list(counts), int(generator.integers(1, 4)), replace=False):
            term = term * Polynomial.of(str(name), generator.integers(0, 50, counts[str(name)]))
        cost = cost + term
    score = Polynomial()
    for name, count in counts.items():
        score = score + Polynomial.of(name, generator.normal(size=count))
    everything = np.array(list(itertools.product(*map(range, counts.values()))))
    indices = {name: everything[:, i] for i, name in enumerate(counts)}
    costs, scores = cost.evaluate(indices), score.evaluate(indices)
    high = int(np.quantile(costs, share))
    low = int(0.8 * high)
    allowed = (costs >= low) & (costs <= high)
    found = maximise(score, counts, [(cost, low, high)])
    if not allowed.any():
        assert found is None
        return
    one = {name: np.array([index]) for name, index in found.items()}
    assert low <= cost.evaluate(one)[0] <= high
    assert score.evaluate(one)[0] == pytest.approx(scores[allowed].max(), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_arch_json_round_trip(seed):
    space = SandglassMicro()
    drawn = sample(space, 1, seed)
    arch = space.arch_at({n: int(c[0]) for n, c in drawn.items()})
    again = Arch.from_json(arch.to_json())
    assert again == arch and again.id == arch.id and again.to_json() == arch.to_json()
    assert space.arch(again.choices) == arch


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 99, "space": "toy"}', '{"schema": 1}']
)
def test_foreign_json_is_refused_in_one_line(text):
    with pytest.raises(ValueError) as caught:
        Arch.from_json(text)
    assert "\n" not in str(caught.value)


def test_arch_of_another_space_is_refused():
    with pytest.raises(ValueError, match="toy"):
        Sandglass().indices(Toy().arch({"kernel": 3, "width": 8}))


@pytest.mark.parametrize(
    "name", [pytest.param("sandglass", marks=pytest.mark.slow), "mbconv", "sandglass-micro"]
)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 0.97])
def test_found_archs_spend_at_least_90_percent_and_never_more(name, share):
    space = SPACES[name]()
    low, high = flops_range(space)
    limit = int(low + share * (high - low))
    generator = np.random.default_rng(int(share * 100))
    log_probs = {
        n: np.log(generator.dirichlet(np.ones(len(c.candidates))))
        for n, c in space.choices().items()
    }
    arch = best_arch(space, log_probability(log_probs), Budget(None, limit))
    flops = space.cost.count(space.indices(arch))["flops"]
    assert 0.9 * limit <= flops <= limit


def test_budget_outside_of_the_space_names_both_ends():
    with pytest.raises(InfeasibleBudgetError, match="185,218,944 to 510,290,432"):
        parse_budget("100M", Sandglass())
    with pytest.raises(InfeasibleBudgetError):
        parse_budget("2G", Sandglass())


def test_skipped_blocks_score_without_their_hidden_choices():
    """All else equal, the most probable arch does not depend on how many choices a skip hides."""
    space = SandglassMicro()
    log_probs = {
        n: np.log(np.full(len(c.candidates), 1 / len(c.candidates)))
        for n, c in space.choices().items()
    }
    log_probs["stage1.block2.keep"] = np.log([0.6, 0.4])
    arch = best_arch(space, log_probability(log_probs), Budget(None, 1_500_000))
    assert arch.choices["stage1.block2.keep"] == 1


def test_idle_choices_give_equal_ids():
    space = SandglassMicro()
    values = {n: c.candidates[0] for n, c in space.choices().items()}
    values["stage1.block2.keep"] = 0
    other = values | {"stage1.block2.first_kernel": 7, "stage1.block2.hidden": 16}
    assert space.arch(values).id == space.arch(other).id


def test_uniform_sampling_is_uniform_on_the_toy_space_and_under_tilt():
    drawn = sample(Toy(), 4000, 0)
    pairs = drawn["kernel"] * 2 + drawn["width"]
    assert np.all(np.abs(np.bincount(pairs) - 1000) < 150)


@dataclass(frozen=True, kw_only=True)
class SharedKernel(Space):
    """Two skippable blocks with one kernel choice: ten different archs."""

    resolution: int = 28
    num_classes: int = 10

    def network(self, choose):
        kernel = choose("kernel", (3, 5, 7))
        blocks = []
        for index in (1, 2):
            step = ConvNormAct(depthwise_conv2d(8, kernel), batch_norm(8))
            blocks.append(residual(Chain([step]), 8, keep=choose(f"block{index}.keep", (1, 0))))
        return nn.Sequential(conv2d(3, 8, 3, stride=2), *blocks, Head(linear(8, 10)))


@pytest.mark.parametrize("band", [None, (0, 10**9)])
def test_a_choice_that_serves_several_skippable_blocks_is_sampled_uniformly(band):
    drawn = sample(SharedKernel(), 10_000, 0, band)
    columns = [drawn[name] for name in SharedKernel().choices()]
    archs, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    assert archs.shape[1] == 10
    assert np.all(np.abs(counts - 1000) < 150)


def test_most_params_within_the_budget_beats_random_archs():
    space = SandglassMicro()
    budget = Budget(None, 800_000)
    arch = best_arch(space, space.cost.params, budget)
    drawn = sample(space, 500, 0, band_of(space, budget).bounds)
    assert (
        space.cost.count(space.indices(arch))["params"] >= space.cost.params.evaluate(drawn).max()
    )


def test_hundred_thousand_archs_are_costed_in_a_second():
    import time

    space = Sandglass()
    drawn = sample(space, 100_000, 0)
    start = time.process_time()
    flops = space.cost.flops.evaluate(drawn)
    assert time.process_time() - start < 1 and len(flops) == 100_000
