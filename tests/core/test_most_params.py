"""The arch with the most params within a budget, against all archs of a small space."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from nastk.core.band import band_of
from nastk.core.best import most_params
from nastk.core.budget import Budget
from nastk.core.space import Space
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear, residual
from nastk.search_spaces.blocks import Head
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Bottlenecks(Space):
    """Three skippable bottlenecks with a width and a kernel each."""

    resolution: int = 32
    num_classes: int = 10

    def network(self, choose):
        layers = [ConvNormAct(conv2d(3, 24, 3, stride=2), batch_norm(24), nn.ReLU())]
        for index in (1, 2, 3):
            width = choose(f"block{index}.width", (8, 13, 22, 30))
            chain = Chain(
                [
                    ConvNormAct(conv2d(24, width, 1), batch_norm(width), nn.ReLU()),
                    ConvNormAct(conv2d(width, 24, 1), batch_norm(24)),
                    ConvNormAct(
                        depthwise_conv2d(24, choose(f"block{index}.kernel", (3, 5, 7))),
                        batch_norm(24),
                    ),
                ]
            )
            layers.append(residual(chain, 24, keep=choose(f"block{index}.keep", (1, 0))))
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers, Head(linear(24, self.num_classes)))


SPACE = Bottlenecks()


@pytest.fixture(scope="module")
def everything():
    """FLOPs and params of all archs; those that differ in idle choices only are equal."""
    sizes = SPACE.num_candidates
    table = np.array(list(itertools.product(*map(range, sizes.values()))))
    indices = {name: table[:, column] for column, name in enumerate(sizes)}
    flops, params = (p.evaluate(indices) for p in (SPACE.cost.flops, SPACE.cost.params))
    return flops, params


@pytest.mark.parametrize("share", np.linspace(0.05, 1, 14))
@pytest.mark.parametrize("width", [None, 0.03])
def test_most_params_is_within_a_thousandth_of_the_most(everything, share, width):
    flops, params = everything
    high = int(np.quantile(flops, share))
    budget = Budget(None if width is None else int((1 - width) * high), high)
    band = band_of(SPACE, budget)
    low, high = band.low, band.high
    allowed = (flops >= low) & (flops <= high)
    assert allowed.any()
    arch = most_params(SPACE, budget)
    counted = SPACE.cost.count(SPACE.indices(arch))
    assert low <= counted["flops"] <= high
    most = params[allowed].max()
    assert 0.999 * most <= counted["params"] <= most
