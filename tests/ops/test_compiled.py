"""Every compiled kernel against its definition, on every instruction set that runs here."""

import subprocess
import sys

import pytest
import torch
from nastk.ops.definition import fold_kernels_definition
from nastk.ops.kernels import definition_passes, torch_passes
from nastk.ops.kernels.cpu import compiled, folding, joining, normalise

pytestmark = pytest.mark.skipif(not compiled.available(), reason=compiled.why_missing())

# [B, C, H, W]: one pixel, maps smaller than the kernel, odd and prime sizes, tails of channels.
SHAPES = [(1, 1, 1, 1), (2, 3, 7, 9), (1, 5, 2, 2), (3, 17, 8, 14), (2, 33, 5, 23), (1, 16, 30, 64)]
SIZES = [1, 3, 5, 7, 9, 11]
TOLERANCE = 2e-6  # of the largest value, float32 against float64
isas = pytest.mark.parametrize("isa", compiled.isas())
layouts = pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
acts = pytest.mark.parametrize("act", compiled.ACTIVATIONS)
shapes = pytest.mark.parametrize("shape", SHAPES)


def draw(*shape, seed=0, layout=torch.contiguous_format):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=layout) if len(shape) == 4 else values


def assert_close(found, wanted, tolerance=TOLERANCE):
    assert found.shape == wanted.shape
    assert (found.double() - wanted).abs().max() <= tolerance * max(1, wanted.abs().max())


