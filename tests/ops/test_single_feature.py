"""The regrouped operators against torch's own modules: outputs, every gradient, what is kept."""

import copy
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from nastk.benchmarks.step import saved_features_per_block
from nastk.core.choice import Choice
from nastk.ops import (
    Chain,
    ConvNormAct,
    batch_norm,
    conv2d,
    depthwise_conv2d,
    meta_convolution,
    residual,
)
from nastk.ops.chain import set_memory
from nastk.ops.definition import fold_kernels_definition
from nastk.ops.kernels import route
from nastk.ops.kernels.route import Geometry
from nastk.ops.parts import Conv, Norm
from nastk.ops.single_feature import norm_act_conv
from nastk.search_spaces import SPACES
from nastk.tasks.named import make_task
from torch import nn

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
ACTS = {"identity": None, "relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU}


def chain(act, *, stride=1, kernel=5, channels=7, hidden=5, last_act=None):
    make = (lambda: None) if ACTS[act] is None else ACTS[act]
    return Chain(
        [
            ConvNormAct(depthwise_conv2d(channels, kernel), batch_norm(channels), make()),
            ConvNormAct(conv2d(channels, hidden, 1), batch_norm(hidden)),
            ConvNormAct(conv2d(hidden, channels, 3, bias=True), batch_norm(channels), make()),
            ConvNormAct(
                depthwise_conv2d(channels, kernel, stride=stride), batch_norm(channels), last_act
            ),
        ]
    )


def settle(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var") or name.endswith("norm.weight"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
    return network


def run(network, x, memory, upstream_seed=1):
    """Return output, gradients (input first) and buffers of a copy under a way to keep memory."""
    network = set_memory(copy.deepcopy(network), memory)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = network(x)
    generator = torch.Generator().manual_seed(upstream_seed)
    upstream = torch.randn(y.shape, generator=generator).to(y)
    grads = torch.autograd.grad(y, [x, *network.parameters()], upstream)
    return y, grads, list(network.buffers())


def assert_close(network, x, memory="low"):
    (y, grads, buffers), (y2, grads2, buffers2) = (run(network, x, m) for m in ("high", memory))
    tolerance = TOLERANCE[x.dtype]
    assert (y - y2).abs().max() <= tolerance * y.abs().max()
    names = ["input", *(name for name, _ in network.named_parameters())]
    # A gradient that is zero by symmetry (a bias in front of a norm) is measured by the others.
    largest = max(float(g.abs().max()) for g in grads[1:])
    for name, a, b in zip(names, grads, grads2, strict=True):
        scale = max(float(a.abs().max()), 0.1 * largest)
        assert (a - b).abs().max() <= tolerance * scale, name
    for a, b in zip(buffers, buffers2, strict=True):
        assert (a - b).abs().max() <= tolerance * a.abs().max().clamp_min(1)


@pytest.mark.parametrize("memory", ["low", "lowest"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("act", ["relu", "relu6", "silu"])
@pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])
def test_outputs_gradients_and_statistics_equal_those_of_the_modules(
    act, is_training, dtype, memory
):
    network = settle(chain(act)).to(dtype).train(is_training)
    x = torch.randn(3, 7, 9, 7, generator=torch.Generator().manual_seed(2), dtype=dtype)
    assert_close(network, x.to(memory_format=torch.channels_last), memory)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", ["nhwc", "nchw", "strided"])
@pytest.mark.parametrize("channels", [1, 3, 17, 40])
@pytest.mark.parametrize("act", ["relu6", "silu"])
def test_one_operator_over_kernels_strides_layouts_and_tails(kernel, stride, layout, channels, act):
    """conv(act(norm(z))) in float32, measured against float64."""
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(2, channels, 9, 7, generator=generator)
    if layout == "nhwc":
        z = z.to(memory_format=torch.channels_last)
    if layout == "strided":
        z = torch.randn(2, 2 * channels, 9, 14, generator=generator)[:, ::2, :, ::2]
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator)
    affine = (
        (torch.rand(channels, generator=generator) + 0.5),
        torch.randn(channels, generator=generator),
    )
    geometry = Geometry(stride=stride, padding=kernel // 2, dilation=1, groups=channels)
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [t.to(dtype).detach().requires_grad_() for t in (z, *affine, weight)]
        if dtype == torch.float32:
            norm = Norm(
                weight=inputs[1],
                bias=inputs[2],
                running_mean=None,
                running_var=None,
                index=slice(None),
                uses_batch=True,
                momentum=0.1,
                eps=1e-5,
            )
            conv = Conv(weight=inputs[3], bias=None, geometry=geometry)
            y = norm_act_conv(inputs[0], norm, act, conv)
        else:
            y = F.batch_norm(inputs[0], None, None, inputs[1], inputs[2], True, 0.1, 1e-5)
            y = F.conv2d(ACTS[act]()(y), inputs[3], None, stride, kernel // 2, 1, channels)
        upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(4)).to(dtype)
        results.append([y, *torch.autograd.grad(y, inputs, upstream)])
    largest = max(float(g.abs().max()) for g in results[1][1:])
    for a, b in zip(*results, strict=True):
        # Signed terms of a single channel's gradient may cancel: 0.1 of the largest is the floor.
        assert (a - b).abs().max() <= 1e-5 * max(float(b.detach().abs().max()), 0.1 * largest)


def test_a_gradient_that_is_not_contiguous():
    network = set_memory(settle(chain("relu6")), "low")
    x = torch.randn(2, 7, 8, 8, requires_grad=True)
    upstream = torch.randn(8, 8, 7, 2).permute(3, 2, 0, 1)
    (grad,) = torch.autograd.grad(network(x), x, upstream)
    (other,) = torch.autograd.grad(set_memory(network, "high")(x), x, upstream)
    assert (grad - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize("act", [nn.Hardswish, nn.GELU, nn.ReLU6])
def test_an_activation_that_is_unknown_or_last_runs_by_itself(act):
    network = chain("relu6", last_act=act())
    network.steps[1].act = act()
    x = torch.randn(3, 7, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert_close(settle(network).double(), x)


@pytest.mark.parametrize(
    "options", [{"affine": False}, {"track_running_stats": False}, {"momentum": None}], ids=str
)
@pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])
def test_every_kind_of_batch_norm(options, is_training):
    network = chain("relu")
    for step in network.steps[:-1]:
        step.norm = nn.BatchNorm2d(step.norm.num_features, **options)
    x = torch.randn(3, 7, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert_close(settle(network).double().train(is_training), x)


def test_gradcheck():
    network = set_memory(settle(chain("silu", stride=2, kernel=3, channels=3)).double(), "low")
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in network.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in network.parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, *values))


def test_double_backward_is_refused():
    network = set_memory(chain("relu6"), "low")
    x = torch.randn(2, 7, 6, 6, requires_grad=True)
    (grad,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_a_batch_of_one_value_is_refused():
    network = set_memory(chain("relu6", stride=2), "low")
    with pytest.raises(ValueError, match="more than one value"):
        network(torch.randn(1, 7, 1, 1, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_stays_near_float32(dtype):
    network = settle(chain("relu6"))
    x = torch.randn(4, 7, 8, 8)
    y, grads, _ = run(network, x, "high")
    with torch.autocast("cpu", dtype):
        half, half_grads, _ = run(network, x, "low")
    assert half.dtype == dtype and all(g.dtype == torch.float32 for g in half_grads)
    assert (half.float() - y).abs().max() <= 0.1 * y.abs().max()
    largest = max(float(g.abs().max()) for g in grads)
    for a, b in zip(grads, half_grads, strict=True):
        assert (a - b).norm() <= 0.2 * a.norm() + 0.05 * largest


def test_without_gradients_the_modules_run_and_nothing_is_kept():
    network = set_memory(settle(chain("relu6")), "low").eval()
    x = torch.randn(2, 7, 6, 6)
    with torch.no_grad():
        y = network(x)
    assert not y.requires_grad
    assert torch.equal(y, set_memory(network, "high")(x).detach())


def test_state_dict_copies_and_the_way_back():
    network = chain("relu6")
    before = list(network.state_dict())
    other = copy.deepcopy(set_memory(network, "low"))
    assert list(other.state_dict()) == before and other.memory == "low"
    other.load_state_dict(network.state_dict())
    x = torch.randn(2, 7, 6, 6, requires_grad=True)
    assert torch.equal(other(x), network(x))
    assert set_memory(other, "high").memory == "high"
    with pytest.raises(ValueError, match="lowest"):
        set_memory(network, "least")


def test_a_regrouped_network_exports_as_torch_built_it(tmp_path):
    space = SPACES["sandglass-micro"]()
    network = space.build({name: c.candidates[0] for name, c in space.choices().items()}).eval()
    x = torch.randn(2, *space.input_shape)
    programs = [torch.export.export(set_memory(network, m), (x,)) for m in ("high", "low")]
    codes = [program.graph_module.code for program in programs]
    assert codes[0] == codes[1] and "batch_norm" in codes[1]


def mixed(space, supernet, seed=5):
    probs = supernet.uniform_probs()
    logits = torch.randn(probs.shape, generator=torch.Generator().manual_seed(seed)).to(
        next(supernet.parameters())
    )
    logits.requires_grad_()
    supernet.mix(torch.softmax(logits.masked_fill(probs == 0, -torch.inf), 1))
    return logits


# At 32 px the last norms of mbconv would see four values a channel, and a variance of so few is so
# ill-conditioned that rounding alone, which differs between processors, exceeds the tolerance.
SMALL = {
    "sandglass": {"resolution": 32, "num_classes": 10, "scale": 0.2},
    "mbconv": {"resolution": 64, "num_classes": 10, "scale": 0.2, "squeeze": 0.25},
    "t2t": {"resolution": 32, "num_classes": 10, "scale": 0.2},
}


def supernet_gradients(name, memory):
    """Loss and gradients by name, logits included, of a supernet in float64 without dropout."""
    space = SPACES[name](**SMALL.get(name, {}))
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(4, *space.input_shape, dtype=torch.float64, generator=generator)
    supernet = set_memory(space.supernet().double(), memory)
    for module in supernet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    logits = mixed(space, supernet)
    loss = F.cross_entropy(supernet(x), torch.arange(4))
    loss.backward()
    grads = {key: p.grad for key, p in supernet.named_parameters()}
    return {"loss": loss.detach(), "logits": logits.grad, **grads}


@cache
def defined_gradients(name):
    """The same by torch's modules and autograd alone, candidate kernels padded and summed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_convolution, "fold_kernels", fold_kernels_definition)
        return supernet_gradients(name, "high")


def assert_as_defined(got, wanted):
    """Within 1e-10 of each one's largest entry, or of 1 % of the largest where it cancels."""
    largest = max(float(g.abs().max()) for g in wanted.values() if g is not None)
    assert got.keys() == wanted.keys()
    for key, true in wanted.items():
        assert (true is None) == (got[key] is None), key
        if true is not None:
            scale = max(float(true.abs().max()), 1e-2 * largest)
            assert (got[key] - true).abs().max() <= 1e-10 * scale, key


@pytest.mark.parametrize("memory", ["low", "lowest"])
@pytest.mark.parametrize("name", SPACES)
def test_a_supernet_has_the_gradients_of_its_definition_logits_included(name, memory):
    assert_as_defined(supernet_gradients(name, memory), defined_gradients(name))


@pytest.mark.parametrize("memory", ["low", "lowest"])
def test_a_supernet_whose_operators_split_the_gradient_themselves(memory, monkeypatch):
    """What runs on CUDA: the candidates' gradients come out of the weight's, without a fold."""
    wanted, seen = defined_gradients("sandglass-micro"), []
    backward = route.mixture_backward
    monkeypatch.setattr(route, "mixture_backward", lambda *args: seen.append(1) or backward(*args))
    monkeypatch.setenv("NASTK_KERNELS", "definition")
    assert_as_defined(supernet_gradients("sandglass-micro", memory), wanted)
    assert seen


@pytest.mark.parametrize("kernels", ["compiled", "definition"])
def test_gradcheck_of_logits_kernels_and_norms(kernels, monkeypatch):
    monkeypatch.setenv("NASTK_KERNELS", kernels)
    choice = Choice("kernel", (1, 3))
    network = Chain(
        [
            ConvNormAct(depthwise_conv2d(3, choice), batch_norm(3), nn.SiLU()),
            ConvNormAct(depthwise_conv2d(3, choice, stride=2), batch_norm(3)),
        ]
    )
    set_memory(settle(network).double(), "low")
    names = [name for name, _ in network.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in network.parameters()]
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(2, dtype=torch.float64, requires_grad=True)

    def function(x, logits, *parameters):
        choice.slot.set_probs(torch.softmax(logits, 0))
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, logits, *values))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("is_depthwise", [True, False], ids=["depthwise", "dense"])
@pytest.mark.parametrize("kernels", ["compiled", "definition"])
def test_one_mixed_operator_in_float32_logits_included(kernels, is_depthwise, stride, monkeypatch):
    """conv(act(norm(z))) of three candidates; measured against float64 by torch's modules."""
    monkeypatch.setenv("NASTK_KERNELS", kernels)
    choice, results = Choice("kernel", (3, 5, 7)), []
    first = ConvNormAct(depthwise_conv2d(17, 1), batch_norm(17), nn.ReLU6())
    make = depthwise_conv2d if is_depthwise else partial(conv2d, 17)
    network = settle(Chain([first, ConvNormAct(make(17, choice, stride=stride))]))
    generator = torch.Generator().manual_seed(7)
    z = torch.randn(4, 17, 9, 7, generator=generator).to(memory_format=torch.channels_last)
    start = torch.randn(3, generator=generator)
    for memory, dtype in (("low", torch.float32), ("high", torch.float64)):
        other = set_memory(copy.deepcopy(network).to(dtype), memory)
        x, logits = (t.to(dtype).requires_grad_() for t in (z, start))
        slot = next(m.kernel for m in other.modules() if hasattr(m, "kernels")).slot
        slot.set_probs(torch.softmax(logits, 0))
        y = other(x)
        upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(8)).to(dtype)
        # A scale in front of a norm has no gradient but rounding: the first weight is left out.
        leaves = [x, logits, *list(other.parameters())[1:]]
        results.append([y, *torch.autograd.grad(y, leaves, upstream)])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_a_hard_mixture_updates_the_statistics_of_its_channels_only():
    width = Choice("width", (4, 6))
    network = Chain(
        [
            ConvNormAct(conv2d(3, width, 1), batch_norm(width), nn.ReLU()),
            ConvNormAct(conv2d(width, 3, 1), batch_norm(3)),
        ]
    )
    width.slot.set_index(0)
    x = torch.randn(4, 3, 5, 5)
    results = []
    for memory in ("high", "low"):
        other = set_memory(copy.deepcopy(network), memory)
        other(x.requires_grad_()).sum().backward()
        results.append(other.steps[0].norm)
    for a, b in zip(results[0].buffers(), results[1].buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert torch.equal(results[1].running_mean[4:], torch.zeros(2))


def test_a_skippable_block_scales_its_last_norm():
    keep = Choice("keep", (1, 0))
    network = residual(chain("relu6"), 7, keep=keep)
    x = torch.randn(2, 7, 6, 6, dtype=torch.float64)
    network = settle(network).double()
    grads = []
    for memory in ("high", "low", "lowest"):
        probs = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
        keep.slot.set_probs(probs)
        y = set_memory(network, memory)(x.requires_grad_())
        grads.append(torch.autograd.grad(y.square().sum(), [probs, x]))
    for other in grads[1:]:
        for a, b in zip(grads[0], other, strict=True):
            assert (a - b).abs().max() <= 1e-9 * a.abs().max()


def test_a_block_keeps_four_features_or_one():
    assert saved_features_per_block("high") >= 8.3
    assert saved_features_per_block("low") <= 4.2
    assert saved_features_per_block("lowest") <= 1.01


def _sync_worker(rank, size, path, x, state, queue):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}", rank=rank, world_size=size
    )
    network = chain("relu6")
    for step in network.steps:
        step.norm = nn.SyncBatchNorm(step.norm.num_features)
    network.load_state_dict(state)
    network = set_memory(network.double(), "low")
    x = x.chunk(size)[rank].clone().requires_grad_()
    y = network(x)
    y.square().sum().backward()
    grads = [p.grad for p in network.parameters()]
    for grad in grads:
        torch.distributed.all_reduce(grad)
    result = [y.detach(), x.grad, *grads, *network.buffers()]
    queue.put((rank, [t.numpy() for t in result]))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_sync_batch_norm_of_two_processes_equals_one_batch(tmp_path):
    network = settle(chain("relu6")).double()
    x = torch.randn(4, 7, 6, 6, dtype=torch.float64)
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (2, tmp_path / "store", x, network.state_dict(), queue)
    workers = [context.Process(target=_sync_worker, args=(r, *arguments)) for r in (0, 1)]
    for worker in workers:
        worker.start()
    answers = dict(queue.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    inputs = x.clone().requires_grad_()
    y = network(inputs)
    y.square().sum().backward()
    halves = [answers[0][0], answers[1][0]], [answers[0][1], answers[1][1]]
    for whole, parts in zip((y.detach(), inputs.grad), halves, strict=True):
        joined = torch.cat([torch.from_numpy(part) for part in parts])
        assert (whole - joined).abs().max() <= 1e-9 * whole.abs().max()
    expected = [*(p.grad for p in network.parameters()), *network.buffers()]
    largest = max(float(g.abs().max()) for g in expected)
    for whole, part in zip(expected, answers[1][2:], strict=True):
        assert (whole - torch.from_numpy(part)).abs().max() <= 1e-9 * largest


def trajectory(network, memory, dtype, optimizer, learns=None, batch_size=64):
    """Losses of fifty updates on digits-photo; `learns` are the logits of a supernet."""
    task = make_task("digits-photo", 28)
    network = set_memory(network.to(dtype).to(memory_format=torch.channels_last), memory).train()
    update, losses = optimizer(network.parameters()), []
    logits = None if learns is None else torch.zeros(learns.shape, dtype=dtype, requires_grad=True)
    for step in range(50):
        x, labels = task.batch("train", seed=0, step=step, batch_size=batch_size)
        if logits is not None:
            probs = torch.softmax(logits.masked_fill(learns == 0, -torch.inf), 1)
            network.mix(probs)
        loss = F.cross_entropy(network(x.to(dtype, memory_format=torch.channels_last)), labels)
        update.zero_grad()
        loss.backward()
        update.step()
        if logits is not None:
            logits.data.sub_(logits.grad)
            logits.grad = None
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("kind, lr", [("plain", 0.05), ("supernet", 0.01)])
def test_fifty_updates_stay_together(kind, lr):
    """In float32 with rates at which torch's own two memory layouts stay together as well."""
    space = SPACES["sandglass-micro"]()
    largest = {name: c.candidates[-1] for name, c in space.choices().items()}
    losses = []
    for memory in ("high", "low"):
        network = space.build(largest) if kind == "plain" else space.supernet()
        learns = None if kind == "plain" else network.uniform_probs()
        losses.append(
            trajectory(network, memory, torch.float32, lambda p: torch.optim.SGD(p, lr=lr), learns)
        )
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) <= 1e-3


@pytest.mark.slow
def test_fifty_updates_of_the_search_recipe_are_the_same_in_float64():
    """At this rate AdamW multiplies rounding, so that float32 tells nothing after some steps."""
    space = SPACES["sandglass-micro"]()
    losses = []
    for memory in ("high", "low"):
        network = space.supernet()
        losses.append(
            trajectory(
                network,
                memory,
                torch.float64,
                lambda p: torch.optim.AdamW(p, lr=3e-2),
                network.uniform_probs(),
                batch_size=8,
            )
        )
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) <= 1e-9
