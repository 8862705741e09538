"""What must hold for every space in the dict, new ones included."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from nastk.core.sampler import sample
from nastk.evaluators.efficiency import outside_flops
from nastk.nasbench.families import FAMILIES
from nastk.search_spaces import SPACES, T2T, NasBench201, T2TMicro
from nastk.strategies import MetaKernel
from nastk.strategies.budget_term import BUDGET_TERMS, with_budget
from nastk.training.recipes import default_recipe
from torch import nn

SMALL = {
    "sandglass": {"resolution": 32, "num_classes": 10, "scale": 0.2},
    "mbconv": {"resolution": 32, "num_classes": 10, "scale": 0.2},
    "t2t": {"resolution": 32, "num_classes": 10, "scale": 0.2},
    "nasbench201": {"cells": 1},
    "nasbench-macro": {"resolution": 8, "scale": 0.1},
}


def small(name):
    return SPACES[name](**SMALL.get(name, {}))


def random_archs(space, count, seed=0):
    drawn = sample(space, count, seed)
    return [space.arch_at({n: int(c[i]) for n, c in drawn.items()}) for i in range(count)]


def one_hot(supernet, indices):
    """The mixtures in which every choice is certain."""
    probs = torch.zeros_like(supernet.uniform_probs())
    for row, index in zip(probs, indices.values(), strict=True):
        row[index] = 1
    return probs


def settle(network):
    """Give BatchNorms statistics and affine parts that are not trivial."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
        elif name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_one_hot_supernet_equals_extracted_equals_built(name, dtype, tolerance):
    space = small(name)
    supernet = space.supernet().to(dtype)
    settle(supernet)
    supernet.eval()
    x = torch.randn(2, *space.input_shape, dtype=dtype, generator=torch.Generator().manual_seed(2))
    for arch in random_archs(space, 4):
        extracted = supernet.extract(arch.choices).eval()
        built = space.build(arch).to(dtype).eval()
        built.load_state_dict(extracted.state_dict())
        supernet.select(arch.choices)
        hard = supernet(x)
        supernet.mix(one_hot(supernet, space.indices(arch)).to(dtype))
        for other in (supernet(x), extracted(x), built(x)):
            assert (other - hard).abs().max() <= tolerance * hard.abs().max()


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("is_mixture", [False, True], ids=["index", "mixture"])
def test_one_hot_gradients_equal_those_of_the_extracted_network(name, is_mixture):
    """Of every weight: extracting is cutting out, so the gradients are cut out as the weights."""
    space = small(name)
    supernet = space.supernet().double()
    settle(supernet)
    supernet.eval()
    x = torch.randn(2, *space.input_shape).double()
    for arch in random_archs(space, 2, seed=3):
        extracted = supernet.extract(arch.choices).eval()
        if is_mixture:
            supernet.mix(one_hot(supernet, space.indices(arch)).double())
        else:
            supernet.select(arch.choices)
        for network in (supernet, extracted):
            network.zero_grad()
            network(x).square().sum().backward()
        gradients = copy.deepcopy(supernet)
        for target, source in zip(gradients.parameters(), supernet.parameters(), strict=True):
            target.data = torch.zeros_like(source) if source.grad is None else source.grad
        expected = dict(gradients.extract(arch.choices).named_parameters())
        found = {key: p.grad for key, p in extracted.named_parameters()}
        assert found.keys() == expected.keys()
        for key, gradient in found.items():
            difference = (gradient - expected[key]).abs().max()
            assert difference <= 1e-9 * gradient.abs().max(), key
        outside = sum(float(p.detach().square().sum()) for p in gradients.parameters())
        inside = sum(float(g.square().sum()) for g in found.values())
        assert 0 < outside == pytest.approx(inside, rel=1e-9)  # what is not chosen learns nothing


@pytest.mark.parametrize("name", SPACES)
def test_soft_fold_equals_sum_of_features_with_all_gradients(name):
    space = small(name)
    supernet = space.supernet().double()
    settle(supernet)
    supernet.eval()
    x = torch.randn(2, *space.input_shape).double()
    results = []
    for features in (False, True):
        logits = (
            torch.randn(supernet.uniform_probs().shape, generator=torch.Generator().manual_seed(4))
            .double()
            .requires_grad_()
        )
        valid = supernet.uniform_probs() > 0
        probs = torch.softmax(logits.masked_fill(~valid, -torch.inf), 1)
        supernet.mix(probs, features=features)
        supernet.zero_grad()
        y = supernet(x)
        y.square().sum().backward()
        found = {key: p.grad for key, p in supernet.named_parameters() if p.grad is not None}
        rows = dict(zip(supernet.choices, logits.grad, strict=True))
        results.append({"output": y.detach(), **rows, **found})
    folded, summed = results
    assert folded.keys() == summed.keys()
    # Each relative to its own largest value; what is zero by cancelling, to a rounding of all.
    rounding = 2**-52 * max(float(tensor.abs().max()) for tensor in summed.values())
    for key, tensor in summed.items():
        assert (folded[key] - tensor).abs().max() <= 1e-10 * tensor.abs().max() + rounding, key


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_polynomial_equals_the_outside_counter_on_fifty_random_archs(name):
    """Fvcore, and torch's own counter where products of attention occur, which fvcore guesses."""
    space = SPACES[name](resolution=64) if name in SMALL else SPACES[name]()
    # It counts neither products of attention nor edges that no output of a cell needs.
    fvcore_falls_short = issubclass(SPACES[name], (T2T, T2TMicro, NasBench201))
    for arch in random_archs(space, 50):
        with torch.device("meta"):
            network = space.build(arch)
        counted = space.cost.count(space.indices(arch))
        counter, flops = outside_flops(network, space.inputs())
        assert fvcore_falls_short or counter == "fvcore"
        assert counted["flops"] == flops
        assert counted["params"] == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", SPACES)
