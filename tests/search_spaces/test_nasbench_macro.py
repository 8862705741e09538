"""NAS-Bench-Macro: keys, and params and FLOPs as its table has them."""

import pytest
import torch
from nastk.search_spaces import NasBenchMacro
from torch import nn

# Key, and what the published table says in FLOPs and params.
PUBLISHED = [
    ("00000000", 7_713_280, 387_882),
    ("11111111", 53_246_464, 1_588_874),
    ("22222222", 105_660_928, 2_932_586),
]


@pytest.mark.parametrize("key, flops, params", PUBLISHED)
def test_counts_are_those_of_the_table(key, flops, params):
    space = NasBenchMacro()
    arch = space.parse(key)
    counted = space.cost.count(space.indices(arch))
    assert (counted["flops"], counted["params"]) == (flops, params)
    assert sum(weight.numel() for weight in space.build(arch).parameters()) == params


def test_the_space_holds_every_key_once():
    assert round(10 ** NasBenchMacro().cost.log10_size) == 3**8


@pytest.mark.parametrize("key", ["", "0120000", "012000000", "01200003", "0120000x"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="expected 8 digits"):
        NasBenchMacro().parse(key)


def test_a_layer_without_operation_passes_its_feature_or_halves_it():
    network = NasBenchMacro(resolution=8).build(NasBenchMacro().parse("00000000"))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    # The stem, one 1x1 convolution where each stage begins, and the last one.
    assert [m.stride for m in convolutions] == [(1, 1), (2, 2), (2, 2), (2, 2), (1, 1)]
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
