"""Tokens against their definitions: splits, positions, widths that choices decide together."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nastk.core.choice import Choice
from nastk.core.polynomial import Polynomial
from nastk.ops import joint_width, layer_norm, linear, patches, residual, soft_split
from nastk.ops.residual import Residual, drop_path, set_drop_path
from nastk.ops.tokens import sinusoid_positions, token_embedding
from nastk.ops.width import repeated, width_of
from torch import nn


@pytest.mark.parametrize("kernel, stride", [(7, 4), (5, 4), (9, 4), (3, 2), (5, 2)])
@pytest.mark.parametrize("side", [16, 19])
def test_soft_split_against_its_definition(kernel, stride, side):
    """Channel, then row, then column inside a token; tokens in row-major order."""
    x = torch.randn(2, 3, side, side)
    margin = (kernel - stride + 1) // 2
    padded = F.pad(x, [margin] * 4)
    grid = (side - stride + 1) // stride + 1
    tokens = [
        padded[:, :, r * stride : r * stride + kernel, c * stride : c * stride + kernel].reshape(
            2, -1
        )
        for r in range(grid)
        for c in range(grid)
    ]
    assert torch.equal(soft_split(kernel, stride, side)(x), torch.stack(tokens, 1))


def test_kernels_without_a_common_centre_are_refused():
    with pytest.raises(ValueError, match="stride 4 cannot be centred with kernel 4"):
        soft_split(Choice("k", (3, 4)), 4, 16)


@pytest.mark.parametrize("channels", [2, Choice("c", (1, 2))], ids=["plain", "choice"])
def test_the_tokens_of_a_small_kernel_are_cut_out_of_those_of_a_large_one(channels):
    kernel = Choice("k", (3, 5))
    split, width = soft_split(kernel, 2, 8), patches(channels, kernel)
    x = torch.randn(1, 2, 8, 8)
    kernel.slot.set_probs(torch.tensor([0.5, 0.5]))
    largest = split(x)
    for k in (0, 1):
        kernel.slot.set_index(k)
        for c in (0, 1) if isinstance(channels, Choice) else (1,):
            if isinstance(channels, Choice):
                channels.slot.set_index(c)
            count = c + 1
            assert torch.equal(largest[..., width.kept()], split(x[:, :count]))
            assert (
                width.expression().evaluate({"k": np.array([k]), "c": np.array([c])})[0]
                == count * (3, 5)[k] ** 2
            )


def test_positions_follow_the_formula():
    table = sinusoid_positions(7, 5)
    for t in range(7):
        for j in range(5):
            angle = t / 10000 ** (2 * (j // 2) / 5)
            expected = math.sin(angle) if j % 2 == 0 else math.cos(angle)
            assert float(table[t, j]) == pytest.approx(expected, abs=1e-6)


def test_embedding_puts_the_class_token_first_and_keeps_positions_out_of_training():
    embedding = token_embedding(nn.Conv2d(3, 6, 1), 4, 6)
    x = torch.randn(2, 3, 2, 2)
    y = embedding(x)
    expected = embedding.project(x)[:, :, 1, 0] + sinusoid_positions(5, 6)[3]
    assert torch.allclose(y[:, 3], expected)
    assert torch.allclose(y[:, 0], embedding.class_token[:, 0] + sinusoid_positions(5, 6)[0])
    assert list(embedding.state_dict()) == ["class_token", "project.weight", "project.bias"]


def test_layer_norm_takes_the_statistics_of_present_features_only():
    width = Choice("d", (4, 6))
    norm = layer_norm(width)
    width.slot.set_probs(torch.tensor([0.9, 0.1]))
    assert width.slot.sampled == "slice" and width.slot.index == 0
    x = torch.randn(3, 4)
    assert torch.allclose(norm(x), F.layer_norm(x, (4,)))


def test_a_joint_width_masks_what_is_mixed_and_cuts_what_is_decided():
    d, r = Choice("d", (4, 6)), Choice("r", (1, 1.5))
    hidden = joint_width(lambda a, b: int(a * b), d, r)  # 4 6 / 6 9
    layer = linear(hidden, 2, bias=False).double()
    d.slot.set_index(0)
    r.slot.set_probs(torch.tensor([0.25, 0.75], dtype=torch.float64))
    x = torch.randn(5, 6, dtype=torch.float64)
    mask = torch.tensor([1.0] * 4 + [0.75] * 2, dtype=torch.float64)
    assert torch.allclose(layer(x), (x * mask) @ layer.weight[:, :6].T, rtol=1e-12)
    d.slot.set_index(1)
    r.slot.set_index(1)
    assert len(hidden.possible()) == 9 and hidden.mask() is None
    counts = width_of(hidden).expression()
    both = {"d": np.array([0, 0, 1, 1]), "r": np.array([0, 1, 0, 1])}
    assert counts.evaluate(both).tolist() == [4, 6, 6, 9]
    assert repeated(hidden, 3).expression().evaluate(both).tolist() == [12, 18, 18, 27]


def test_a_product_of_widths_of_the_same_choices_is_one_joint_factor():
    d, r = Choice("d", (4, 6)), Choice("r", (1, 1.5))
    hidden = width_of(joint_width(lambda a, b: int(a * b), d, r)).expression()
    product = hidden * Polynomial.of("d", (4, 6))
    assert list(product.tables) == [("d", "r")]
    assert product.tables["d", "r"].tolist() == [[16, 24], [36, 54]]


def test_drop_path_zeroes_whole_items_and_keeps_the_mean():
    torch.manual_seed(0)
    y = drop_path(torch.ones(20000, 2, 3), 0.25)
    items = y.flatten(1)
    assert torch.equal(items.amin(1), items.amax(1))
    assert set(items[:, 0].unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert float(y.mean()) == pytest.approx(1, abs=0.02)


def test_drop_rates_rise_linearly_with_the_position():
    blocks = [residual(nn.Linear(2, 2), 2, position=i) for i in (1, 1, 2, 2, 3, 3)]
    network = set_drop_path(nn.Sequential(*blocks), 0.1)
    rates = [m.drop_rate for m in network.modules() if isinstance(m, Residual)]
    assert rates == [0, 0, 0.05, 0.05, 0.1, 0.1]
    x = torch.randn(4, 2)
    expected = x
    for block in blocks:
        expected = expected + block.branch(expected)
    assert torch.equal(network.eval()(x), expected)
    assert not torch.equal(set_drop_path(network, 0.9).train()(x), expected)
    set_drop_path(network, 0)
    assert torch.equal(network(x), expected)
