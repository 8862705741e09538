"""Triton kernels against their definitions, on the device named by NASTK_TEST_DEVICE.

Not collected by itself: whether Triton interprets is settled when it is imported, so
test_triton.py runs this file in processes of its own.
"""

import os
from itertools import product

import pytest
import torch
from nastk.ops.definition import (
    depthwise_conv2d_definition,
    fold_kernels_definition,
    norm_act_definition,
)
from nastk.ops.kernels.cuda.depthwise import (
    depthwise_bwd_mixture,
    depthwise_bwd_weight,
    depthwise_conv2d,
)
from nastk.ops.kernels.cuda.norm_act import norm_act, norm_act_bwd_apply, norm_act_bwd_reduce
from torch.library import opcheck

DEVICE = os.environ.get("NASTK_TEST_DEVICE", "cpu")
F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
# Of the maximum: one rounding of a stored feature, or float32 sums where nothing is stored. The
# interpreter cuts bfloat16 off instead of rounding it, hence 2^-7.
TOLERANCE = {F32: 3e-6, BF16: 2**-7, F16: 2**-10}

# kernel, stride, channels last, dtype, shape, activation on load
CASES = [
    (3, 1, True, F32, (2, 20, 5, 7), None),
    (3, 1, True, BF16, (1, 72, 3, 20), None),
    (3, 2, False, F32, (1, 3, 7, 9), "relu"),
    (5, 1, False, BF16, (1, 20, 5, 7), "silu"),
    (5, 2, True, F16, (1, 20, 5, 7), None),
    (7, 1, True, BF16, (1, 20, 5, 7), "relu6"),
    (7, 2, True, F32, (1, 3, 7, 5), "identity"),
]
DTYPES = (F32, BF16, F16)
if os.environ.get("NASTK_SWEEP"):  # every combination, minutes in the interpreter
    SLOW_CASES = [
        (kernel, stride, last, dtype, (1, 20, 5, 7), act)
        for kernel, stride, last, dtype, act in product(
            (3, 5, 7, 9, 11), (1, 2), (True, False), DTYPES, (None, "relu6")
        )
    ]
else:  # every kernel, stride and layout, the types and activations in turn
    SLOW_CASES = [
        (kernel, stride, last, DTYPES[n % 3], (1, 20, 5, 7), (None, "relu6")[n % 2])
        for n, (kernel, stride, last) in enumerate(product((3, 5, 7, 9, 11), (1, 2), (True, False)))
    ]


def name(case):
    kernel, stride, last, dtype, shape, act = case
    layout = "nhwc" if last else "nchw"
    sizes = "x".join(map(str, shape))
    return f"k{kernel}-s{stride}-{layout}-{str(dtype)[6:]}-{sizes}-{act or 'plain'}"


cases = pytest.mark.parametrize(
    ("kernel", "stride", "last", "dtype", "shape", "act"),
    [pytest.param(*case, id=name(case)) for case in CASES]
    + [pytest.param(*case, id=name(case), marks=pytest.mark.slow) for case in SLOW_CASES],
)


