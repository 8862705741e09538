"""The fold against its definition: outputs and all gradients; and what it keeps alive."""

import pytest
import torch
import torch.nn.functional as F
from nastk.core.choice import Choice
from nastk.ops import conv2d, depthwise_conv2d, grouped
from nastk.ops.definition import fold_kernels_definition, mixed_conv2d_features
from nastk.ops.fold import fold_kernels, fold_nested

CASES = [(8, 8, 8, 1, 1), (8, 8, 8, 2, 1), (8, 12, 4, 1, 1), (8, 12, 1, 2, 1), (6, 6, 6, 1, 2)]


@pytest.mark.parametrize("sizes", [(3,), (3, 5), (1, 3, 5, 7)])
@pytest.mark.parametrize("case", CASES)
def test_folded_convolution_equals_sum_of_features(case, sizes):
    inputs, outputs, groups, stride, dilation = case
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    x, kernels = draw(1, inputs, 15, 13), [draw(outputs, inputs // groups, k, k) for k in sizes]
    probs = draw(len(sizes))
    upstream = None
    results = []
    for folded in (True, False):
        if folded:
            weight = fold_kernels(kernels, probs)
            padding = dilation * (sizes[-1] - 1) // 2
            y = F.conv2d(x, weight, None, stride, padding, dilation, groups)
        else:
            y = mixed_conv2d_features(
                x, kernels, probs, stride=stride, dilation=dilation, groups=groups
            )
        upstream = (
            torch.randn(y.shape, generator=generator).double() if upstream is None else upstream
        )
        results.append([y, *torch.autograd.grad(y, [x, probs, *kernels], upstream)])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("with_columns", [False, True])
def test_gradcheck_of_the_fold(per_channel, with_columns):
    kernels = [torch.randn(3, 2, k, k).double().requires_grad_() for k in (1, 3, 5)]
    probs = torch.rand((3, 3) if per_channel else (3,)).double().requires_grad_()
    columns = torch.rand(2).double().requires_grad_() if with_columns else None
    assert torch.autograd.gradcheck(
        lambda p, c, *k: fold_kernels(k, p, c), (probs, columns, *kernels)
    )
    assert torch.allclose(
        fold_kernels(kernels, probs, columns), fold_kernels_definition(kernels, probs, columns)
    )


def test_nested_fold_equals_independent_crops():
    kernel, probs = torch.randn(4, 1, 7, 7), torch.tensor([0.2, 0.3, 0.5])
    crops = [kernel[..., m : 7 - m, m : 7 - m] for m in (2, 1, 0)]
    assert torch.allclose(fold_nested(kernel, (3, 5, 7), probs), fold_kernels(crops, probs))


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd"):
        fold_kernels([torch.zeros(1, 1, 4, 4)], torch.ones(1))
    with pytest.raises(ValueError, match="odd"):
        conv2d(3, 8, 4)


def test_bare_zero_kernel_is_refused_and_grouped_one_is_not():
    with pytest.raises(ValueError, match="absence"):
        depthwise_conv2d(8, Choice("k", (0, 3)))
    kernels = (3, Choice("k", (0, 3)))
    depthwise_conv2d(grouped(4, kernels), kernels)


def saved_bytes(function):
    """Bytes saved for backward, each storage once, parameters left out."""
    storages = {}

    def pack(tensor):
        if not (tensor.is_leaf and tensor.requires_grad and isinstance(tensor, torch.nn.Parameter)):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = function()
    assert y.requires_grad
    return sum(s.nbytes() for s in storages.values())


def test_the_fold_saves_one_feature_and_the_sum_of_features_four():
    choice = Choice("kernel", (3, 5, 7))
    op = depthwise_conv2d(96, choice)
    x = torch.randn(8, 96, 56, 56, requires_grad=True)
    probs = torch.full((3,), 1 / 3, requires_grad=True)
    choice.slot.set_probs(probs)
    assert saved_bytes(lambda: op(x)) <= 1.05 * x.nbytes
    choice.slot.set_probs(probs, features=True)
    assert saved_bytes(lambda: op(x)) >= 4 * x.nbytes


def test_expected_cost_of_one_block_by_hand():
    """The check of the meta-kernel notes, section 3: one block 24 -> 40, 56 -> 28, h = 144."""
    from nastk.core.polynomial import Polynomial

    fixed = 144 * (24 * 56**2 + 40 * 28**2)
    cost = Polynomial.of("k", [144 * 28**2 * k * k for k in (3, 5, 7)]) + fixed
    mean = cost.expectation(["k"])
    for probs, expected in [((1, 0, 0), 16369920), ((0, 0, 1), 20885760), ((1, 1, 1), 18477312)]:
        row = torch.tensor([probs], dtype=torch.float64)
        assert float(mean(row / row.sum())) == pytest.approx(expected, rel=1e-12)
