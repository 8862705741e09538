"""Several budgets at once: what keeps all of them, held against every arch of small spaces."""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from nastk.core.bounds import Bound, Bounds
from nastk.core.budget import solve
from nastk.core.cost import METRICS
from nastk.core.listing import all_archs
from nastk.core.neighbours import Draws, Neighbours
from nastk.core.polynomial import Polynomial
from nastk.core.sampler import sample
from nastk.core.space import Space
from nastk.core.walk import walk
from nastk.ops import Chain, Step, batch_norm, conv2d, depthwise_conv2d, linear, residual
from nastk.search_spaces.blocks import Head
from scipy.stats import chisquare
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Drawn(Space):
    """A space of random widths, kernels and strides, whose blocks may be skipped."""

    seed: int = 0
    resolution: int = 16
    num_classes: int = 3

    def network(self, choose):
        generator = np.random.default_rng(self.seed)

        def some(values, count):
            return tuple(sorted(generator.choice(values, count, replace=False).tolist()))

        channels, layers = 3, []
        shared = choose("shared", some([3, 5, 7, 9], 2))
        for number in range(3):
            width = choose(f"width{number}", some(range(2, 40), 3))
            size, stride = (int(generator.choice(values)) for values in ((1, 3), (1, 2)))
            layers.append(Step(conv2d(channels, width, size, stride=stride)))
            kernel = choose(f"kernel{number}", some([3, 5, 7], 2)) if number else shared
            steps = [Step(depthwise_conv2d(width, kernel), batch_norm(width))]
            steps += [Step(conv2d(width, width, 1), batch_norm(width))] * min(number, 1)
            keep = choose(f"keep{number}", (1, 0))
            layers.append(residual(Chain(steps), width, keep=keep))
            channels = width
        again = Chain([Step(depthwise_conv2d(channels, shared), batch_norm(channels))])
        layers.append(residual(again, channels, keep=choose("keep3", (1, 0))))
        return nn.Sequential(*layers, Head(linear(channels, self.num_classes)))


@lru_cache(maxsize=8)
def everything(seed):
    """All different archs [A, D] of a space, and their costs by name."""
    space = Drawn(seed=seed)
    rows = np.array(list(itertools.product(*map(range, space.num_candidates.values()))))
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
