"""torch.compile over regrouped networks: nastk's operators in the graph, or torch's modules."""

import pytest
import torch
from functorch.compile import make_boxed_compiler
from nastk.core.choice import Choice
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d, residual
from nastk.ops.chain import set_memory
from torch import nn
from torch._dynamo.backends.common import aot_autograd


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def network():
    """Return a network and its choices."""
    torch.manual_seed(0)
    kernel, keep = choices = Choice("kernel", (1, 3)), Choice("keep", (1, 0))
    branch = Chain(
        [
            ConvNormAct(depthwise_conv2d(4, kernel), batch_norm(4), nn.ReLU6()),
            ConvNormAct(conv2d(4, 3, 1), batch_norm(3)),
            ConvNormAct(conv2d(3, 4, 1, bias=True), batch_norm(4), nn.SiLU()),
            ConvNormAct(depthwise_conv2d(4, kernel), batch_norm(4)),
        ]
    )
    stem = ConvNormAct(conv2d(3, 4, 3, stride=2), batch_norm(4), nn.ReLU())
    built = nn.Sequential(stem, residual(branch, 4, keep=keep)).double()
    return built, choices


def outcome(built, choices, run, is_training):
    """Output, gradients of input, logits and parameters, and buffers."""
    built.train(is_training)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, 6, generator=generator, dtype=torch.float64).requires_grad_()
    logits = torch.randn(2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    for choice, row in zip(choices, torch.softmax(logits, 1), strict=True):
        choice.slot.set_probs(row)
    y = run(x)
    grads = torch.autograd.grad(y.square().sum(), [x, logits, *built.parameters()])
    return [y, *grads, *built.buffers()]


def compiled_code(memory, is_training, monkeypatch, kernels):
    """Check a compiled copy against torch's modules and return the code of its graphs."""
    monkeypatch.delenv("NASTK_KERNELS", raising=False)
    (plain, choices), (other, its_choices), codes = network(), network(), []
    wanted = outcome(plain, choices, plain, is_training)
    set_memory(other, memory)
    monkeypatch.setenv("NASTK_KERNELS", kernels)

    def note(graph, inputs):
        codes.append(graph.code)
        return graph

    boxed = make_boxed_compiler(note)
    backend = aot_autograd(fw_compiler=boxed, bw_compiler=boxed)
    got = outcome(
        other, its_choices, torch.compile(other, fullgraph=True, backend=backend), is_training
    )
    for a, b in zip(got, wanted, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max().clamp_min(1)
    return codes


@pytest.mark.parametrize(("memory", "is_training"), [("low", True), ("lowest", True), ("low", 0)])
def test_a_compiled_network_takes_the_operators_whole(memory, is_training, monkeypatch):
    forward, backward = compiled_code(memory, bool(is_training), monkeypatch, "definition")
    assert forward.count("nastk.depthwise.default") == 2
    assert forward.count("nastk.norm_act.default") == 4
    assert backward.count("nastk.depthwise_bwd_weight.default") == 2
    assert "nastk.norm_act_bwd_reduce.default" in backward


def test_where_no_operator_runs_torchs_modules_are_compiled(monkeypatch):
    forward, backward = compiled_code("low", True, monkeypatch, "compiled")
    assert "nastk" not in forward + backward and "batch_norm" in forward