def feature(shape, dtype, last, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(DEVICE, dtype)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def vectors(channels, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(channels, generator=generator).to(DEVICE) + 0.25 for _ in range(count)]


def assert_close(got, wanted, tolerance):
    assert got.shape == wanted.shape
    difference = (got.double() - wanted.double()).abs().max()
    assert difference <= tolerance * wanted.abs().max(), float(difference / wanted.abs().max())


@cases
def test_convolution_and_all_gradients_agree(kernel, stride, last, dtype, shape, act):
    x = feature(shape, dtype, last).requires_grad_()
    weight = feature((shape[1], 1, kernel, kernel), F32, False, seed=2).requires_grad_()
    leaves, norm = [x, weight], []
    if act is not None:
        norm = [v.requires_grad_() for v in vectors(shape[1], 2)]
        leaves += norm
    y = depthwise_conv2d(x, weight, stride, *norm, act=act or "identity")
    assert y.dtype == dtype and y.stride(1) == (1 if last else y.shape[2] * y.shape[3])
    dy = feature(y.shape, dtype, last, seed=3)
    got = torch.autograd.grad(y, leaves, dy)

    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    wanted = depthwise_conv2d_definition(*exact[:2], stride, *exact[2:], act=act or "identity")
    assert_close(y, wanted, TOLERANCE[dtype])
    gradients = torch.autograd.grad(wanted, exact, dy.double())
    dx_stores = 1 if act is None else 2  # the gradient behind the activation is stored as well
    bounds = [dx_stores * TOLERANCE[dtype], TOLERANCE[F32], TOLERANCE[dtype], TOLERANCE[dtype]]
    for mine, true, bound in zip(got, gradients, bounds[: len(leaves)], strict=True):
        assert_close(mine, true, bound)


@pytest.mark.parametrize("act", ["identity", "relu", "relu6", "silu"])
@pytest.mark.parametrize(("last", "dtype"), [(True, BF16), (False, F32), (True, F16)])
def test_norm_act_and_its_backward_passes_agree(act, last, dtype):
    z, da = feature((2, 20, 5, 7), dtype, last), feature((2, 20, 5, 7), dtype, last, seed=4)
    scale, shift, mean, inv_std, p, q, r = vectors(20, 7)
    exact = z.double().requires_grad_()
    wide = [v.double().reshape(1, -1, 1, 1) for v in (mean, inv_std, p, q, r)]
    a = norm_act_definition(exact, scale.double(), shift.double(), act)
    assert_close(norm_act(z, scale, shift, act), a, TOLERANCE[dtype])
    (dz,) = torch.autograd.grad(a, exact, da.double())
    dpre = dz / scale.double().reshape(1, -1, 1, 1)
    zhat = (exact.detach() - wide[0]) * wide[1]
    sums = torch.stack([dpre.sum((0, 2, 3)), (dpre * zhat).sum((0, 2, 3))])
    got = norm_act_bwd_reduce(da, z, scale, shift, mean, inv_std, act)
    assert_close(got, sums, TOLERANCE[F32])
    applied = norm_act_bwd_apply(da, z, scale, shift, p, q, r, act)
    assert_close(applied, dpre * wide[2] + exact.detach() * wide[3] + wide[4], TOLERANCE[dtype])


def test_partial_sums_over_several_splits_agree_and_repeat_bit_for_bit():
    x, dy = feature((4, 3, 12, 12), F32, True), feature((4, 3, 12, 12), F32, True, seed=5)
    weight = torch.zeros(3, 1, 3, 3, dtype=torch.float64, device=DEVICE, requires_grad=True)
    y = depthwise_conv2d_definition(x.double(), weight)
    (wanted,) = torch.autograd.grad(y, weight, dy.double())
    first, second = (depthwise_bwd_weight(x, dy, 3, 1) for _ in range(2))
    assert_close(first, wanted, TOLERANCE[F32])
    assert torch.equal(first, second)
    probs, kernels = vectors(2, 1)[0], [torch.ones(3, 1, k, k, device=DEVICE) for k in (3, 1)]
    one, two = (depthwise_bwd_mixture(x, dy, kernels, probs, 1) for _ in range(2))
    assert_close(one[1], probs[0].double() * wanted, TOLERANCE[F32])
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


# stride, channels last, dtype, channels, candidates, one mixture for each channel
MIXTURES = [
    (1, True, F32, 20, (1, 3), False),
    (2, False, BF16, 3, (5, 3, 3), True),
    (1, True, F16, 70, (3, 1), True),
]


@pytest.mark.parametrize(("stride", "last", "dtype", "channels", "sizes", "per_row"), MIXTURES)
def test_a_mixture_gets_the_gradients_of_its_fold(stride, last, dtype, channels, sizes, per_row):
    x = feature((1, channels, 5, 6), dtype, last)
    kernels = [
        feature((channels, 1, k, k), F32, False, seed=n).requires_grad_()
        for n, k in enumerate(sizes)
    ]
    rows = (channels,) if per_row else ()
    probs = vectors(channels * len(sizes), 1)[0][: len(sizes) * (channels if per_row else 1)]
    probs = probs.reshape(*rows, len(sizes)).requires_grad_()
    norm = vectors(channels, 2)
    exact = [leaf.detach().double().requires_grad_() for leaf in (probs, *kernels)]
    folded = fold_kernels_definition(exact[1:], exact[0])
    wide = [x.double(), folded, stride, *(v.double() for v in norm), "relu6"]
    y = depthwise_conv2d_definition(*wide)
    dy = feature(y.shape, dtype, last, seed=3)
    with torch.no_grad():
        got, again = (
            depthwise_bwd_mixture(x, dy, kernels, probs, stride, *norm, "relu6") for _ in range(2)
        )
    for mine, same, true in zip(
        got, again, torch.autograd.grad(y, exact, dy.double()), strict=True
    ):
        assert_close(mine, true, TOLERANCE[F32])
        assert torch.equal(mine, same)


def test_gradient_without_a_layout_is_taken():
    x = feature((1, 4, 4, 4), F32, True).requires_grad_()
    weight = feature((4, 1, 3, 3), F32, False).requires_grad_()
    got = torch.autograd.grad(depthwise_conv2d(x, weight).sum(), (x, weight))
    wanted = torch.autograd.grad(depthwise_conv2d_definition(x, weight).sum(), (x, weight))
    for mine, true in zip(got, wanted, strict=True):
        assert_close(mine, true, TOLERANCE[F32])


def test_nan_passes_through_activations():
    z, one = torch.full((1, 1, 1, 8), torch.nan, device=DEVICE), torch.ones(1, device=DEVICE)
    for act in ("identity", "relu", "relu6", "silu"):
        assert norm_act(z, one, one, act).isnan().all()


@pytest.mark.slow
def test_operators_keep_the_contract_of_torch():
    x = feature((1, 4, 4, 5), F32, True).requires_grad_()
    weight = feature((4, 1, 3, 3), F32, False).requires_grad_()
    opcheck(torch.ops.nastk.depthwise.default, (x, weight, 2, None, None, "identity"))


@pytest.mark.skipif(DEVICE != "cuda", reason="needs CUDA graphs")
def test_a_captured_graph_replays_the_operators():
    x = feature((2, 20, 9, 11), BF16, True).requires_grad_()
    weight = feature((20, 1, 5, 5), F32, False).requires_grad_()

    def step(x, weight):
        return depthwise_conv2d(x, weight, 1)

    graphed = torch.cuda.make_graphed_callables(step, (x, weight))
    for mine, true in zip(
        torch.autograd.grad(graphed(x, weight).sum(), (x, weight)),
        torch.autograd.grad(step(x, weight).sum(), (x, weight)),
        strict=True,
    ):
        assert torch.equal(mine, true)
