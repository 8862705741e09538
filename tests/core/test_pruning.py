"""Candidates that are left out before integer programming are in no best arch."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nastk.core import solver
from nastk.core.choice import Choice
from nastk.core.constraint import Constraint
from nastk.core.polynomial import Polynomial
from nastk.core.pruning import worthwhile


@pytest.fixture(autouse=True, scope="module")
def prunes_always():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "_MANY", 0)
        yield


def allowing(costs, forbidden=(), constraints=()):
    def is_allowed(archs):
        allowed = np.logical_and.reduce([c.allows(archs) for c in constraints] or [True])
        for cost, low, high in costs:
            allowed = allowed & (cost.evaluate(archs) >= low) & (cost.evaluate(archs) <= high)
        for settings_ in forbidden:
            allowed &= ~np.logical_and.reduce([archs[n] == i for n, i in settings_.items()])
        return allowed

    return is_allowed


def random_space(generator, joint_score):
    counts = {f"c{i}": int(generator.integers(1, 5)) for i in range(5)}
    polynomials = [Polynomial.constant(7), Polynomial()]
    for which, number in ((0, 6), (1, 3 * joint_score)):
        for _ in range(number):
            names = generator.choice(list(counts), int(generator.integers(1, 4)), replace=False)
            term = Polynomial.constant(1)
            for name in map(str, names):
                low = -9 if which else 0
                term = term * Polynomial.of(name, generator.integers(low, 50, counts[name]))
            polynomials[which] = polynomials[which] + term
    for name, count in counts.items():
        polynomials[1] = polynomials[1] + Polynomial.of(name, 9 * generator.normal(size=count))
    return counts, *polynomials


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.98), st.booleans())
def test_a_pruned_program_equals_brute_force(seed, share, joint_score):
    generator = np.random.default_rng(seed)
    counts, cost, score = random_space(generator, joint_score)
    everything = np.array(list(itertools.product(*map(range, counts.values()))))
    indices = {name: everything[:, i] for i, name in enumerate(counts)}
    costs, scores = cost.evaluate(indices), score.evaluate(indices)
    high = int(np.quantile(costs, share))
    low = int(generator.choice([0, 0.8 * high]))
    terms = tuple(Choice(name, tuple(range(counts[name]))) for name in ("c0", "c1"))
    rules = [Constraint(name="few", terms=terms, high=4)]
    best = everything[int(np.argmax(scores))]
    forbidden = [dict(zip(counts, map(int, best), strict=True)), {"c2": 0, "c3": 0}]
    bounded = (cost, low, high)
    allowed = allowing([bounded], forbidden, rules)(indices)
    found = solver.maximise(score, counts, [bounded], constraints=rules, forbidden=forbidden)
    if not allowed.any():
        assert found is None
        return
    one = {name: np.array([index]) for name, index in found.items()}
    assert allowing([bounded], forbidden, rules)(one)[0]
    assert score.evaluate(one)[0] == pytest.approx(scores[allowed].max(), abs=1e-6)
    kept = worthwhile(score, counts, bounded, allowing([bounded], forbidden, rules))
    if kept is not None:
        for row in everything[allowed & (scores == scores[allowed].max())]:
            assert all(index in kept[name] for name, index in zip(counts, row, strict=True))


def test_choices_that_all_meet_are_left_to_the_solver():
    counts = {f"c{i}": 30 for i in range(6)}
    cost = Polynomial()
    for a, b in itertools.combinations(counts, 2):
        cost = cost + Polynomial.of(a, np.arange(30)) * Polynomial.of(b, np.arange(30))
    score = Polynomial.of("c0", np.arange(30))
    bounded = (cost, 0, 10)
    assert worthwhile(score, counts, bounded, allowing([bounded])) is None


def test_a_chain_of_many_widths_keeps_few_of_them():
    """One candidate a channel, as learned channels have them: 20 layers of 64 widths."""
    generator, widths = np.random.default_rng(0), np.arange(1, 65)
    counts = {f"w{i}": 64 for i in range(20)}
    cost, score = Polynomial(), Polynomial()
    for i, name in enumerate(counts):
        if i:
            cost = cost + Polynomial.of(f"w{i - 1}", widths) * Polynomial.of(name, widths)
        gain = generator.uniform(0.5, 1.5) * np.log(widths) + 0.1 * generator.normal(size=64)
        score = score + Polynomial.of(name, gain)
    high = int(0.3 * cost.evaluate({name: np.array([63]) for name in counts})[0])
    bounded = (cost, 0.9 * high, high)
    kept = worthwhile(score, counts, bounded, allowing([bounded]))
    assert sum(map(len, kept.values())) < 200
    found = solver.maximise(score, counts, [bounded])
    one = {name: np.array([index]) for name, index in found.items()}
    assert allowing([bounded])(one)[0]
    best = score.evaluate(one)[0]
    for name in counts:  # no other width of one layer is better
        others = {n: np.full(64, index) for n, index in found.items()} | {name: np.arange(64)}
        scores = np.where(allowing([bounded])(others), score.evaluate(others), -np.inf)
        assert scores.max() <= best