def test_activations_are_the_outputs_of_convolutions_and_linear_layers(name):
    """As hooks see them on the built network, whose features are never computed."""
    space = SPACES[name](resolution=64) if name in SMALL else SPACES[name]()
    for arch in random_archs(space, 2, seed=5):
        with torch.device("meta"):
            network = space.build(arch).eval()
            x = torch.zeros(1, *space.input_shape)
        outputs = []

        def note(_, __, output, outputs=outputs):
            outputs.append(output.numel())

        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(note)
        network(x)
        assert sum(outputs) == space.cost.count(space.indices(arch))["activations"] > 0


@dataclasses.dataclass
class Images:
    """Data of which nothing but their number is known."""

    number: int = 1000
    is_demonstration: bool = False
    short_recipe: str | None = None

    def size(self, split):
        return self.number


@pytest.mark.parametrize("name", FAMILIES)
def test_a_space_names_recipes_that_exist_and_its_subclass_keeps_them(name):
    class Mine(FAMILIES[name]):
        pass

    assert Mine.name == "Mine"
    for task in (Images(), Images(is_demonstration=True)):
        recipe = default_recipe(FAMILIES[name](), task)
        assert default_recipe(Mine(), task) is recipe
    assert MetaKernel().num_steps(Mine()) == Mine.search_steps > 0
    assert MetaKernel(steps=7).num_steps(Mine()) == 7


def test_a_space_whose_recipe_does_not_exist_is_refused():
    class Mine(SPACES["toy"]):
        recipe = "smal"

    with pytest.raises(ValueError, match="unknown recipe of Mine 'smal'; did you mean 'small'"):
        default_recipe(Mine(), Images())


@pytest.mark.parametrize(
    "number, name, steps",
    [(500, "small", 2000), (60_000, "small", 37_480), (10**6, "mobilenet", 781_200)],
)
def test_a_space_that_names_no_recipe_has_one_by_the_number_of_images(number, name, steps):
    class Mine(SPACES["toy"]):
        recipe = None

    recipe = default_recipe(Mine(), Images(number=number))
    assert (recipe.name, recipe.num_steps(number)) == (name, steps)


@pytest.mark.parametrize("name", SPACES)
def test_built_networks_have_torch_leaves_only(name):
    space = small(name)
    network = space.build(random_archs(space, 1)[0])
    leaves = [m for m in network.modules() if not list(m.children())]
    assert leaves and all(type(m).__module__.startswith("torch.nn") for m in leaves)
    assert all(isinstance(p, nn.Parameter) for p in network.parameters())


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("term", BUDGET_TERMS)
def test_budget_descent_lowers_the_expected_cost_of_every_choice(name, term):
    space = SPACES[name]()
    order = list(space.choices())
    expected = space.cost.flops.expectation(order)
    sizes = [len(c.candidates) for c in space.choices().values()]
    logits = torch.zeros(len(order), max(sizes), dtype=torch.float64, requires_grad=True)
    valid = torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None]

    def mean(values):
        return expected(torch.softmax(values.masked_fill(~valid, -torch.inf), 1))

    target = float(mean(logits).detach()) * 0.8
    with_budget(torch.ones(()), mean(logits), target, term).backward()
    for row, name_of_choice in enumerate(order):
        moved = logits.detach().clone()
        moved[row] -= 0.01 * logits.grad[row] / logits.grad[row].norm().clamp_min(1e-30)
        if name_of_choice in space.cost.flops.names:
            assert logits.grad[row].abs().max() > 0
            assert mean(moved) < mean(logits), name_of_choice
        else:
            assert logits.grad[row].abs().max() == 0
            assert name_of_choice.endswith("multiplier")  # costs nothing, and nothing else does


@pytest.mark.parametrize("name", SPACES)
def test_sampled_archs_lie_in_the_band_and_are_canonical(name):
    from nastk.core.budget import flops_range

    space = SPACES[name]()
    low, high = flops_range(space)
    band = (low + 0.3 * (high - low), low + 0.6 * (high - low))
    drawn = sample(space, 200, 0, band)
    flops = space.cost.flops.evaluate(drawn)
    assert np.all((flops >= band[0]) & (flops <= band[1]))
    active = space.cost.active(drawn)
    assert all(np.all(drawn[n][~active[n]] == 0) for n in drawn)
