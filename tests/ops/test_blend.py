"""Factors that follow from mixtures against sums and products that autograd differentiates."""

import pytest
import torch
from nastk.core.choice import Choice
from nastk.ops import Chain, ConvNormAct, batch_norm, conv2d, residual
from nastk.ops.blend import blend, keep_and_share
from nastk.ops.chain import set_memory
from nastk.ops.joint import joint_width
from torch import nn


def doubles(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def test_a_blend_of_two_choices_and_its_gradients():
    mixtures = [doubles(3, seed=0).requires_grad_(), doubles(2, seed=1).requires_grad_()]
    base, tables = doubles(5, seed=2), [doubles(3, 5, seed=3), doubles(2, 5, seed=4)]
    wanted = base + mixtures[0] @ tables[0] + mixtures[1] @ tables[1]
    assert torch.allclose(blend(base, mixtures, tables), wanted, rtol=1e-14)
    assert torch.autograd.gradcheck(lambda *m: blend(base, m, tables), mixtures)


def test_a_skipped_block_has_its_whole_shortcut():
    probs, keeps = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    keep, share = keep_and_share(probs, keeps, torch.tensor([1.0]), torch.tensor([[1.0, 0.0]]))
    assert keep == 0 and share.tolist() == [1, 1]


def test_gradients_of_what_passes_a_block():
    probs, shares = doubles(2, seed=0).requires_grad_(), doubles(3, seed=1).requires_grad_()
    keeps, masks = torch.tensor([1.0, 0.0]).double(), doubles(3, 4, seed=2).round()
    keep, share = keep_and_share(probs, keeps, shares, masks)
    assert torch.allclose(share, keep * (shares @ masks) + 1 - keep, rtol=1e-14)
    arguments = (probs, shares)
    assert torch.autograd.gradcheck(lambda p, s: keep_and_share(p, keeps, s, masks), arguments)


def test_factors_stay_in_float32_under_autocast():
    probs, base = torch.tensor([0.3, 0.7], requires_grad=True), torch.zeros(3)
    tables = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.3]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = blend(base, [probs], [tables])
        keep, share = keep_and_share(probs, torch.tensor([0.0, 1.0]), probs, tables)
    assert mask.dtype == keep.dtype == share.dtype == torch.float32
    wanted = (probs @ tables).detach()
    wanted_share = keep * wanted + 1 - keep
    assert torch.allclose(mask, wanted, rtol=1e-6)
    assert torch.allclose(share, wanted_share, rtol=1e-6)
    grads = torch.autograd.grad(mask.sum() + share.sum(), probs, retain_graph=True)[0]
    assert grads.dtype == torch.float32
    row = tables.sum(1)  # of mask; of share: d keep (mask - 1) + keep d mask
    by_keep = torch.tensor([0.0, 1.0]) * (wanted - 1).sum()
    assert torch.allclose(grads, row + by_keep + 0.7 * row, rtol=1e-5)


def test_a_mixed_block_runs_under_autocast_on_float32_features():
    share, keep = Choice("share", (0.5, 1.0)), Choice("keep", (0, 1))
    branch = Chain([ConvNormAct(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))])
    block = residual(branch, 8, keep=keep, multiplier=share)
    probs = torch.tensor([0.3, 0.7], requires_grad=True)
    for choice in (share, keep):
        choice.slot.set_probs(probs, False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        block(torch.randn(2, 8, 4, 4)).sum().backward()
    assert probs.grad is not None and probs.grad.isfinite().all()


@pytest.mark.parametrize("memory", ["low", "lowest"])
@pytest.mark.parametrize("decided", ["a", "b"])
def test_a_width_of_two_choices_may_be_decided_in_part(decided, memory):
    results = []
    for level in ("high", memory):
        torch.manual_seed(0)
        choices = {name: Choice(name, v) for name, v in (("a", (4, 6, 8)), ("b", (1, 2)))}
        width = joint_width(lambda a, b: a * b, choices["a"], choices["b"])
        steps = [
            ConvNormAct(conv2d(7, width, 1), batch_norm(width)),
            ConvNormAct(conv2d(width, 7, 1, bias=True), batch_norm(7)),
        ]
        built = set_memory(Chain(steps).double(), level)
        logits = torch.randn(3, dtype=torch.float64, requires_grad=True)
        for name, choice in choices.items():
            if name == decided:
                choice.slot.set_index(0)
            else:
                choice.slot.set_probs(torch.softmax(logits[: len(choice.candidates)], 0), False)
        x = torch.randn(3, 7, 5, 4, dtype=torch.float64, requires_grad=True)
        y = built(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, logits])])
    for wanted, got in zip(*results, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("memory", ["high", "low", "lowest"])
def test_hooks_on_the_branch_of_a_block_are_called(memory):
    share = Choice("share", (0.5, 1.0))
    branch = Chain([ConvNormAct(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))])
    block = set_memory(residual(branch, 8, multiplier=share), memory)
    share.slot.set_probs(torch.tensor([0.5, 0.5]), False)
    calls = []
    branch.register_forward_hook(lambda *_: calls.append(1))
    block(torch.randn(2, 8, 4, 4))
    assert calls == [1]


def test_spaces_of_before_import_the_former_name():
    from nastk.ops import Step

    assert Step is ConvNormAct
