"""Attention operators against their definitions, in float64, with all gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from nastk.core.choice import Choice
from nastk.core.supernet import Supernet
from nastk.ops import channel_attention, paths, performer, self_attention, token_attention
from nastk.ops.performer import linear_attention, orthogonal_features
from torch import nn


def agree(found, expected, inputs, tolerance=1e-12):
    """Outputs and all gradients under a random upstream gradient."""
    upstream = torch.randn(expected.shape, dtype=expected.dtype)
    gradients = [torch.autograd.grad(y, inputs, upstream) for y in (found, expected)]
    pairs = [(found, expected), *zip(*gradients, strict=True)]
    for ours, theirs in pairs:
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max().clamp_min(1e-30)


def scores_softmax(q, k, v, scale):
    """softmax(q k^T scale) v, entry by entry."""
    rows = []
    for t in range(q.shape[0]):
        weights = torch.stack([(q[t] @ k[s] * scale).exp() for s in range(k.shape[0])])
        rows.append((weights[:, None] * v).sum(0) / weights.sum())
    return torch.stack(rows)


@pytest.mark.parametrize("heads, head_features", [(None, 4), (6, 64)], ids=["width", "count"])
@pytest.mark.parametrize("scale_by", ["head", "width"])
def test_self_attention_against_its_definition(heads, head_features, scale_by):
    torch.manual_seed(0)
    layer = self_attention(12, heads=heads, head_features=head_features, scale_by=scale_by).double()
    layer.qkv.weight.data *= 30
    x = torch.randn(1, 5, 12, dtype=torch.float64, requires_grad=True)
    features = 12 // heads if heads else head_features
    scale = (features if scale_by == "head" else 12) ** -0.5
    parts = (x[0] @ layer.qkv.weight.T).reshape(5, 3, 12 // features, features)
    outputs = [scores_softmax(*parts[:, :, h].unbind(1), scale) for h in range(12 // features)]
    expected = torch.cat(outputs, 1) @ layer.proj.weight.T + layer.proj.bias
    agree(layer(x)[0], expected, [x, layer.qkv.weight, layer.proj.weight])


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="96 features do not split into heads: 64"):
        self_attention(96)


def test_token_attention_divides_by_the_root_of_its_input_width():
    """Two tokens by hand: scores 0 and 2 / sqrt(4), so that sqrt(1) would give another output."""
    layer = token_attention(4, 1).double()
    with torch.no_grad():
        layer.qkv.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]))
        layer.proj.weight.fill_(1)
    x = torch.tensor([[[1.0, 0, 10, 0], [1, 2, 20, 0]]], dtype=torch.float64)  # q 1, k 0 2, v
    share = math.e / (1 + math.e)  # softmax(0, 1)
    expected = torch.tensor([10 + 10 * (1 + share), 20 + 10 * (1 + share)], dtype=torch.float64)
    assert torch.allclose(layer(x).flatten(), expected, rtol=1e-12)
    other = token_attention(4, 1, scale_by="out").double()
    other.load_state_dict(layer.state_dict())
    share = math.e**2 / (1 + math.e**2)
    assert torch.allclose(other(x).flatten()[0], torch.tensor(10 + 10 * (1 + share)).double())


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_linear_attention_against_its_definition(tokens):
    torch.manual_seed(tokens)
    k, q, v = (torch.randn(2, tokens, 6, dtype=torch.float64, requires_grad=True) for _ in "kqv")
    matrix = orthogonal_features(3, 6).double()

    def phi(u):
        return torch.stack([(u @ row - u.square().sum() / 2).exp() for row in matrix]) / 3**0.5

    rows = []
    for b in range(2):
        for t in range(tokens):
            weights = torch.stack([phi(q[b, t]) @ phi(k[b, s]) for s in range(tokens)])
            rows.append((weights[:, None] * v[b]).sum(0) / (weights.sum() + 1e-8))
    expected = torch.stack(rows).reshape(2, tokens, 6)
    agree(linear_attention(k, q, v, matrix), expected, [k, q, v])


def test_random_features_are_orthogonal_rows_of_equal_length():
    matrix = orthogonal_features(16, 32)
    assert torch.allclose(matrix @ matrix.T, 16 * torch.eye(16), atol=1e-4)


def test_performer_takes_keys_before_queries_and_adds_the_values():
    torch.manual_seed(0)
    layer = performer(10, 4, 2).double().eval()
    layer.kqv.weight.data *= 20
    x = torch.randn(2, 5, 10, dtype=torch.float64, requires_grad=True)
    k, q, v = (x @ layer.kqv.weight.T + layer.kqv.bias).split(4, -1)
    attended = linear_attention(k, q, v, layer.random_features)
    expected = v + attended @ layer.proj.weight.T + layer.proj.bias
    agree(layer(x), expected, [x, layer.kqv.weight, layer.kqv.bias, layer.proj.weight])
    assert "random_features" in layer.state_dict()
    assert all(p.requires_grad for p in layer.parameters())


def test_the_feature_map_keeps_float32_under_autocast():
    """Squared norms of 180 underflow in half precision, and round badly in bfloat16."""
    torch.manual_seed(0)
    k, q, v = (3 * torch.randn(2, 9, 20).bfloat16() for _ in "kqv")
    matrix = orthogonal_features(8, 20)
    expected = linear_attention(k.float(), q.float(), v.float(), matrix)
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_attention(k, q, v, matrix)
        assert performer(32, 16, 8)(torch.randn(2, 9, 32)).dtype == torch.bfloat16
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_channel_attention_mixes_gate_and_identity_in_one_feature():
    torch.manual_seed(0)
    keep = Choice("keep", (0, 1))
    layer = channel_attention(8, 2, keep=keep).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    probs = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    keep.slot.set_probs(probs)
    assert torch.allclose(layer(x), 0.3 * x + 0.7 * layer.attention(x), rtol=1e-12)
    keep.slot.set_index(0)
    assert layer(x) is x


class Line(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope), dtype=torch.float64))

    def forward(self, x):
        return self.slope * x


def test_a_sampled_path_learns_from_the_path_that_runs():
    choice = Choice("path", ("a", "b"))
    layer = paths(choice, {"a": lambda: Line(2), "b": lambda: Line(5)})
    supernet = Supernet(layer, {"path": choice})
    assert supernet.sampled == [True]
    logits = torch.tensor([[0.1, 0.4]], dtype=torch.float64, requires_grad=True)
    supernet.mix(torch.softmax(logits, 1))
    x = torch.tensor([1.0, -3.0], dtype=torch.float64)
    y = supernet(x)
    assert torch.equal(y, 5 * x)
    (y * torch.tensor([2.0, 1.0])).sum().backward()
    # dL/dp_b = <upstream, y>, and nothing of the path that did not run.
    probs = torch.softmax(logits.detach(), 1)[0]
    pull = float((2 * 5 * x[0] + 5 * x[1]).item())
    expected = pull * probs[1] * (torch.tensor([0.0, 1.0]) - probs)
    assert torch.allclose(logits.grad[0], expected.double())
    assert layer.operators[0].slope.grad is None


def test_a_path_without_an_operator_is_refused():
    with pytest.raises(ValueError, match="no path 'c'; there are 'a', 'b'"):
        paths("c", {"a": nn.Identity, "b": nn.Identity})


def test_products_run_through_scaled_dot_product_attention(monkeypatch):
    called = []
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: called.append(1) or original(*a, **k)
    )
    self_attention(64)(torch.randn(1, 3, 64))
    token_attention(8, 4)(torch.randn(1, 3, 8))
    assert len(called) == 2
