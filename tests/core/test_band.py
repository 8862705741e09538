"""One band of FLOPs for a budget, and the number of archs that it holds."""

import itertools

import numpy as np
import pytest
from nastk.core.band import Band, band_of
from nastk.core.bounds import Bounds
from nastk.core.budget import Budget, InfeasibleBudgetError, flops_range, parse_budget
from nastk.core.listing import all_archs, costs_of, holds
from nastk.core.sampler import estimate, sample
from nastk.search_spaces import SPACES, SandglassMicroTab, Toy

SPACE = SandglassMicroTab()


def every_arch(space):
    """All different archs [A, D] and their FLOPs, by visiting every combination."""
    rows = np.array(list(itertools.product(*map(range, space.num_candidates.values()))))
    indices = dict(zip(space.num_candidates, rows.T, strict=True))
    active = space.cost.active(indices)
    kept = np.all([active[name] | (indices[name] == 0) for name in indices], axis=0)
    return rows[kept], space.cost.flops.evaluate(indices)[kept]


@pytest.mark.parametrize("low, high", [(0, 10**9), (95_000, 106_000), (0, 40_000), (230_000, 1e6)])
def test_all_archs_of_a_band_are_listed(low, high):
    rows, flops = every_arch(SPACE)
    inside = rows[(flops >= low) & (flops <= high)]
    listed = all_archs(SPACE, Bounds.of((low, high)))
    assert sorted(map(tuple, listed)) == sorted(map(tuple, inside)) and len(listed)


@pytest.mark.parametrize("low, high", [(95_000, 106_000), (0, 60_000), (180_000, 10**6)])
def test_estimates_are_near_the_count(low, high):
    count = len(all_archs(SPACE, Bounds.of((low, high))))
    about, num_met = estimate(SPACE, Bounds.of((low, high)))
    assert 0.8 * count < about < 1.25 * count and num_met > 0.5 * min(count, 2000)


def test_a_plain_budget_is_looked_for_in_its_last_tenth():
    band = band_of(SPACE, Budget(None, 106_000))
    assert band.bounds == Bounds.of((95_400, 106_000)) and band.is_exact and not band.is_widened
    flops = every_arch(SPACE)[1]
    assert band.num_archs == np.sum((flops >= 95_400) & (flops <= 106_000)) >= 200
    large = band_of(SPACES["sandglass"](), Budget(None, 357_000_000))
    assert large.bounds == Bounds.of((321_300_000, 357_000_000)) and large.num_archs > 1e20


@pytest.mark.parametrize("text", ["100%", "60K"])
def test_a_band_is_widened_downward_until_it_holds_200_archs(text):
    budget = parse_budget(text, SPACE)
    band, flops = band_of(SPACE, budget), every_arch(SPACE)[1]
    below = np.sort(flops[flops <= budget.high])[::-1]
    assert band.is_widened and band.low == below[199] < 0.9 * budget.high
    assert band.num_archs == np.sum(below >= band.low) >= 200


def test_a_band_holds_all_archs_below_where_these_are_few():
    band = band_of(Toy(), parse_budget("100%", Toy()))
    assert band.bounds == Bounds.of(flops_range(Toy())) and band.num_archs == 4
    assert "4 archs, all that there are" in band.describe()


@pytest.mark.parametrize("low, high", [(95_000, 106_000), (0, 60_000), (180_000, 10**6)])
def test_a_band_holds_as_many_archs_as_are_listed_and_no_more(low, high):
    bounds = Bounds.of((low, high))
    count = len(all_archs(SPACE, bounds))
    assert holds(SPACE, bounds, count) is True
    assert holds(SPACE, bounds, count + 1) is False


def test_a_corner_that_draws_all_but_miss_is_not_widened():
    """Of t2t's archs below 1.15G random draws meet but a few in 200,000."""
    band = band_of(SPACES["t2t"](), Budget(None, 1_150_000_000))
    assert band.bounds == Bounds.of((1_035_000_000, 1_150_000_000)) and not band.is_widened
    assert 1e9 < band.num_archs < 1e11


@pytest.mark.parametrize("text, num_archs", [("0:200K", 4), ("0:1G", 4), ("0:49080", 1)])
def test_a_range_from_0_may_end_above_the_largest_arch(text, num_archs):
    band = band_of(Toy(), parse_budget(text, Toy()))
    assert band.low == 0 and band.num_archs == num_archs and not band.is_widened


def test_a_wider_band_is_not_estimated_to_hold_fewer_archs():
    """Most archs of a wide band are near the end where random ones lie."""
    space = SPACES["mbconv"]()
    narrow, _ = estimate(space, Bounds.of((315_000_000, 350_000_000)))
    wide, _ = estimate(space, Bounds.of((0, 350_000_000)))
    uniform = space.cost.flops.evaluate(sample(space, 200_000, 1))
    assert 1 / 3 < wide / (1.6e73 * np.mean(uniform <= 350_000_000)) < 3
    assert 0.9 * narrow < wide


@pytest.mark.parametrize("text, low", [("0:106K", 0), ("105K:106K", 105_000), ("0:100%", 0)])
def test_a_range_is_taken_as_it_is(text, low):
    budget = parse_budget(text, SPACE)
    assert band_of(SPACE, budget).bounds == Bounds.of((low, budget.high))


def test_a_budget_that_nothing_meets_has_no_band():
    with pytest.raises(InfeasibleBudgetError):
        band_of(SPACE, Budget(None, 10))


@pytest.mark.parametrize(
    "count, is_exact, words",
    [(1, True, "1 arch"), (4321, True, "4,321 archs"), (65_105, False, "about 70,000 archs")],
)
def test_numbers_of_archs_are_said_as_well_as_they_are_known(count, is_exact, words):
    band = Band(bounds=Bounds.of((1, 2)), num_archs=count, is_exact=is_exact)
    assert band.describe() == f"looking in 1 to 2 FLOPs: {words}"


def test_every_arch_of_a_band_costs_what_the_band_says():
    band = band_of(SPACE, Budget(None, 106_000))
    flops = costs_of(SPACE, all_archs(SPACE, band.bounds), "flops")
    assert band.low <= flops.min() and flops.max() <= band.high
