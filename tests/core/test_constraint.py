"""Rules between choices: kept by archs, samplers and the solver."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nastk.core.budget import extremes
from nastk.core.choice import Choice
from nastk.core.constraint import Constraint
from nastk.core.neighbours import Neighbours
from nastk.core.polynomial import Polynomial
from nastk.core.sampler import sample
from nastk.core.solver import maximise
from nastk.core.space import Space
from nastk.ops import ConvNormAct, batch_norm, conv2d, linear
from nastk.search_spaces.blocks import Head
from torch import nn


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_solver_equals_brute_force_under_constraints(seed, repeats):
    """`repeats` gives some candidates equal slices, which then share variables."""
    generator = np.random.default_rng(seed)
    counts = {f"c{i}": int(generator.integers(2, 5)) for i in range(4)}

    def values(name):
        drawn = generator.integers(0, 50, counts[name])
        return drawn * (drawn > 20) if repeats else drawn

    cost = Polynomial.constant(7)
    for _ in range(5):
        term = Polynomial.constant(1)
        for name in generator.choice(list(counts), int(generator.integers(1, 4)), replace=False):
            term = term * Polynomial.of(str(name), values(str(name)))
        cost = cost + term
    score = Polynomial()
    for name, count in counts.items():
        score = score + Polynomial.of(name, generator.normal(size=count))
    everything = np.array(list(itertools.product(*map(range, counts.values()))))
    indices = {name: everything[:, i] for i, name in enumerate(counts)}
    costs, scores = cost.evaluate(indices), score.evaluate(indices)
    terms = tuple(
        Choice(n, range(counts[n]), list(generator.integers(-9, 9, counts[n]))) for n in counts
    )
    sums = sum(np.array(term.values)[indices[term.name]] for term in terms)
    rule = Constraint(name="rule", terms=terms, high=float(np.quantile(sums, 0.4)))
    assert np.array_equal(rule.allows(indices), sums <= rule.high)
    high = int(np.quantile(costs, 0.7))
    allowed = (costs <= high) & (sums <= rule.high)
    found = maximise(score, counts, [(cost, -np.inf, high)], constraints=[rule])
    if not allowed.any():
        assert found is None
        return
    one = {name: np.array([index]) for name, index in found.items()}
    assert cost.evaluate(one)[0] <= high and rule.allows(one)[0]
    assert score.evaluate(one)[0] == pytest.approx(scores[allowed].max(), abs=1e-6)


@dataclass(frozen=True, kw_only=True)
class Ruled(Space):
    resolution: int = 8
    num_classes: int = 4

    @property
    def constraints(self):
        first, second = (self.choices()[name] for name in ("first", "second"))
        return (Constraint(name="sum", terms=(first, second), high=20),)

    def network(self, choose):
        first, second = choose("first", (4, 8, 12)), choose("second", (4, 8, 12))
        return nn.Sequential(
            ConvNormAct(conv2d(3, first, 1), batch_norm(first)),
            ConvNormAct(conv2d(first, second, 1), batch_norm(second)),
            Head(linear(second, self.num_classes)),
        )


def test_samples_are_uniform_over_what_the_rule_allows():
    space = Ruled()
    drawn = sample(space, 8000, 0)
    pairs = np.bincount(drawn["first"] * 3 + drawn["second"], minlength=9)
    assert (pairs > 0).tolist() == [True] * 8 + [False]
    assert np.abs(pairs[:8] - 1000).max() < 150


def test_extremes_keep_the_rule():
    space = Ruled()
    largest = max(
        space.cost.count(space.indices({"first": a, "second": b}))["flops"]
        for a, b in itertools.product((4, 8, 12), repeat=2)
        if a + b <= 20
    )
    assert extremes(space, space.cost.flops)[1] == largest


def test_neighbours_keep_the_rule():
    space = Ruled()
    low, high = extremes(space, space.cost.flops)
    neighbours = Neighbours(space, (low, high))
    generator, seen = np.random.default_rng(0), set()
    for first, second in [(0, 2), (2, 0), (2, 1)]:
        for choice, candidate in neighbours.changes((first, second)):
            found = neighbours.change((first, second), choice, candidate, generator)
            assert found is None or found != (2, 2)
            seen.add(found)
    assert len(seen) > 4


def test_an_arch_that_breaks_the_rule_is_refused_by_its_name():
    with pytest.raises(ValueError, match="first 12, second 12: excluded by the sum rule of Ruled"):
        Ruled().arch({"first": 12, "second": 12})
