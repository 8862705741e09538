"""What may happen around a regrouped chain: other modes, other passes, other modules."""

import copy
import json
import pickle

import asking
import pytest
import torch
from nastk.core.choice import Choice
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, depthwise_conv2d
from nastk.ops.chain import set_memory
from nastk.ops.fold import fold_kernels
from nastk.search_spaces import SPACES
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

WAYS = ["low", "lowest"]


def chain(kernel=3, channels=6):
    torch.manual_seed(0)
    return Chain(
        [
            ConvNormAct(depthwise_conv2d(channels, kernel), batch_norm(channels), nn.ReLU6()),
            ConvNormAct(conv2d(channels, channels, 1), batch_norm(channels), nn.ReLU()),
            ConvNormAct(depthwise_conv2d(channels, 3), batch_norm(channels)),
        ]
    )


def feature(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 7, 5, generator=generator, dtype=dtype).requires_grad_()


def gradients(network, x, passes=1):
    network.zero_grad()
    y = network(x)
    for _ in range(passes):
        grads = torch.autograd.grad(y.square().sum(), [x, *network.parameters()], retain_graph=True)
    return grads


def assert_equal(ours, theirs, tolerance=1e-5):
    largest = max(float(g.abs().max()) for g in theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() <= tolerance * max(float(b.abs().max()), 0.1 * largest)


def test_fake_tensors_never_reach_the_compiled_kernels():
    with FakeTensorMode():
        folded = fold_kernels([torch.ones(8, 1, 3, 3), torch.ones(8, 1, 5, 5)], torch.rand(2))
        assert folded.shape == (8, 1, 5, 5)
        network = set_memory(chain(), "low")
        assert network(torch.ones(2, 6, 5, 5, requires_grad=True)).shape == (2, 6, 5, 5)


@pytest.mark.parametrize("way", WAYS)
def test_inference_first_and_training_afterwards(way):
    space = SPACES["sandglass-micro"]()
    supernet = set_memory(space.supernet(), way)
    x = torch.randn(4, *space.input_shape)
    supernet.mix(supernet.uniform_probs())
    with torch.inference_mode():
        supernet(x)
    probs = supernet.uniform_probs().requires_grad_()
    supernet.mix(probs)
    supernet(x).sum().backward()
    assert probs.grad is not None


@pytest.mark.parametrize("way", WAYS)
def test_two_mixtures_before_one_backward_pass(way):
    choice = Choice("kernel", (3, 5))
    network, x = chain(choice).double(), feature(dtype=torch.float64)
    results = []
    for memory in ("high", way):
        set_memory(network, memory)
        total = 0
        for weights in ((0.9, 0.1), (0.2, 0.8)):
            choice.slot.set_probs(torch.tensor(weights, dtype=torch.float64))
            total = total + network(x).square().sum()
        results.append(torch.autograd.grad(total, [x, *network.parameters()]))
    assert_equal(results[1], results[0], 1e-10)


@pytest.mark.parametrize("way", WAYS)
def test_evaluation_mode_between_forward_and_backward(way):
    network, x = chain().double(), feature(dtype=torch.float64)
    results = []
    for memory in ("high", way):
        other = set_memory(copy.deepcopy(network), memory)
        y = other(x)
        other.eval()
        results.append(torch.autograd.grad(y.square().sum(), [x, *other.parameters()]))
    assert_equal(results[1], results[0], 1e-10)


def test_a_weight_changed_in_place_is_refused_by_the_second_pass():
    network = set_memory(chain(), "lowest")
    y = network(feature())
    with torch.no_grad():
        network.steps[0].conv.weight.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@pytest.mark.parametrize("way", WAYS)
def test_two_backward_passes(way):
    network, x = chain(), feature()
    wanted = gradients(set_memory(network, "high"), x)
    assert_equal(gradients(set_memory(copy.deepcopy(network), way), x, passes=2), wanted)


@pytest.mark.parametrize("way", WAYS)
def test_norms_of_other_modules_see_each_batch_once(way):
    plain = chain()
    inner = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
    network = Chain([plain.steps[0], inner, plain.steps[2]])
    buffers = []
    for memory in ("high", way):
        other = set_memory(copy.deepcopy(network), memory)
        gradients(other, feature())
        buffers.append(list(other.buffers()))
    for a, b in zip(*buffers, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_kernel_that_is_not_square_runs_by_itself():
    network = chain()
    network.steps[2].conv = nn.Conv2d(6, 6, (1, 3), padding=(0, 1), groups=6, bias=False)
    x = feature()
    wanted = gradients(set_memory(network, "high"), x)
    assert_equal(gradients(set_memory(network, "low"), x), wanted)


def test_a_norm_of_another_class_runs_by_itself():
    class Halved(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x) / 2

    network = chain()
    network.steps[1].norm = Halved(6)
    x = feature()
    wanted = gradients(set_memory(network, "high"), x)
    for way in WAYS:
        assert_equal(gradients(set_memory(network, way), x), wanted)


def test_hooks_of_inner_modules_are_called():
    network, calls = set_memory(chain(), "low"), []
    network.steps[1].conv.register_forward_hook(lambda *_: calls.append(1))
    network(feature())
    assert calls == [1]


def test_a_pruned_weight_is_used_as_it_is():
    from torch.nn.utils import prune

    network, x = chain(), feature()
    prune.l1_unstructured(network.steps[1].conv, "weight", amount=0.5)
    wanted = gradients(set_memory(network, "high"), x)
    assert_equal(gradients(set_memory(network, "low"), x), wanted)


def test_an_extracted_network_keeps_memory_as_torch_does():
    space = SPACES["sandglass-micro"]()
    supernet = set_memory(space.supernet(), "low")
    plain = supernet.extract({name: c.candidates[0] for name, c in space.choices().items()})
    assert not any("memory" in vars(module) for module in plain.modules())


def test_a_regrouped_network_can_be_pickled():
    network = set_memory(chain(), "lowest")
    again = pickle.loads(pickle.dumps(network))
    assert_equal(gradients(again, feature()), gradients(network, feature()))


def test_a_compiled_supernet_traces_as_one_graph():
    space = SPACES["toy"]()
    supernet = set_memory(space.supernet(), "low")
    supernet.mix(supernet.uniform_probs())
    compiled = torch.compile(supernet, fullgraph=True, backend="eager")
    x = torch.randn(2, *space.input_shape)
    assert torch.allclose(compiled(x), supernet(x), atol=1e-5)


@pytest.mark.parametrize("memory", ["high", "low", "lowest"])
def test_memory_is_recorded_and_obeyed_by_a_search(memory, tmp_path, monkeypatch):
    from nastk.core.run import Run
    from nastk.ops import chain as module

    seen, original = [], module.convolve
    monkeypatch.setattr(module, "convolve", lambda x, conv: seen.append(1) or original(x, conv))
    asking.search("toy", "55K", steps=2, memory=memory, out=tmp_path / "run")
    assert Run.open(tmp_path / "run").manifest["memory"] == memory
    assert bool(seen) == (memory != "high")


def test_a_run_of_before_goes_on_without_the_setting(tmp_path):
    from nastk.core.run import Run

    asking.search("toy", "55K", steps=2, memory="high", out=tmp_path / "run")
    run = Run.open(tmp_path / "run")
    manifest = json.loads(run.manifest_path.read_text())
    del manifest["memory"]
    run.manifest_path.write_text(json.dumps(manifest))
    (run.path / "result.json").unlink()
    assert asking.resume(run.path)["flops"] > 0
