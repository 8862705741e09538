"""Several budgets at once: what keeps all of them, held against every arch of small spaces."""

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from nastk.core.band import band_of
from nastk.core.best import best_arch, best_other
from nastk.core.bounds import Bound, Bounds
from nastk.core.budget import Budget, InfeasibleBudgetError, largest_below, parse_budget, solve
from nastk.core.cost import METRICS
from nastk.core.listing import all_archs
from nastk.core.neighbours import Draws, Neighbours
from nastk.core.polynomial import Polynomial
from nastk.core.sampler import estimate, sample
from nastk.core.space import Space
from nastk.core.walk import walk
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear, residual
from nastk.search_spaces import SPACES
from nastk.search_spaces.blocks import Head
from scipy.stats import chisquare
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Drawn(Space):
    """A space of random widths, kernels and strides, whose blocks may be skipped."""

    seed: int = 0
    num_blocks: int = 3
    resolution: int = 16
    num_classes: int = 3

    def network(self, choose):
        generator = np.random.default_rng(self.seed)

        def some(values, count):
            return tuple(sorted(generator.choice(values, count, replace=False).tolist()))

        channels, layers = 3, []
        shared = choose("shared", some([3, 5, 7, 9], 2))
        for number in range(self.num_blocks):
            width = choose(f"width{number}", some(range(2, 40), 3))
            size, stride = (int(generator.choice(values)) for values in ((1, 3), (1, 2)))
            layers.append(ConvNormAct(conv2d(channels, width, size, stride=stride)))
            kernel = choose(f"kernel{number}", some([3, 5, 7], 2)) if number else shared
            steps = [ConvNormAct(depthwise_conv2d(width, kernel), batch_norm(width))]
            steps += [ConvNormAct(conv2d(width, width, 1), batch_norm(width))] * min(number, 1)
            keep = choose(f"keep{number}", (1, 0))
            layers.append(residual(Chain(steps), width, keep=keep))
            channels = width
        again = Chain([ConvNormAct(depthwise_conv2d(channels, shared), batch_norm(channels))])
        layers.append(residual(again, channels, keep=choose("keep", (1, 0))))
        return nn.Sequential(*layers, Head(linear(channels, self.num_classes)))


@lru_cache(maxsize=8)
def everything(seed, num_blocks=3):
    """All different archs [A, D] of a space, and their costs by name."""
    space = Drawn(seed=seed, num_blocks=num_blocks)
    rows = np.stack(np.indices(tuple(space.num_candidates.values())), -1)
    rows = rows.reshape(-1, rows.shape[-1])
    indices = dict(zip(space.num_candidates, rows.T, strict=True))
    active = space.cost.active(indices)
    rows = rows[np.all([active[name] | (indices[name] == 0) for name in indices], axis=0)]
    indices = dict(zip(space.num_candidates, rows.T, strict=True))
    return rows, {m: space.cost.polynomial(m).evaluate(indices) for m in METRICS}


def drawn_bounds(costs, generator, share):
    """Bounds on two or three costs, around a random arch so that one keeps them."""
    metrics = generator.permutation(METRICS)[: generator.integers(2, 4)]
    chosen = generator.integers(len(costs["flops"]))
    parts = []
    for metric in metrics:
        value, values = int(costs[metric][chosen]), costs[metric]
        reach = int(share * np.ptp(values))
        low = 0 if generator.random() < 0.4 else value - int(generator.integers(0, reach + 1))
        parts.append(Bound(str(metric), max(0, low), value + int(generator.integers(0, reach + 1))))
    return Bounds(tuple(parts))


def inside_of(costs, bounds):
    """[A] whether archs keep all bounds."""
    return np.all(
        [(costs[p.metric] >= p.low) & (costs[p.metric] <= p.high) for p in bounds.parts], 0
    )


def frequencies(space, drawn, rows):
    """How often each arch of some rows was drawn, which must be all that was."""
    number = {tuple(row): index for index, row in enumerate(rows.tolist())}
    columns = np.stack([drawn[name] for name in space.num_candidates], 1)
    return np.bincount([number[tuple(row)] for row in columns.tolist()], minlength=len(rows))


CASES = [(seed, share) for seed in range(4) for share in (0.05, 0.3)]


