"""Rank correlations and verdicts, against figures worked out by hand."""

import itertools
import math
import statistics
from functools import partial

import pytest
from nastk.comparison import ranking
from nastk.comparison.ranking import best_of, ceiling, chance, tau, taus
from nastk.tasks.images.classification import Classification

LOSS = Classification.metrics[0]
judge, rank_scores = (partial(call, metric=LOSS) for call in (ranking.judge, ranking.rank_scores))


def rows(found, most, *drawn):
    kinds = [("found", found), ("most-params", most), *(("random", losses) for losses in drawn)]
    return [
        {
            "kind": kind,
            "losses_nats": losses,
            "loss_nats": statistics.mean(losses),
            "params": number,
            "flops": -number,
        }
        for number, (kind, losses) in enumerate(kinds)
    ]


def test_tau_counts_pairs_in_order_against_pairs_out_of_order():
    assert tau([4, 3, 2, 1], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(1)
    assert tau([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(-1)
    # Of six pairs one is out of order: (5 - 1) / 6.
    assert tau([4, 3, 1, 2], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(4 / 6)


def test_tau_of_too_few_or_equal_scores_is_unknown():
    assert tau([1, 2, 3], [3, 2, 1]) is None
    assert tau([1, 1, 1, 1], [4, 3, 2, 1]) is None


def test_the_best_fifth_is_that_of_the_lowest_losses():
    losses = [number / 20 for number in range(20)]
    scores = [0, 1, 2, 3, *(-number for number in range(4, 20))]
    found = taus(scores, losses)
    assert found["best_fifth"] == pytest.approx(-1) and found["all"] > 0.5
    assert taus(scores[:15], losses[:15])["best_fifth"] is None


def test_chance_is_what_random_orders_stay_below():
    # Of all 720 orders of six archs, about one in twenty has a larger tau.
    sizes = [abs(tau(order, range(6))) for order in itertools.permutations(range(6))]
    assert 0.02 < statistics.mean(size > chance(6) for size in sizes) < 0.08


def test_the_ceiling_ranks_each_seed_by_the_others():
    losses = [[1.0, 1.0, 1.0], [2.0, 3.0, 2.0], [3.0, 2.0, 3.0], [4.0, 4.0, 4.0]]
    # Seeds 0 and 2 agree with the mean of the others but for one tie; seed 1 swaps one pair of 6.
    assert ceiling(losses) == pytest.approx((2 * 5 / math.sqrt(6 * 5) + 4 / 6) / 3)


def test_the_ceiling_is_one_where_all_seeds_agree():
    agreeing = [[number, number + 0.1] for number in range(5)]
    assert ceiling(agreeing) == pytest.approx(1)
    assert ceiling([[number] for number in range(5)]) is None
    assert ceiling([[number, -number] for number in range(5)]) == pytest.approx(-1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_best_of_equals_the_mean_over_all_subsets(count):
    losses = [[0.4, 0.5], [0.3, 0.7], [0.6, 0.2], [0.35, 0.65]]
    expected = statistics.mean(
        min(subset, key=lambda row, told=told: row[told])[1 - told]
        for told in (0, 1)
        for subset in itertools.combinations(losses, count)
    )
    assert best_of(count, losses) == pytest.approx(expected)


def test_scores_are_judged_on_the_random_archs_alone():
    drawn = [[0.5, 0.52], [0.4, 0.43], [0.3, 0.31], [0.2, 0.22]]
    ranked = rank_scores(rows([9.0, 9.0], [0.1, 0.1], *drawn))
    assert ranked["num_archs"] == 4 and ranked["ceiling"] == pytest.approx(1)
    assert ranked["taus"]["params"]["all"] == pytest.approx(1)
    assert ranked["taus"]["flops"]["all"] == pytest.approx(-1)
    assert rank_scores(rows([9.0], [0.1], [0.5], [0.4], [0.3])) is None


DRAWN = [[0.50, 0.52], [0.48, 0.50], [0.51, 0.53], [0.49, 0.51]]


@pytest.mark.parametrize(
    "found, most, is_worth_it, words",
    [
        ([0.30, 0.32], [0.50, 0.52], True, "was worth its cost"),
        ([0.60, 0.62], [0.40, 0.42], False, "most params, which costs no search, has a test loss"),
        ([0.60, 0.62], [0.70, 0.72], False, "best of 3 random archs"),
        ([0.49, 0.51], [0.50, 0.52], None, "cannot be told"),
    ],
)
def test_a_search_has_to_beat_random_search_and_a_free_rule(found, most, is_worth_it, words):
    verdict = judge(rows(found, most, *DRAWN), trainings=3.2)
    assert verdict["is_worth_it"] is is_worth_it and words in verdict["sentence"]
    assert verdict["error_nats"] == pytest.approx(math.sqrt(0.0002))
    assert len(verdict["rivals"]) == 2


def test_the_best_of_the_free_rules_is_the_rival():
    trained = rows([0.49], [0.9], *[[0.8]] * 4)
    trained += [{"kind": "most-flops", "losses_nats": [0.3], "loss_nats": 0.3}]
    rivals = judge(trained, trainings=1)["rivals"]
    said = "the arch with the most FLOPs, the best of 2 free rules, which costs no search"
    assert rivals[said] == pytest.approx(0.3) and len(rivals) == 2


def test_one_training_each_is_judged_by_the_spread_of_the_random_archs():
    drawn = [[0.3], [0.5], [0.7]]
    near = judge(rows([0.25], [0.6], *drawn), trainings=1, share=0.25)
    assert near["is_worth_it"] is None and "each trained for 25% of the recipe" in near["sentence"]
    assert judge(rows([-0.5], [0.6], *drawn), trainings=1)["is_worth_it"] is True


def test_one_arch_alone_is_nothing_to_choose():
    same = judge(rows([0.3, 0.4], [0.3, 0.4], [0.3, 0.4], [0.3, 0.4]), trainings=2)
    assert same["is_worth_it"] is False and "4 networks compared are all the" in same["sentence"]
    other = judge(rows([0.3, 0.4], [0.3, 0.4], [0.3, 0.4], [0.3, 0.41]), trainings=2)
    assert other["is_worth_it"] is None and "cannot be told" in other["sentence"]


def test_without_rivals_or_with_a_diverged_one_there_is_no_verdict():
    assert judge(rows([0.3], [0.4])[:1], trainings=2) is None
    assert judge(rows([math.nan], [0.4], [0.5], [0.6]), trainings=2) is None
    assert judge([], trainings=None) is None


@pytest.mark.parametrize("diverged", [math.nan, math.inf, -math.inf, None])
def test_a_diverged_training_ranks_last(diverged):
    """As one of a huge loss does, whether its loss comes from memory or from a file."""
    drawn = [[0.5], [0.4], [0.3], [0.2], [1e9]]
    expected = rank_scores(rows([0.25], [0.1], *drawn))
    rows_read = rows([0.25], [0.1], *drawn)
    rows_read[-1] |= {"losses_nats": [diverged], "loss_nats": diverged}
    assert rank_scores(rows_read) == expected
    assert expected["taus"]["params"]["all"] == pytest.approx((6 - 4) / 10)
    verdict = judge(rows_read, trainings=2)
    assert "best of 2 random archs" in verdict["sentence"]
    # The last of five is never the best of two; the others are with shares 4, 3, 2 and 1 of 10.
    best = verdict["rivals"]["the best of 2 random archs, which the same cost would have trained"]
    assert best == pytest.approx((4 * 0.2 + 3 * 0.3 + 2 * 0.4 + 0.5) / 10)
    assert verdict["error_nats"] == pytest.approx(math.sqrt(2 * 0.05 / 3))


def test_a_score_that_is_not_finite_ranks_last():
    drawn = [row | {"scores": {"s": -row["loss_nats"]}} for row in rows([1], [1], *DRAWN)]
    expected = rank_scores(drawn)["taus"]["s"]
    worst = max(drawn[2:], key=lambda row: row["loss_nats"])
    worst["scores"] = {"s": None}
    assert rank_scores(drawn)["taus"]["s"] == expected
    assert expected["all"] == pytest.approx(1)


def test_seeds_that_diverged_leave_the_error_to_the_others():
    drawn = [*DRAWN, [0.4, math.nan]]
    verdict = judge(rows([0.30, 0.32], [0.50, 0.52], *drawn), trainings=2)
    assert verdict is None or math.isfinite(verdict["error_nats"])
    assert rank_scores(rows([0.3, 0.3], [0.5, 0.5], *drawn))["ceiling"] is not None
