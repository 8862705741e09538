"""Features of mixtures and archs, and the regressions that turn figures into effects."""

import numpy as np
import pytest
from nastk.core.sampler import sample
from nastk.search_spaces import SPACES, NasBenchMacro, SandglassMicro, T2TMicro, Toy
from nastk.strategies.effects import Features, held_out, ranks, ridge, without_trend

NAMES = ["toy", "nasbench-macro", "sandglass-micro", "t2t-micro"]


def mixtures(space, count, seed=0):
    """Random mixtures [A, D, N], zero behind the last candidate of each choice."""
    counts = list(space.num_candidates.values())
    random = np.random.default_rng(seed)
    result = np.zeros((count, len(counts), max(counts)))
    for row, size in enumerate(counts):
        result[:, row, :size] = random.dirichlet(np.ones(size), count)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_the_features_of_an_arch_are_the_candidates_it_has_where_they_are_not_idle(name):
    space = SPACES[name]()
    indices = sample(space, 40, 3)
    active = space.cost.active(indices)
    features = Features(space)
    rows = features.of_archs(indices)
    assert rows.shape == (40, sum(space.num_candidates.values()) + len(features.pairs))
    for column, (choice, index) in enumerate(features.names):
        assert np.array_equal(rows[:, column], (indices[choice] == index) & active[choice])


@pytest.mark.parametrize("name", NAMES)
def test_the_polynomial_is_the_sum_of_effects(name):
    space = SPACES[name]()
    features, indices = Features(space), sample(space, 40, 4)
    effects = np.random.default_rng(1).normal(size=len(features.names) + len(features.pairs))
    score = features.polynomial(effects).evaluate(indices)
    assert score == pytest.approx(features.of_archs(indices) @ effects)


def test_a_mixture_is_the_mean_of_its_archs_as_far_as_each_choice_tells():
    """Features are linear in every choice: those of a mixture are means over independent draws."""
    space = SandglassMicro()
    features = Features(space)
    probs = mixtures(space, 1)
    random = np.random.default_rng(2)
    drawn = {
        name: random.choice(count, size=20_000, p=probs[0, row, :count])
        for row, (name, count) in enumerate(space.num_candidates.items())
    }
    expected = features.of_archs(drawn).mean(0)
    assert features.of_mixtures(probs)[0] == pytest.approx(expected, abs=0.02)


def test_a_choice_that_may_be_idle_weighs_as_much_as_its_gate():
    space = SandglassMicro()
    features, probs = Features(space), mixtures(space, 5)
    rows = features.of_mixtures(probs)
    idle = [
        name for name in space.choices() if not space.cost.active(sample(space, 60, 1))[name].all()
    ]
    assert idle
    for name in idle:
        columns = [n for n, (choice, _) in enumerate(features.names) if choice == name]
        assert (rows[:, columns].sum(1) < 1 - 1e-6).all()
    others = [n for n, (choice, _) in enumerate(features.names) if choice not in idle]
    assert rows.shape[1] == len(features.names)  # there are too many pairs
    assert rows[:, others].sum(1) == pytest.approx(len(space.choices()) - len(idle))


def test_ridge_recovers_what_candidates_add():
    space = T2TMicro()
    features = Features(space)
    rows = features.of_mixtures(mixtures(space, 400))
    effects = np.random.default_rng(5).normal(size=rows.shape[1])
    values = 3.0 + rows @ effects
    other = features.of_archs(sample(space, 50, 6))
    told, true = other @ ridge(rows, values, 1e-9), other @ effects
    assert told - told.mean() == pytest.approx(true - true.mean(), abs=1e-5)
    assert np.abs(ridge(rows, values, 1e12)).max() < 1e-6


def test_pairs_are_both_of_two_candidates_of_different_choices():
    space = NasBenchMacro()
    features = Features(space)
    assert len(features.pairs) == 8 * 7 // 2 * 9
    rows = features.of_archs(sample(space, 50, 6))
    single, paired = np.split(rows, [len(features.names)], axis=1)
    for column, (first, second) in enumerate(features.pairs):
        assert features.names[first][0] != features.names[second][0]
        assert np.array_equal(paired[:, column], single[:, first] * single[:, second])
    assert (paired.sum(1) == 8 * 7 // 2).all()
    assert not len(Features(SandglassMicro()).pairs) and not len(Features(T2TMicro()).pairs)


def test_what_a_candidate_adds_is_its_mean_over_all_archs():
    space = NasBenchMacro()
    features = Features(space)
    effects = np.random.default_rng(3).normal(size=len(features.names) + len(features.pairs))
    drawn = sample(space, 20_000, 1)
    rows = features.of_archs(drawn)
    scores, added = rows @ effects, features.of_candidates(effects)
    means = np.array([scores[rows[:, n] == 1].mean() for n in range(len(features.names))])
    for choice in space.choices():
        mine = [n for n, (name, _) in enumerate(features.names) if name == choice]
        assert means[mine] - means[mine][0] == pytest.approx(added[mine] - added[mine][0], abs=0.5)


def test_ridge_is_the_same_by_either_matrix():
    random = np.random.default_rng(0)
    rows, values = random.normal(size=(12, 30)), random.normal(size=12)
    centred, rest = rows - rows.mean(0), values - values.mean()
    long = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(30), centred.T @ rest)
    assert ridge(rows, values, 0.7) == pytest.approx(long)


def test_a_quadratic_trend_is_taken_out_exactly_and_nothing_else():
    position = np.linspace(0, 7, 50)
    trend = 2.0 - 0.7 * position + 0.05 * position**2
    rest = np.random.default_rng(0).normal(size=50)
    assert without_trend(trend) == pytest.approx(np.zeros(50), abs=1e-12)
    assert without_trend(trend + rest) == pytest.approx(without_trend(rest))
    assert without_trend(without_trend(rest)) == pytest.approx(without_trend(rest))
    assert np.abs(without_trend(position**3)).max() > 1
    assert without_trend(np.array([4.0, 9.0])) == pytest.approx([0, 0])


def test_ranks_go_from_minus_one_to_one_with_equals_at_their_mean():
    assert ranks([3.0, 1.0, 2.0]) == pytest.approx([1, -1, 0])
    assert ranks([1.0, 1.0, 5.0]) == pytest.approx([-0.5, -0.5, 1])
    assert ranks([np.inf, 0.0, np.nan, 1.0]) == pytest.approx([2 / 3, -1, 2 / 3, -1 / 3])
    assert ranks([7.0]) == pytest.approx([-1]) and len(ranks([])) == 0


def test_what_is_held_out_has_no_part_in_what_is_told_of_it():
    rows = Features(Toy()).of_mixtures(mixtures(Toy(), 25))
    values = rows[:, :4] @ np.array([1.0, 0.0, 0.5, 0.0])

    def fit(rows, values):
        return ridge(rows, values, 1e-9)

    told = held_out(rows, values, fit)
    assert np.corrcoef(told, values)[0, 1] == pytest.approx(1)
    other = values.copy()
    other[:5] = 100.0  # the first of five parts
    again = held_out(rows, other, fit)
    assert again[:5] == pytest.approx(told[:5])
    assert np.abs(again[5:] - told[5:]).min() > 0.01