@pytest.mark.parametrize("seed, share", CASES)
def test_solver_lists_and_draws_are_those_of_every_arch(seed, share):
    space, (rows, costs) = Drawn(seed=seed), everything(seed)
    generator = np.random.default_rng((seed, int(100 * share)))
    for _ in range(3):
        bounds = drawn_bounds(costs, generator, share)
        inside = inside_of(costs, bounds)
        indices = dict(zip(space.num_candidates, rows.T, strict=True))
        assert np.array_equal(bounds.allows(space.cost, indices), inside) and inside.any()
        listed = all_archs(space, bounds)
        assert sorted(map(tuple, listed.tolist())) == sorted(map(tuple, rows[inside].tolist()))
        score = space.cost.params * 1e-4
        for name, count in space.num_candidates.items():
            score = score + Polynomial.of(name, generator.normal(size=count))
        found = solve(space, score, bounds)
        one = {name: np.array([index]) for name, index in found.items()}
        assert bounds.allows(space.cost, one)[0]
        assert score.evaluate(one)[0] >= score.evaluate(indices)[inside].max() - 1e-6
        drawn = sample(space, 40 * int(inside.sum()), 1, bounds)
        assert chisquare(frequencies(space, drawn, rows[inside])).pvalue > 1e-4 or inside.sum() == 1


@pytest.mark.parametrize("seed", range(3))
def test_thin_corners_are_walked_through_under_all_bounds(seed):
    space, (rows, costs) = Drawn(seed=seed), everything(seed)
    bounds = drawn_bounds(costs, np.random.default_rng(seed), 0.2)
    inside = inside_of(costs, bounds)
    drawn = walk(space, 200, np.random.default_rng(0), bounds, sample)
    assert frequencies(space, drawn, rows[inside]).sum() == 200


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_and_projections_keep_all_bounds(seed):
    space, (rows, costs) = Drawn(seed=seed), everything(seed)
    generator = np.random.default_rng(seed)
    bounds = drawn_bounds(costs, generator, 0.2)
    inside = {tuple(row) for row in rows[inside_of(costs, bounds)].tolist()}
    neighbours = Neighbours(space, bounds)
    for row in rows[generator.integers(len(rows), size=10)].tolist():
        key = neighbours.project(tuple(row), generator)
        assert key in inside
        for choice, candidate in neighbours.changes(key):
            changed = neighbours.change(key, choice, candidate, generator)
            assert changed is None or (changed in inside and changed[choice] == candidate)
    draws, met = Draws(neighbours, 0), set()
    for _ in range(min(len(inside), 30)):
        met.add(draws.next(met))
    assert met <= inside and len(met) == min(len(inside), 30)


@pytest.mark.parametrize("near, share", [(0.999, 0.5), (0.5, 0.03), (0.97, 0.1), (0.01, 0.8)])
def test_rare_corners_are_drawn_uniformly_and_counted_well(near, share):
    """Of some FLOPs those archs with the fewest params: too few for draws from the whole space."""
    space, (rows, costs) = Drawn(seed=3, num_blocks=4), everything(3, 4)
    flops, params = costs["flops"], costs["params"]
    around = np.quantile(flops, near)
    low, high = int(0.99 * around), int(1.01 * around)
    most = int(np.quantile(params[(flops >= low) & (flops <= high)], share))
    bounds = Bounds((Bound("flops", low, high), Bound("params", 0, most)))
    inside = inside_of(costs, bounds)
    assert 4 < inside.sum() < 0.002 * len(rows)
    about, num_met = estimate(space, bounds)
    assert 0.75 * inside.sum() < about < 1.3 * inside.sum() and num_met > 0.5 * inside.sum()
    drawn = sample(space, 100 * int(inside.sum()), 0, bounds)
    assert chisquare(frequencies(space, drawn, rows[inside])).pvalue > 1e-4


def plain(metric, high):
    return Budget(None, int(high), metric)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_the_first_of_plain_budgets_is_widened_downward_until_it_holds_200_archs(share):
    space, (_, costs) = Drawn(seed=1), everything(1)
    flops, params = (int(np.quantile(costs[m], q)) for m, q in (("flops", 0.6), ("params", share)))
    band = band_of(space, Budget.joined([plain("params", params), plain("flops", flops)]))
    first, second = band.bounds.parts
    assert (first.metric, first.high) == ("flops", flops)
    assert second == Bound("params", 0, params)
    kept = np.sort(costs["flops"][(costs["flops"] <= flops) & (costs["params"] <= params)])
    wanted = max(kept[-200], 0) if band.is_widened else np.ceil(0.9 * flops)
    assert first.low == wanted and band.is_exact
    assert band.num_archs == np.sum(kept >= first.low) >= 200
    ends = f"{first.low:,} to {flops:,} FLOPs and 0 to {params:,} params"
    assert band.describe().startswith(f"looking in {ends}: {band.num_archs:,} archs")


@pytest.mark.parametrize("metric", METRICS)
def test_a_budget_on_any_one_cost_is_looked_for_in_its_upper_tenth(metric):
    space, (_, costs) = Drawn(seed=2), everything(2)
    budget = parse_budget({metric: "60%"}, space)
    assert budget.high == 6 * costs[metric].max() // 10
    band = band_of(space, budget)
    inside = (costs[metric] >= band.low) & (costs[metric] <= budget.high)
    assert band.num_archs == inside.sum() >= 200


