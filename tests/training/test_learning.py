"""How weights learn by a recipe: groups, rates, shortened gradients, several batches an update."""

import dataclasses

import pytest
import torch
from nastk.core.schedule import SCHEDULES
from nastk.core.supernet import Supernet
from nastk.search_spaces import Toy
from nastk.training.learning import Learning, parameter_groups
from nastk.training.recipe import ANY
from nastk.training.recipes import RECIPES
from nastk.training.task import Objective
from torch import nn


class Distance(Objective):
    """With a part of its own, which learns at another rate."""

    def __init__(self):
        super().__init__()
        self.own = nn.Linear(2, 2, bias=False)

    def forward(self, network, batch, step):
        x, y = batch
        return (self.own(network(x)) - y).square().mean()

    def rates(self):
        return {"own": 10.0}


class Plain(Distance):
    def rates(self):
        return {}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def learning(recipe, objective=None):
    torch.manual_seed(1)
    objective = objective or Plain()
    made = {"device": torch.device("cpu"), "precision": "float32"}
    return Learning(recipe, network(), objective, **made)


def data(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator), torch.randn(count, 2, generator=generator)


def loss_of(learned):
    parts = learned.trained
    return lambda batch: parts["objective"](parts["network"], batch, torch.zeros(()))


def test_a_recipe_without_groups_has_all_weights_in_one():
    network_, objective = network(), Plain()
    found = parameter_groups(ANY, network_, objective)
    both = [*network_.parameters(), *objective.parameters()]
    assert len(found) == len(both) and all(a is b for a, b in zip(found, both, strict=True))


def test_norms_and_biases_are_not_decayed_where_a_recipe_says_so():
    recipe = dataclasses.replace(ANY, decay_all=False, weight_decay=0.1)
    groups = parameter_groups(recipe, network(), Plain())
    decays = {weight.ndim: group["weight_decay"] for group in groups for weight in group["params"]}
    assert decays == {2: 0.1, 1: 0.0} and all(group["factor"] == 1 for group in groups)


def test_layers_learn_the_slower_the_earlier_they_stand_and_the_objective_as_it_says():
    recipe = dataclasses.replace(ANY, layer_decay=0.5)
    layers = network()
    groups = parameter_groups(recipe, layers, Distance())
    factors = {id(weight): group["factor"] for group in groups for weight in group["params"]}
    told = [factors[id(layer.weight)] for layer in (layers[0], layers[1], layers[3])]
    assert told == [0.25, 0.5, 1.0] and set(factors.values()) == {0.25, 0.5, 1.0, 10.0}
    learned = learning(dataclasses.replace(recipe, lr=0.2, optimizer="sgd"), Distance())
    learned.begin(1.0 * 0)  # at the start of a recipe without warm-up
    rates = sorted(group["lr"] for group in learned.optimizer.param_groups)
    assert rates == pytest.approx([0.05, 0.1, 0.2, 2.0])


def test_the_layers_of_a_supernet_are_those_of_its_network():
    supernet = Toy().supernet(seed=0)
    assert isinstance(supernet, Supernet)
    recipe = dataclasses.replace(ANY, layer_decay=0.5)
    factors = {group["factor"] for group in parameter_groups(recipe, supernet, Plain())}
    assert factors == {0.125, 0.25, 0.5, 1.0}  # of four parts


def test_two_batches_an_update_are_one_of_twice_the_images():
    recipe = dataclasses.replace(ANY, lr=0.1, optimizer="sgd")
    x, y = data(8)
    whole, halves = learning(recipe), learning(recipe)
    for learned in (whole, halves):
        learned.trained["network"].eval()  # a norm in training sees one batch alone
    told = whole.update(loss_of(whole), [(x, y)])
    parts = [(x[:4], y[:4]), (x[4:], y[4:])]
    assert halves.update(loss_of(halves), parts) == pytest.approx(told.item())
    for a, b in zip(whole.trained.parameters(), halves.trained.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_gradient_that_is_too_long_is_shortened():
    recipe = dataclasses.replace(ANY, lr=1.0, optimizer="sgd", clip=0.01)
    learned = learning(recipe)
    before = [weight.detach().clone() for weight in learned.trained.parameters()]
    learned.update(loss_of(learned), [data(8)])
    moved = [b - a for a, b in zip(before, learned.trained.parameters(), strict=True)]
    assert torch.stack([m.norm() for m in moved]).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_rises_to_the_peak_and_ends_where_it_says(name):
    recipe = dataclasses.replace(ANY, schedule=name, lr=0.4, final_lr=0.1, warmup=0.25)
    assert recipe.rate(0) < recipe.rate(0.1) < recipe.rate(0.25) == pytest.approx(0.4)
    half = {"cosine": 0.25, "linear": 0.25, "constant": 0.4}[name]
    assert recipe.rate(0.625) == pytest.approx(half)
    assert recipe.rate(1) == pytest.approx(0.4 if name == "constant" else 0.1)


def test_an_update_of_several_batches_counts_as_so_many_images():
    recipe = dataclasses.replace(RECIPES["demonstration"], accumulation=4)
    assert recipe.steps_an_epoch(1000) == 1000 // 64 // 4 == 3 and recipe.num_steps(1000) == 12
    assert recipe.num_images(1000) == 12 * 4 * 64
