"""A training of a linear layer, followed by hand: loss, rates, momentum and average."""

import dataclasses

import pytest
import torch
from nastk.evaluators.train import Training
from nastk.tasks.images.classification import Classification
from nastk.training.recipe import Recipe
from torch import nn

RECIPE = Recipe(
    name="by hand",
    optimizer="sgd",
    lr=0.5,
    weight_decay=0.0,
    batch_size=4,
    epochs=4,
    warmup=0.5,
    label_smoothing=0.1,
    ema_decay=0.15,
    final_lr=0.02,
)
# Of four steps with two of warm-up: 1/25 and half-way to 1, the peak, half-way down.
FACTORS = [0.04, 0.52, 1.0, 0.5]
X = torch.randn(4, 3, 1, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 2])


class Four(Classification):
    """Always the same four images of three classes."""

    num_classes = 3

    def size(self, split):
        return 4

    def images(self, split, items, draw):
        assert split == "train" and len(items) == 4
        return X, LABELS

    def describe(self):
        return {}


def make_network():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3, bias=False))
    generator = torch.Generator().manual_seed(1)
    network[1].weight.data.copy_(torch.randn(3, 6, generator=generator))
    return network


def onehot():
    return torch.eye(3)[LABELS]


def trained(network, **changes):
    """The network to evaluate, and the losses that were reported."""
    losses = []
    recipe = dataclasses.replace(RECIPE, **changes)
    training = Training(network=network, task=Four(), recipe=recipe)
    return training.fit(lambda event: losses.append(event["loss"])), losses


def by_hand(smoothing, decay=None):
    """Weights and losses in float64, by the formulas of the softmax and nothing of torch.nn."""
    weight = make_network()[1].weight.detach().double()
    x = X.flatten(1).double()
    targets = onehot().double() * (1 - smoothing) + smoothing / 3
    velocity, average, losses = torch.zeros_like(weight), weight.clone(), []
    for step, factor in enumerate(FACTORS):
        exponentials = (x @ weight.T).exp()
        probs = exponentials / exponentials.sum(1, keepdim=True)
        losses.append(float(-(targets * probs.log()).sum() / 4))
        velocity = 0.9 * velocity + (probs - targets).T @ x / 4
        weight = weight - (0.02 + 0.48 * factor) * velocity
        if decay is not None:
            share = min(decay, (1 + step) / (10 + step))
            average = share * average + (1 - share) * weight
    return weight, average, losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_and_weights_are_those_worked_out_by_hand(smoothing):
    network = make_network()
    evaluated, losses = trained(network, label_smoothing=smoothing, ema_decay=0.0)
    weight, _, expected = by_hand(smoothing)
    assert evaluated is network
    assert losses == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(network[1].weight.double(), weight, atol=1e-6)


def test_a_sure_and_right_network_still_pays_for_smoothing():
    """With logits 30 for the label and 0 else, the other two thirds of the smoothing cost 30."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    network[1].weight.data.copy_(30 * torch.linalg.pinv(X.flatten(1)).matmul(onehot()).T)
    network[1].bias.data.zero_()
    assert trained(network)[1][0] == pytest.approx(2 / 3 * 0.1 * 30, rel=1e-4)


def test_the_averaged_weights_are_evaluated_and_follow_faster_at_first():
    network = make_network()
    evaluated, losses = trained(network)
    weight, average, expected = by_hand(0.1, decay=0.15)
    assert losses == pytest.approx(expected, rel=1e-6)  # of the network, not of its average
    assert evaluated is not network
    assert torch.allclose(network[1].weight.double(), weight, atol=1e-6)
    assert torch.allclose(evaluated[1].weight.double(), average, atol=1e-6)
    assert not torch.allclose(average, weight, atol=1e-3)


def test_the_average_has_statistics_of_its_own_and_the_same_counts():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(6, 3))
    evaluated, _ = trained(network)
    assert int(evaluated[0].num_batches_tracked) == int(network[0].num_batches_tracked) == 4
    seen = X.mean((0, 2, 3))  # what every batch adds a tenth of
    mean, average = torch.zeros(3), torch.zeros(3)
    for step in range(4):
        mean = 0.9 * mean + 0.1 * seen
        share = min(0.15, (1 + step) / (10 + step))
        average = share * average + (1 - share) * mean
    assert torch.allclose(network[0].running_mean, mean, atol=1e-6)
    assert torch.allclose(evaluated[0].running_mean, average, atol=1e-6)
