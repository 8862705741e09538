"""Mixtures that leave candidates out: how many, how often, and whom their gradient reaches."""

import pytest
import torch
from nastk.ops.mixture import SAMPLED_MIXTURES, Logits

COUNTS = [2, 3, 4]


def logits():
    rows = Logits(COUNTS)
    with torch.no_grad():
        rows.values.copy_(torch.tensor([[0.0, 1.0, 9, 9], [1.0, -1.0, 0.5, 9], [0, 0.2, 0.4, -1]]))
    return rows


def draw(kind, seed, temperature=0.7):
    rows = logits()
    mixture = rows.mixture(kind, temperature, torch.Generator().manual_seed(seed))
    upstream = torch.arange(12.0).reshape(3, 4) + 1
    (grad,) = torch.autograd.grad((mixture * upstream).sum(), rows.values)
    return mixture.detach(), grad


@pytest.mark.parametrize("kind", SAMPLED_MIXTURES)
def test_a_mixture_holds_as_many_candidates_as_it_says(kind):
    for seed in range(20):
        mixture, grad = draw(kind, seed)
        ran = (mixture != 0).sum(1).tolist()
        assert ran == ([2, 2, 2] if kind == "two_path" else [1, 1, 1])
        assert torch.allclose(mixture.sum(1), torch.ones(3))
        assert (grad != 0).sum(1).tolist() == (COUNTS if kind == "straight_through" else [2, 2, 2])


@pytest.mark.parametrize("kind", SAMPLED_MIXTURES)
def test_the_likeliest_of_a_draw_is_distributed_as_the_softmax(kind):
    count, rows = 4000, Logits([4] * 4000)
    values = torch.tensor([1.0, -1.0, 0.5, 0.0])
    with torch.no_grad():
        rows.values.copy_(values)
    first = rows.mixture(kind, 0.7, torch.Generator().manual_seed(0)).argmax(1)
    probs = torch.softmax(values, 0)
    deviation = (probs * (1 - probs) / count).sqrt()
    assert ((torch.bincount(first, minlength=4) / count - probs).abs() <= 4 * deviation).all()


def test_a_binary_gate_has_the_gradient_of_the_softmax_over_its_two():
    """By hand, as in arXiv:1812.00332, section 3.2: sum_j dL/dg_j p_j (delta_ij - p_i)."""
    for seed in range(5):
        _, grad = draw("binary", seed)
        values, upstream = logits().values.detach(), torch.arange(12.0).reshape(3, 4) + 1
        for row in range(3):
            pair = grad[row].nonzero().flatten()
            p = torch.softmax(values[row, pair], 0)
            inner = (upstream[row, pair] * p).sum()
            assert torch.allclose(grad[row, pair], p * (upstream[row, pair] - inner))


def test_two_paths_near_temperature_zero_are_one():
    mixture, _ = draw("two_path", 3, temperature=1e-3)
    assert torch.allclose(mixture.max(1).values, torch.ones(3))
