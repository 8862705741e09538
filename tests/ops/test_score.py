"""Logits of sampled choices learn the gradient of the expected loss."""

import torch
from nastk.core.choice import Choice
from nastk.core.supernet import Supernet
from nastk.ops import layer_norm
from nastk.ops.mixture import Logits
from nastk.ops.score import ScoreFunction
from torch import nn

LOSSES = torch.tensor([1.0, 4.0, 2.5], dtype=torch.float64)


def sampled_supernet():
    width = Choice("width", (2, 3, 4))
    return Supernet(nn.Sequential(layer_norm(width)), {"width": width})


def test_the_mean_gradient_is_that_of_the_expected_loss():
    supernet = sampled_supernet()
    logits = Logits([3], supernet.sampled).double()
    logits.values.data += torch.tensor([0.3, -0.4, 0.9])
    score = ScoreFunction(supernet.choices.values())
    score.baseline.fill_(2.0)
    total, draws = torch.zeros(1, 3, dtype=torch.float64), 4000
    generator = torch.Generator().manual_seed(0)
    for _ in range(draws):
        supernet.mix(logits.mixture("softmax", 0.3, generator).detach())
        score.baseline.fill_(2.0)
        loss = score(LOSSES[supernet.choices["width"].slot.index], logits.log_probs())
        total += torch.autograd.grad(loss, logits.values)[0]
    expected = torch.autograd.grad((logits.probs()[0] * LOSSES).sum(), logits.values)[0]
    assert (total / draws - expected).abs().max() < 0.05 * expected.abs().max()


def test_the_value_is_the_loss_and_the_baseline_follows_it():
    supernet = sampled_supernet()
    logits, score = Logits([3], supernet.sampled), ScoreFunction(supernet.choices.values())
    supernet.mix(logits.probs())
    for value, baseline in ((3.0, 3.0), (5.0, 3.2)):
        loss = score(torch.tensor(value, requires_grad=True), logits.log_probs())
        assert float(loss.detach()) == value
        assert torch.allclose(score.baseline, torch.tensor(baseline).double())
    assert list(score.state_dict()) == ["baseline"]  # a resumed search goes on with it


def test_without_sampled_choices_the_loss_is_left_alone():
    loss, score = torch.tensor(3.0), ScoreFunction([Choice("kernel", (3, 5))])
    assert score.rows == [] and score(loss, torch.zeros(1, 2)) is loss


def test_every_mixture_of_a_sampled_choice_is_a_draw_from_its_probabilities():
    logits = Logits([3, 3], [True, False])
    logits.values.data += torch.tensor([0.0, 1.0, -0.5])
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(3)
    for _ in range(4000):
        sampled, plain = logits.mixture("softmax", 2.0, generator)
        counts[int(sampled.argmax())] += 1
        assert torch.allclose(plain, torch.softmax(logits.values[1] / 2, 0))
    assert (counts / 4000 - logits.probs()[0]).abs().max() < 0.03