def output_shape(shape, stride):
    return (*shape[:2], -(-shape[2] // stride), -(-shape[3] // stride))


def doubles(values):
    return [v.double() if isinstance(v, torch.Tensor) else v for v in values]


@isas
@layouts
@shapes
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_passes_equal_their_definitions(shape, size, stride, layout, isa):
    x = draw(*shape, layout=layout)
    g = draw(*output_shape(shape, stride), seed=1, layout=layout)
    w = draw(shape[1], 1, size, size, seed=2)
    dw = compiled.depthwise_backward_weight(x, g, size, stride, isa=isa)
    y = compiled.depthwise_forward(x, w, stride, isa=isa)
    dx = compiled.depthwise_backward_data(g, w, *shape[2:], stride, layout=layout, isa=isa)
    assert y.is_contiguous(memory_format=layout) and dx.is_contiguous(memory_format=layout)
    assert_close(dw, definition_passes.backward_weight(*doubles((x, g, size, stride))))
    assert_close(y, definition_passes.forward(*doubles((x, w, stride))))
    assert_close(dx, definition_passes.backward_data(*doubles((g, w)), *shape[2:], stride=stride))


@isas
@layouts
@acts
@pytest.mark.parametrize("stride", [1, 2])
def test_features_are_activated_while_they_are_read(act, stride, layout, isa):
    shape = (2, 21, 7, 9)
    z, w = draw(*shape, layout=layout), draw(21, 1, 5, 5, seed=2)
    g = draw(*output_shape(shape, stride), seed=1)  # in another layout than z
    scale, shift = draw(21, seed=3), draw(21, seed=4) + 2
    x = definition_passes.norm_act(*doubles((z, scale, shift)), act)
    fused = (scale, shift, act)
    dw = compiled.depthwise_backward_weight(z, g, 5, stride, fused=fused, isa=isa)
    assert_close(dw, definition_passes.backward_weight(x, g.double(), 5, stride))
    y = compiled.depthwise_forward(z, w, stride, fused=fused, isa=isa)
    assert_close(y, definition_passes.forward(x, w.double(), stride))


@isas
@layouts
@acts
@shapes
def test_normalisation_equals_its_definition(shape, act, layout, isa):
    z, da = draw(*shape, layout=layout) * 3, draw(*shape, seed=1, layout=layout)
    a, b, mean, p, q, r = (draw(shape[1], seed=seed) for seed in range(2, 8))
    invstd = draw(shape[1], seed=8).abs() + 0.5
    out = normalise.norm_act(z, a, b, act, isa=isa)
    assert_close(out, definition_passes.norm_act(*doubles((z, a, b)), act))
    found = normalise.norm_act_backward_reduce(da, z, a, b, mean, invstd, act, isa=isa)
    wanted = definition_passes.norm_act_reduce(*doubles((da, z, a, b, mean, invstd)), act)
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other)
    wanted = definition_passes.norm_act_apply(*doubles((da, z, a, b, p, q, r)), act)
    dz = normalise.norm_act_backward_apply(da, z, a, b, p, q, r, act, out=da, isa=isa)
    assert dz is da
    assert_close(dz, wanted)


@isas
@layouts
@shapes
@pytest.mark.parametrize("has_share", [False, True])
def test_the_end_of_a_block_equals_its_definition(shape, has_share, layout, isa):
    z, x, g = (draw(*shape, seed=seed, layout=layout) for seed in range(3))
    a, b, mean, invstd, q, r, share = (draw(shape[1], seed=seed) for seed in range(3, 10))
    of_shortcut = share.double()[:, None, None] if has_share else 1
    out = joining.join(z, a, b, x, share if has_share else None, isa=isa)
    wanted = definition_passes.norm_act(*doubles((z, a, b)), "identity") + of_shortcut * x.double()
    assert_close(out, wanted)
    found = joining.join_backward_reduce(g, z, mean, invstd, x, isa=isa)
    rest = (*doubles((a, b, mean, invstd)), "identity")
    sums = definition_passes.norm_act_reduce(g.double(), z.double(), *rest)
    for one, other in zip(found, [*sums, (g.double() * x).sum((0, 2, 3))], strict=True):
        assert_close(one, other)
    dz, dx = joining.join_backward_apply(g, z, a, q, r, share, isa=isa)
    rest = (*doubles((a, b, a, q, r)), "identity")
    assert_close(dz, definition_passes.norm_act_apply(g.double(), z.double(), *rest))
    assert_close(dx, g.double() * share.double()[:, None, None])


@isas
@layouts
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("shape", [*SHAPES, (32, 7, 29, 31), (8, 24, 64, 64)])
def test_moments_are_as_exact_as_float64(shape, offset, layout, isa):
    z = draw(*shape, layout=layout) + offset
    z[0, :, 0, 0] -= 50  # an outlier in front must not become the shift of all others
    mean, var = normalise.channel_moments(z, isa=isa)
    wanted_mean, wanted_var = torch_passes.channel_moments(z.double())
    deviation = wanted_var.sqrt() + wanted_mean.abs()
    assert ((mean - wanted_mean).abs() <= 1e-6 * deviation).all()
    assert ((var - wanted_var).abs() <= 1e-6 * wanted_var + 1e-12).all()


@isas
@layouts
@pytest.mark.parametrize("act", ["relu", "relu6"])
def test_kinks_have_the_gradient_of_torch(act, layout, isa):
    z = torch.tensor([-1.0, 0.0, 3.0, 6.0, 7.0]).reshape(1, 1, 1, 5).contiguous()
    one, zero = torch.ones(1), torch.zeros(1)
    rest = (one, zero, one, zero, zero, act)
    wanted = definition_passes.norm_act_apply(torch.ones_like(z), z, *rest)
    found = normalise.norm_act_backward_apply(torch.ones_like(z), z, *rest, isa=isa)
    assert torch.equal(found, wanted)


@isas
@acts
def test_nan_is_not_hidden_by_an_activation(act, isa):
    z = torch.full((1, 4, 3, 3), float("nan"))
    assert normalise.norm_act(z, torch.ones(4), torch.zeros(4), act, isa=isa).isnan().all()


@isas
@layouts
def test_results_do_not_depend_on_the_number_of_threads(layout, isa):
    shape = (16, 37, 31, 29)
    z, g = draw(*shape, layout=layout), draw(*shape, seed=1, layout=layout)
    w, a, b = draw(37, 1, 7, 7, seed=2), draw(37, seed=3), draw(37, seed=4)
    results = []
    for threads in (1, 2, 5):
        how = {"threads": threads, "isa": isa}
        results.append(
            [
                compiled.depthwise_backward_weight(z, g, 7, **how),
                compiled.depthwise_forward(z, w, **how),
                compiled.depthwise_backward_data(g, w, 31, 29, **how),
                normalise.norm_act(z, a, b, "silu", **how),
                *normalise.channel_moments(z, **how),
                *normalise.norm_act_backward_reduce(g, z, a, b, a, b, "silu", **how),
                normalise.norm_act_backward_apply(g, z, a, b, a, b, a, "silu", **how),
                joining.join(z, a, b, g, a, **how),
                *joining.join_backward_reduce(g, z, a, b, z, **how),
                *joining.join_backward_apply(g, z, a, b, a, b, **how),
            ]
        )
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("sizes", [(3,), (1, 5), (3, 5, 7), (11, 1, 3, 9)])
@pytest.mark.parametrize("channels", [(1, 1), (37, 1), (5, 3), (40, 13)])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("has_columns", [False, True])
def test_fold_and_its_gradients_equal_their_definition(sizes, channels, per_row, has_columns):
    outputs, inputs = channels
    kernels = [draw(outputs, inputs, k, k, seed=k).requires_grad_() for k in sizes]
    probs = draw(*((outputs,) if per_row else ()), len(sizes), seed=20).requires_grad_()
    columns = draw(inputs, seed=21).requires_grad_() if has_columns else None
    assert folding.supports(kernels, probs, columns)
    folded = folding.fold(kernels, probs, columns)
    leaves = [p for p in (probs, columns, *kernels) if p is not None]
    doubled = [p.detach().double().requires_grad_() for p in leaves]
    first = 2 if has_columns else 1
    wanted = fold_kernels_definition(
        doubled[first:], doubled[0], doubled[1] if has_columns else None
    )
    grad = draw(*folded.shape, seed=22)
    found = folding.fold_backward(kernels, probs, columns, grad, [True] * (len(sizes) + 2))
    assert_close(folded, wanted.detach())
    found = [f for f in found if f is not None]
    for one, other in zip(found, torch.autograd.grad(wanted, doubled, grad.double()), strict=True):
        assert_close(one, other)
    absent = folding.fold_backward(kernels, probs, columns, grad, [False] * (len(sizes) + 2))
    assert absent == (None,) * (len(sizes) + 2)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 4, 5, 5, dtype=torch.float64),
        torch.zeros(1, 4, 5, 10)[..., ::2],
        torch.zeros(0, 4, 5, 5),
        torch.zeros(4, 5, 5),
    ],
)
def test_what_the_kernels_cannot_take_is_refused(x):
    assert not compiled.supports(x)
    with pytest.raises(ValueError, match="dense, non-empty float32"):
        compiled.depthwise_backward_weight(x, x, 3)


