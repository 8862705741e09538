"""Factors that follow from mixtures against sums and products that autograd differentiates."""

import torch
from nastk.ops.blend import blend, keep_and_share


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
