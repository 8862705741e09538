"""Candidates that were not drawn are not run, and what is learned stays the same."""

import pytest
import torch
from nastk.ops.mixture import Logits
from nastk.search_spaces import NasBench201, NasBenchMacro
from torch import nn

SPACES = {
    "nasbench201": NasBench201(cells=1, channels=2, resolution=8),
    "nasbench-macro": NasBenchMacro(scale=0.1, resolution=8),
}


@pytest.fixture
def in_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def learned(space, kind, is_sparing, seed, teaches=True):
    """Return the output, all gradients, and how often convolutions ran with and without one."""
    supernet = space.supernet(seed=1).train()
    logits = Logits(supernet.num_candidates, supernet.sampled)
    generator = torch.Generator().manual_seed(seed)
    noise = logits.noise(generator).double()
    mixture = logits.mixture(kind, 0.7, noise=noise)
    mixture = mixture if teaches else mixture.detach()
    supernet.mix(mixture, taught_DN=logits.taught(kind, noise) if is_sparing else None)
    runs = {True: 0, False: 0}

    def count(module, inputs, output):
        runs[torch.is_grad_enabled()] += 1

    hooks = [
        module.register_forward_hook(count)
        for name, module in supernet.named_modules()
        if isinstance(module, nn.Conv2d) and ("edges" in name or "other" in name)
    ]
    y = supernet(torch.randn(3, *space.input_shape, generator=generator))
    y.sin().sum().backward()
    assert hooks
    names = dict(supernet.named_parameters()) | {"logits": logits.values}
    zeros = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in names.items()}
    return y.detach(), zeros, runs


@pytest.mark.parametrize("kind", ["two_path", "binary", "straight_through"])
@pytest.mark.parametrize("name", SPACES)
def test_leaving_out_what_was_not_drawn_changes_no_gradient(name, kind, in_float64):
    fewer = 0
    for seed in range(3):
        y, gradients, runs = learned(SPACES[name], kind, True, seed)
        all_y, all_gradients, all_runs = learned(SPACES[name], kind, False, seed)
        assert torch.allclose(y, all_y, rtol=1e-12, atol=1e-12)
        assert gradients["logits"].any()
        for key, gradient in gradients.items():
            assert torch.allclose(gradient, all_gradients[key], rtol=1e-9, atol=1e-12), key
        fewer += all_runs[True] - runs[True]
        assert runs[False] == 0 or kind != "two_path"
    assert fewer > 0


@pytest.mark.parametrize("kind, most", [("two_path", 2), ("binary", 1), ("straight_through", 1)])
def test_a_cell_runs_the_drawn_operations_alone(kind, most):
    edges, cells = 6, 3
    for seed in range(3):
        _, _, runs = learned(SPACES["nasbench201"], kind, True, seed)
        assert runs[True] <= most * edges * cells
        values = {"two_path": 0, "binary": edges * cells, "straight_through": 2 * edges * cells}
        assert runs[False] <= values[kind]
        _, _, runs = learned(SPACES["nasbench201"], kind, True, seed, teaches=False)
        assert runs[False] == 0 and runs[True] <= most * edges * cells
