"""Multiply-adds of convolutions of every kind, against what one writes on paper."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nastk.core.cost import Cost
from nastk.core.spec import Spec, examples
from nastk.core.trace import trace
from nastk.evaluators.efficiency import torch_flops
from torch import nn


def counted(network, *specs):
    """Return flops, params and activations of a plain network."""
    with torch.device("meta"):
        network = network.to("meta").eval()
    layers = trace(network, *examples(specs, device="meta")).layers
    return Cost(choices={}, layers=tuple(layers)).count({})


@pytest.mark.parametrize(
    "module, shape, flops, params, activations",
    [
        # 6 positions x 6 outputs x 2 of 4 inputs x 3
        (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 11), 216, 42, 36),
        # 2 x 3 x 4 positions x 5 outputs x 3 inputs x 3 x 1 x 2
        (nn.Conv3d(3, 5, (3, 1, 2), bias=False), (3, 4, 3, 5), 2160, 90, 120),
        # At input positions: 5 x 7 x 4 x 6 x 9 / 2; outputs 6 x 10 x 14
        (
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            *((4, 5, 7), 3780, 114, 840),
        ),
        # 9 x 3 x 2 x 4; outputs 2 x (8 x 3 + 4)
        (nn.ConvTranspose1d(3, 2, 4, stride=3), (3, 9), 216, 26, 56),
        # 2 x 3 x 4 x 2 x 3 x 8
        (nn.ConvTranspose3d(2, 3, 2, stride=2, bias=False), (2, 2, 3, 4), 1152, 48, 576),
    ],
)
def test_a_convolution_costs_what_one_counts_on_paper(module, shape, flops, params, activations):
    found = counted(module, Spec(shape=shape))
    assert found == {"flops": flops, "params": params, "activations": activations}


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_an_embedding_is_free_but_for_its_params(kind):
    tokens = Spec(shape=(7,), dtype=torch.int64, high=50, name="tokens")
    found = counted(kind(50, 8), tokens)
    assert found == {"flops": 0, "params": 400, "activations": 0}


def test_a_tied_embedding_counts_its_params_once_and_its_product():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(50, 8)

        def forward(self, tokens):
            return self.embedding(tokens) @ self.embedding.weight.T

    tokens = Spec(shape=(7,), dtype=torch.int64, high=50, name="tokens")
    assert counted(Tied(), tokens) == {"flops": 7 * 8 * 50, "params": 400, "activations": 7 * 50}


CONVOLUTIONS = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_random_convolutions_count_to_the_last_digit(data):
    """Positions times channels times kernel over groups; transposed ones at those of the input."""
    dims, is_transposed = data.draw(st.sampled_from(sorted(CONVOLUTIONS)))

    def numbers(least, most):
        return tuple(data.draw(st.integers(least, most)) for _ in range(dims))

    groups = data.draw(st.sampled_from((1, 2, 3)))
    ins, outs = groups * data.draw(st.integers(1, 3)), groups * data.draw(st.integers(1, 3))
    kernel, stride, dilation, sides = numbers(1, 3), numbers(1, 2), numbers(1, 2), numbers(5, 9)
    has_bias = data.draw(st.booleans())
    module = CONVOLUTIONS[dims, is_transposed](
        ins, outs, kernel, stride, groups=groups, dilation=dilation, bias=has_bias
    )
    spec = Spec(shape=(ins, *sides))
    y = module(spec.example())
    positions = math.prod(sides if is_transposed else y.shape[2:])
    flops = positions * ins * outs * math.prod(kernel) // groups
    params = ins * outs * math.prod(kernel) // groups + outs * has_bias
    assert sum(torch_flops(module, [spec]).values()) == flops
    assert counted(module, spec) == {"flops": flops, "params": params, "activations": y.numel()}
