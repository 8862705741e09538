"""Networks trained at once come out as if each had been trained alone."""

import dataclasses

import pytest
import torch
from nastk.core.sampler import sample
from nastk.evaluators.train import Training
from nastk.nasbench.stack import stack, train_stack
from nastk.search_spaces import SandglassMicro, SandglassMicroTab
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION, MOBILENEXT
from nastk.training.task import measure
from torch import nn


def random_networks(space, seeds, draw=0):
    drawn = sample(space, 1, draw)
    arch = space.arch_at({name: int(column[0]) for name, column in drawn.items()})
    return [space.build(arch, seed=seed) for seed in seeds]


@pytest.mark.parametrize("draw", range(4))
def test_a_stack_computes_what_its_networks_compute(draw):
    space = SandglassMicro()
    networks = random_networks(space, (0, 1, 2), draw)
    stacked = stack(networks).double()
    networks = [network.double() for network in networks]
    x = torch.randn(5, 9, 28, 28, dtype=torch.float64)
    for mode in (True, False):  # BatchNorm statistics move alike, and are then used alike
        for network in (*networks, stacked):
            network.train(mode)
        alone = [n(part) for n, part in zip(networks, x.split(3, 1), strict=True)]
        together = stacked(x)
        assert (together - torch.stack(alone, 1)).abs().max() < 1e-12
    upstream = torch.randn(together.shape, dtype=torch.float64)
    (together * upstream).sum().backward()
    (torch.stack(alone, 1) * upstream).sum().backward()
    for name, parameter in stacked.named_parameters():
        join = torch.cat if parameter.dim() != 3 and "classifier" not in name else torch.stack
        expected = join([dict(network.named_parameters())[name].grad for network in networks])
        assert (parameter.grad - expected).abs().max() < 1e-12, name


def test_the_results_are_those_of_single_trainings():
    space, recipe = SandglassMicroTab(), dataclasses.replace(DEMONSTRATION, epochs=2, lr=1e-3)
    task = make_task("digits", space.resolution)
    seeds = (3, 4)
    epochs, test = train_stack(random_networks(space, seeds), task, recipe, seeds)
    assert len(epochs) == 2
    for number, seed in enumerate(seeds):
        network = random_networks(space, [seed])[0]
        training = Training(
            network=network, task=task, recipe=recipe, seed=seed, memory="high", split="weights"
        )
        network = training.fit()
        for split, found in (("architecture", epochs[-1]), ("test", test)):
            expected = measure(network, task, split)
            assert found["loss_nats"][number] == pytest.approx(
                expected[f"{split}_loss_nats"], abs=2e-3
            )
            assert found["top1_percent"][number] == pytest.approx(
                expected[f"{split}_top1_percent"], abs=1
            )


def test_what_cannot_be_stacked_is_refused():
    with pytest.raises(ValueError, match="LayerNorm"):
        stack([nn.Sequential(nn.LayerNorm(3)), nn.Sequential(nn.LayerNorm(3))])
    for recipe in (MOBILENEXT, dataclasses.replace(DEMONSTRATION, mixup=0.1)):
        with pytest.raises(ValueError, match=r"has (ema_decay|mixup); networks"):
            train_stack([], None, recipe, [])
