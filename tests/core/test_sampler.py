"""Archs of bands that few random draws meet, on a space whose archs can all be listed."""

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from nastk.core.band import band_of
from nastk.core.bounds import Bounds
from nastk.core.budget import parse_budget
from nastk.core.sampler import sample
from nastk.core.space import Space
from nastk.core.walk import walk
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear, residual
from nastk.search_spaces import SPACES
from nastk.search_spaces.blocks import Head
from scipy.stats import chisquare
from torch import nn

NUM_BLOCKS = 8


@dataclass(frozen=True, kw_only=True)
class Listed(Space):
    """Eight skippable blocks with a kernel each: 4^8 different archs."""

    resolution: int = 28
    num_classes: int = 10

    def network(self, choose):
        blocks = []
        for index in range(NUM_BLOCKS):
            step = ConvNormAct(
                depthwise_conv2d(8, choose(f"block{index}.kernel", (3, 5, 7))), batch_norm(8)
            )
            keep = choose(f"block{index}.keep", (1, 0))
            blocks.append(residual(Chain([step]), 8, keep=keep))
            if index % 3 == 2:
                blocks.append(conv2d(8, 8, 3, stride=2))
        return nn.Sequential(conv2d(3, 8, 3, stride=2), *blocks, Head(linear(8, 10)))


@lru_cache(maxsize=1)
def everything():
    """All different archs, [D, A] candidate indices, and their FLOPs, rising."""
    blocks = [(kernel, 0) for kernel in range(3)] + [(0, 1)]
    rows = [list(itertools.chain(*arch)) for arch in itertools.product(blocks, repeat=NUM_BLOCKS)]
    columns = np.array(rows).T
    flops = Listed().cost.flops.evaluate(dict(zip(Listed().choices(), columns, strict=True)))
    order = np.argsort(flops, kind="stable")
    return columns[:, order], flops[order]


def end_band(end, num_archs):
    """The band of about so many of the smallest or of the largest archs."""
    flops = everything()[1]
    smallest, largest = (flops[0], flops[num_archs - 1]), (flops[-num_archs], flops[-1])
    return tuple(map(float, smallest if end == "smallest" else largest))


def frequencies(drawn, band):
    """How often each arch of the band was drawn, which must be all that was."""
    columns, flops = everything()
    inside = columns[:, (flops >= band[0]) & (flops <= band[1])]
    counts = Counter(zip(*drawn.values(), strict=True))
    found = np.array([counts.pop(tuple(arch), 0) for arch in inside.T])
    assert not counts
    return found


@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_rejection_under_a_tilt_is_uniform(end, caplog):
    band = end_band(end, 60)  # less than a thousandth of the space, which random draws all but miss
    found = frequencies(sample(Listed(), 6000, 0, band), band)
    assert 60 <= len(found) < 80
    assert chisquare(found).pvalue > 0.01
    assert not caplog.records  # nothing was walked


@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_walks_through_a_band_are_uniform_and_say_that_they_are_walks(end, caplog):
    band = end_band(end, 60)
    drawn = walk(Listed(), 1000, np.random.default_rng(1), Bounds.of(band), sample)
    assert chisquare(frequencies(drawn, band)).pvalue > 0.01
    again = walk(Listed(), 1000, np.random.default_rng(1), Bounds.of(band), sample)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
    assert [record.message.count("nearly uniform") for record in caplog.records] == [1]


@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_few_archs_are_all_listed_and_drawn_uniformly(end, caplog):
    band = end_band(end, 12)
    found = frequencies(
        walk(Listed(), 2000, np.random.default_rng(0), Bounds.of(band), sample), band
    )
    assert 12 <= len(found) < 32
    assert chisquare(found).pvalue > 0.01
    assert not caplog.records


@pytest.mark.parametrize(
    "name, text",
    [("toy", "100%"), ("nasbench201", "100%"), ("t2t", "367M"), ("t2t", "363374208:363374208")],
)
def test_a_band_with_truly_few_archs_is_sampled(name, text):
    space = SPACES[name]()
    band = band_of(space, parse_budget(text, space))
    low, high = band.low, band.high
    flops = space.cost.flops.evaluate(sample(space, 500, 0, (low, high)))
    assert len(flops) == 500
    assert np.all((low <= flops) & (flops <= high))


@pytest.mark.parametrize(
    "name, text",
    [
        pytest.param("t2t", "363M:400M", marks=pytest.mark.slow),
        ("sandglass-micro", "100%"),
        ("t2t-micro", "100%"),
    ],
)
def test_budgets_at_the_ends_of_a_space_are_sampled(name, text):
    space = SPACES[name]()
    band = band_of(space, parse_budget(text, space))
    low, high = band.low, band.high
    flops = space.cost.flops.evaluate(sample(space, 100, 0, (low, high)))
    assert np.all((low <= flops) & (flops <= high))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mbconv", "sandglass", "t2t"])
def test_the_largest_archs_of_a_large_space_are_sampled_and_differ(name):
    space = SPACES[name]()
    band = band_of(space, parse_budget("100%", space))
    low, high = band.low, band.high
    drawn = sample(space, 500, 0, (low, high))
    flops = space.cost.flops.evaluate(drawn)
    assert np.all((low <= flops) & (flops <= high))
    assert len({arch for arch in zip(*drawn.values(), strict=True)}) > 400
