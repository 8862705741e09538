"""Expected costs of mixtures are what the budget aims at, and scores stay in order."""

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.core.budget import parse_budget
from nastk.core.polynomial import Polynomial
from nastk.core.run import Run
from nastk.ops.mixture import Logits
from nastk.search_spaces import SPACES, SandglassMicro
from nastk.strategies.budget_term import aims_of
from nastk.strategies.multiplier import ExponentiatedGradient, Multiplier, direction

MICRO = SandglassMicro()


def scored(space, seed, scale=2.0):
    """Logits of a space with random scores."""
    logits = Logits(list(space.num_candidates.values()))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        logits.values.copy_(scale * torch.randn(logits.values.shape, generator=generator))
    return logits


def expected(space, logits, metric="flops"):
    cost = space.cost.polynomial(metric).expectation(list(space.choices()))
    return float(cost(logits.probs().detach()))


@pytest.mark.parametrize("name", ["sandglass-micro", "toy", "nasbench201"])
@pytest.mark.parametrize("percent", [30, 60, 95])
def test_the_expected_cost_is_what_the_budget_aims_at(name, percent):
    space = SPACES[name]()
    low, high = nastk.core.budget.flops_range(space)
    budget = parse_budget(str(low + percent * (high - low) // 100), space)
    for seed in range(1):
        logits = scored(space, seed)
        multiplier = Multiplier(logits, aims_of(space, budget, list(space.choices())))
        for _ in range(3):
            assert expected(space, logits) == pytest.approx(budget.target, rel=1e-3)
            with torch.no_grad():  # scores move between the updates
                logits.values.add_(0.1 * torch.randn(logits.values.shape))
            multiplier.update(logits)


def test_probabilities_are_those_of_scores_less_marginal_costs():
    logits, order = scored(MICRO, 0), list(MICRO.choices())
    before = logits.values.detach().clone()
    aims = aims_of(MICRO, parse_budget("0.6M", MICRO), order)
    multiplier = Multiplier(logits, aims)
    for _ in range(100):
        multiplier.update(logits)
    assert torch.equal(logits.values, before)
    slope = aims[0][0].slope(logits.probs())  # at the probabilities that they lead to
    price = float(multiplier.multipliers[0] / multiplier.marginal.amax())
    assert price > 0
    rest = logits.log_probs().double() - (logits.values.double() - price * slope)
    for row, count in zip(rest, MICRO.num_candidates.values(), strict=True):
        assert (row[:count] - row[0]).abs().max() < 1e-4
    # Among candidates of one price the better score is the likelier one.
    for row, (name, count) in enumerate(MICRO.num_candidates.items()):
        for a in range(count):
            for b in range(count):
                if abs(slope[row, a] - slope[row, b]) < 1e-9 * slope.max():
                    assert (before[row, a] > before[row, b]) == (
                        logits.probs()[row, a] > logits.probs()[row, b]
                    ), name


def test_several_costs_stay_within_their_bounds():
    budget = parse_budget({"flops": "0.9M", "params": "14K"}, MICRO)
    order = list(MICRO.choices())
    logits, aims = scored(MICRO, 1), aims_of(MICRO, budget, order)
    multiplier = Multiplier(logits, aims)
    for _ in range(5):
        multiplier.update(logits)
    for metric, (_, low, high) in zip(("flops", "params"), aims, strict=True):
        assert low * (1 - 1e-3) <= expected(MICRO, logits, metric) <= high * (1 + 1e-3)
    assert multiplier.multipliers.abs().max() > 0
    free = parse_budget({"flops": "0:2.2M", "params": "0:30K"}, MICRO)
    logits = scored(MICRO, 1)
    before = logits.probs()
    assert float(Multiplier(logits, aims_of(MICRO, free, order)).multipliers.abs().max()) == 0
    assert torch.equal(logits.probs(), before)


@pytest.mark.parametrize("aim, wanted", [(50.0, 100.0), (500.0, 400.0)])
def test_an_expected_cost_out_of_reach_is_as_near_as_it_comes(aim, wanted):
    cost = Polynomial.of("width", (1, 2)) * Polynomial.of("depth", (1, 2)) * 100
    logits = Logits([2, 2])
    expectation = cost.expectation(["width", "depth"])
    Multiplier(logits, [(expectation, aim, aim)])
    assert float(expectation(logits.probs().detach())) == pytest.approx(wanted)
    assert torch.isfinite(logits.log_probs()).all()


def test_slopes_and_batches_of_an_expectation_are_those_of_its_definition():
    generator = np.random.default_rng(0)
    cost = Polynomial.of("a", [1, 5]) * Polynomial.of("b", [2, 3, 7]) + Polynomial.of("a", [0, 4])
    expectation = cost.expectation(["a", "b"])
    probs = torch.zeros(4, 2, 3, dtype=torch.float64)
    probs[:, 0, :2] = torch.from_numpy(generator.dirichlet([1, 1], 4))
    probs[:, 1] = torch.from_numpy(generator.dirichlet([1, 1, 1], 4))
    a, b = probs[:, 0, :2], probs[:, 1]
    means = b @ torch.tensor([2.0, 3, 7]).double()
    value = (a @ torch.tensor([1.0, 5]).double()) * means + 4 * a[:, 1]
    assert torch.allclose(expectation(probs), value)
    wanted = torch.stack([means[0], 5 * means[0] + 4, torch.tensor(0.0).double()])
    assert torch.allclose(expectation.slope(probs[0])[0], wanted)


def test_an_exponentiated_gradient_multiplies_probabilities():
    logits = Logits([2, 3])
    optimizer = ExponentiatedGradient(logits.values, lr=0.5, count=5)
    mixture = logits.mixture("softmax", 1.0)
    mixture.retain_grad()
    weights = torch.tensor([[1.0, -1.0, 9.0], [0.0, 3.0, -3.0]])  # the 9 is of no candidate
    (mixture * weights).sum().backward()
    before = logits.probs().detach()
    logits.values.grad = direction(logits, mixture)
    optimizer.step()
    deviation = (2 * 1 + 2 * 9) ** 0.5 / 5**0.5
    raised = before * torch.exp(-0.5 * weights / deviation) * logits.valid
    assert torch.allclose(logits.probs(), raised / raised.sum(1, keepdim=True))


def test_every_step_of_a_search_meets_the_budget(tmp_path):
    for level in ("single", "bilevel"):
        options = {"level": level, "warmup": 0.3}
        given = {"strategy": "logits", "strategy_options": options, "data": "digits"}
        asking.search("sandglass-micro", "0.6M", steps=6, out=tmp_path / level, **given)
        events = Run.open(tmp_path / level).events()
        target = pytest.approx(0.985 * 600_000, rel=1e-3)
        assert len(events) == 6 and all(e["expected_flops"] == target for e in events)
        assert events[0]["entropy"] == events[1]["entropy"] != events[-1]["entropy"]