def test_unsupported_convolutions_are_refused():
    x = torch.zeros(1, 4, 5, 5)
    assert compiled.supports(x, size=11, stride=2)
    for case in ({"size": 4}, {"size": 13}, {"stride": 3}, {"size": 3, "dilation": 2}):
        assert not compiled.supports(x, **case)
    with pytest.raises(ValueError, match="g must have shape"):
        compiled.depthwise_backward_weight(x, torch.zeros(1, 4, 4, 5), 3)


def run_python(code, **environment):
    command = [sys.executable, "-c", "from nastk.ops.kernels.cpu import compiled\n" + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_switching_off_says_so_and_torch_folds_alone():
    code = (
        "assert not compiled.available() and compiled.isa() == 'none'\n"
        "print(compiled.why_missing())\n"
        "import torch; from nastk.ops.fold import fold_kernels; k = torch.ones(2, 1, 3, 3)\n"
        "print(fold_kernels([k, k], torch.tensor([1.0, 2.0])).sum().item())"
    )
    result = run_python(code, NASTK_KERNELS="definition")
    assert result.stdout == "switched off by NASTK_KERNELS=definition\n54.0\n", result.stderr


@pytest.mark.slow
def test_instruction_set_can_be_forced():
    lowest = compiled.isas()[0]
    assert run_python("print(compiled.isa())", NASTK_ISA=lowest).stdout == f"{lowest}\n"
    error = run_python("compiled.isa()", NASTK_ISA="altivec").stderr.splitlines()[-1]
    assert error.startswith("ValueError: NASTK_ISA asks for 'altivec', which does not run here;")


@layouts
def test_preferences_hold_for_what_is_supported_only_by_measure(layout):
    x = draw(32, 64, 28, 28, layout=layout)
    assert compiled.prefers("weight", x, 7) and compiled.prefers("data", x, 5)
    assert compiled.prefers("forward", x, 7) == (layout == torch.contiguous_format)
    assert not compiled.prefers("data", x[..., :2, :2], 5)


def test_a_forked_process_can_use_the_kernels():
    code = (
        "import os, torch; x = torch.randn(16, 64, 28, 28)\n"
        "dw = compiled.depthwise_backward_weight(x, x, 7, threads=2)\n"
        "child = os.fork()\n"
        "again = compiled.depthwise_backward_weight(x, x, 7, threads=2)\n"
        "if not child: os._exit(0 if torch.equal(dw, again) else 1)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert run_python(code).stdout == "0\n"