def test_the_best_arch_and_the_next_keep_all_budgets():
    space, (_, costs) = Drawn(seed=0), everything(0)
    budget = parse_budget({"activations": "0:70%", "flops": "0:50%", "params": "20%:60%"}, space)
    inside = inside_of(costs, budget.bounds)
    assert [part.metric for part in budget.parts] == [*METRICS]
    order = np.argsort(-costs["params"][inside], kind="stable")
    arch = best_arch(space, space.cost.params, budget)
    other = best_other(space, space.cost.params, budget, [arch])
    for found, place in ((arch, 0), (other, 1)):
        counts = space.cost.count(space.indices(found))
        assert counts["params"] == costs["params"][inside][order[place]]
        assert all(p.low <= counts[p.metric] <= p.high for p in budget.bounds.parts)
    below = [costs[part.metric] <= part.high for part in budget.parts]
    top = costs["flops"][np.all(below, axis=0)].max()
    assert 0.999 * top <= largest_below(space, budget) <= top


def test_budgets_that_exclude_each_other_are_refused_with_what_is_left():
    space, (_, costs) = Drawn(seed=0), everything(0)
    least = int(np.quantile(costs["flops"], 0.9))
    few = int(costs["params"][costs["flops"] >= least].min()) - 1
    texts = {"flops": f"{least}:{costs['flops'].max()}", "params": f"{few}", "activations": "100%"}
    with pytest.raises(InfeasibleBudgetError) as caught:
        parse_budget(texts, space)
    said = str(caught.value)
    assert said.startswith(
        f"{least:,} to {costs['flops'].max():,} FLOPs and at most {few:,} params"
    )
    assert "exclude each other" in said and "activations" not in said and "\n" not in said
    left = (costs["flops"][costs["params"] <= few], costs["params"][costs["flops"] >= least])
    reached = re.findall(r"reaches from ([\d,]+) to ([\d,]+) (?:FLOPs|params)", said)
    assert len(reached) == 2
    for values, ends in zip(left, reached, strict=True):
        low, high = (int(end.replace(",", "")) for end in ends)
        assert values.min() <= low <= 1.001 * values.min()
        assert 0.999 * values.max() <= high <= values.max()


def test_three_budgets_of_which_any_two_agree_are_refused_together():
    space = Drawn(seed=0)
    _, costs = everything(0)
    generator = np.random.default_rng(0)
    for _ in range(2000):
        parts = []
        for metric in METRICS:
            value = int(generator.choice(costs[metric]))
            parts.append(Budget(value, value + int(0.02 * np.ptp(costs[metric])), metric))
        inside = [inside_of(costs, part.bounds) for part in parts]
        pairs = [a & b for a, b in itertools.combinations(inside, 2)]
        if all(pair.any() for pair in pairs) and not np.all(inside, axis=0).any():
            break
    texts = {part.metric: f"{part.low}:{part.high}" for part in parts}
    with pytest.raises(InfeasibleBudgetError, match=r"FLOPs, .* params and .* activations exclude"):
        parse_budget(texts, space)


def test_a_range_between_the_archs_is_named_alone():
    space, (_, costs) = Drawn(seed=0), everything(0)
    values = np.unique(costs["params"])
    gap = int(np.argmax(np.diff(values)))
    text = f"{values[gap] + 1}:{values[gap + 1] - 1}"
    with pytest.raises(InfeasibleBudgetError, match=r"has .* params, though .*: widen the budget"):
        parse_budget({"flops": "100%", "params": text}, space)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sandglass-micro", "t2t", "sandglass"])
def test_large_spaces_are_drawn_from_under_two_budgets(name):
    space = SPACES[name]()
    archs = sample(space, 400, 0)
    params = int(np.quantile(space.cost.params.evaluate(archs), 0.1))
    budget = parse_budget({"flops": "50%", "params": f"{params}"}, space)
    band = band_of(space, budget)
    drawn = sample(space, 50, 0, band.bounds)
    assert band.bounds.allows(space.cost, drawn).all() and band.num_archs > 10_000
    assert len(set(zip(*drawn.values(), strict=True))) == 50


def test_an_upper_end_above_all_archs_excludes_none_beside_another_budget():
    space, (_, costs) = Drawn(seed=1), everything(1)
    most = int(costs["params"].max())
    alone = band_of(space, parse_budget({"flops": "60%"}, space))
    both = band_of(space, parse_budget({"flops": "60%", "params": f"{2 * most}"}, space))
    assert both.num_archs == alone.num_archs and both.low == alone.low
    with pytest.raises(InfeasibleBudgetError, match="params; it reaches from"):
        parse_budget({"params": f"{2 * most}"}, space)
    with pytest.raises(InfeasibleBudgetError, match="params; it reaches from"):
        parse_budget({"flops": "60%", "params": f"{2 * most}:{3 * most}"}, space)
