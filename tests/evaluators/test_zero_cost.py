"""Each proxy against figures derived by hand, and against definitions that share no code."""

import math

import asking
import pytest
import torch
import torch.nn.functional as F
from nastk.core.budget import Budget
from nastk.core.run import Run
from nastk.core.spec import Spec
from nastk.evaluators import EVALUATORS
from nastk.evaluators.zero_cost import ZeroCost, grad_norm, jacob_cov, naswot, snip, synflow, zico
from nastk.evaluators.zero_cost.score import ready
from nastk.search_spaces import Toy
from nastk.tasks.images.classification import CrossEntropy
from nastk.tasks.named import make_task
from nastk.training.batch import Batch
from nastk.training.strategy import Problem
from torch import nn

PROXIES = [name for name, kind in EVALUATORS.items() if issubclass(kind, ZeroCost)]
PER_BATCH = ["grad_norm", "snip", "jacob_cov", "naswot"]
ENTROPY = CrossEntropy()


def batch_of(x, labels):
    return Batch(inputs=(x,), targets={"labels": torch.tensor(labels)})


def line(*rows):
    """A linear layer without bias and with these weights, in float64."""
    weight = torch.tensor(rows, dtype=torch.float64)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    layer.weight.data = weight
    return layer


def doubles(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def fill(network):
    """Give every parameter values that depend on no random numbers."""
    for number, parameter in enumerate(network.parameters(), 1):
        count = torch.arange(parameter.numel(), dtype=torch.float64)
        parameter.data = torch.sin(1.7 * count + number).reshape(parameter.shape)
    return ready(network.double())


def convolutional(act=nn.ReLU6):
    return fill(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            act(),
            nn.Conv2d(4, 5, 3, stride=2, groups=1),
            nn.BatchNorm2d(5),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(5, 3),
        )
    )


def batches(count=2):
    steps = torch.arange(count * 4 * 3 * 7 * 9, dtype=torch.float64)
    images = torch.cos(0.37 * steps**1.1).reshape(count, 4, 3, 7, 9)
    return [batch_of(x, [0, 1, 2, 1]) for x in images]


def test_the_gradient_of_a_softmax_regression_has_the_norm_on_paper():
    # Both classes have probability 1/2, so the gradient is (-x/2, x/2) and its norm |x| / sqrt(2).
    score = grad_norm(line([0, 0], [0, 0]), batch_of(doubles([1, 2]), [0]), ENTROPY)
    assert score == pytest.approx(math.sqrt(2.5), rel=1e-12)


def test_snip_of_a_softmax_regression_is_the_figure_on_paper():
    # Logits ln 3 and 0: the probabilities are 3/4 and 1/4, the gradient is (-1/4, 1/4) x^T.
    score = snip(line([math.log(3), 0], [0, 0]), batch_of(doubles([1, 2]), [0]), ENTROPY)
    assert score == pytest.approx(math.log(3) / 4, rel=1e-12)


def test_gradient_norms_are_summed_over_layers():
    network, batch = convolutional(), batches()[0]
    (x,), labels = batch.inputs, batch.targets["labels"]
    F.cross_entropy(network(x), labels).backward()
    norms = [network[index].weight.grad.norm() for index in (0, 3, 9)]
    assert grad_norm(network, batch, ENTROPY) == pytest.approx(float(sum(norms)), rel=1e-12)


def test_snip_is_the_slope_of_the_loss_when_a_weight_is_scaled():
    """By central differences, which know nothing of backward passes."""
    network, batch = convolutional(nn.SiLU), batches()[0]
    (x,), labels = batch.inputs, batch.targets["labels"]
    total = 0.0
    for index in (0, 3, 9):
        weight, step = network[index].weight.data, 1e-6
        for position in range(weight.numel()):
            value = float(weight.view(-1)[position])
            losses = []
            for factor in (1 + step, 1 - step):
                weight.view(-1)[position] = factor * value
                losses.append(float(F.cross_entropy(network(x), labels).detach()))
            weight.view(-1)[position] = value
            total += abs(losses[0] - losses[1]) / (2 * step)
    assert snip(network, batch, ENTROPY) == pytest.approx(total, rel=1e-6)


def test_synflow_of_two_layers_is_twice_the_flow_on_paper():
    # |W1| 1 = (3, 7) and |W2| (3, 7) = 17: each layer's weights carry the whole flow.
    layers = line([1, -2], [3, 4]), line([-1, 2])
    assert synflow(nn.Sequential(*layers), [Spec(shape=(2,))]) == pytest.approx(34, rel=1e-12)
    between = (nn.BatchNorm1d(2).double(), nn.ReLU6(), nn.LayerNorm(2).double(), nn.SiLU())
    network = nn.Sequential(layers[0], *between, layers[1])
    assert synflow(network, [Spec(shape=(2,))]) == pytest.approx(34, rel=1e-12)


def test_synflow_of_a_deep_network_does_not_overflow():
    layers = [nn.Linear(8, 8, bias=False) for _ in range(20)]
    for layer in layers:
        nn.init.constant_(layer.weight, -100.0)
    score = synflow(nn.Sequential(*layers), [Spec(shape=(8,))])
    assert score == pytest.approx(20 * 8 * 800.0**20, rel=1e-12)
    assert score > torch.finfo(torch.float32).max


def test_synflow_leaves_the_network_as_it_is():
    network = convolutional().float()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = batches()[0].inputs[0].float()
    y = network(x)
    synflow(network, [Spec(shape=(3, 7, 9))])
    assert network.training and network[0].weight.dtype == torch.float32
    assert torch.equal(network(x), y)
    unchanged = [key for key in before if "running" not in key and "num" not in key]
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in unchanged)


def test_the_kernel_of_two_patterns_is_the_one_on_paper():
    # Patterns 101 and 110 of three units differ in two: K = [[3, 1], [1, 3]].
    network = nn.Sequential(line([1, 0], [0, 1], [1, -1]), nn.ReLU())
    x = doubles([2, -1], [1, 3])
    assert naswot(network, x) == pytest.approx(math.log(8), rel=1e-12)
    assert naswot(network, x[[0, 0]]) == -math.inf


def test_patterns_are_read_before_an_activation_works_in_place():
    network, (x,) = convolutional(), batches()[0].inputs
    features = network[:2](x)
    patterns = [features > 0, network[2:5](features) > 0]
    rows = torch.cat([pattern.flatten(1) for pattern in patterns], 1)
    kernel = torch.tensor([[float((a == b).sum()) for b in rows] for a in rows])
    assert naswot(network, x) == pytest.approx(float(kernel.double().logdet()), rel=1e-9)


def test_equal_linear_maps_are_perfectly_correlated():
    # Eigenvalues 0 and 2.
    x, k = doubles([1, 2, 5], [4, 1, 2]), 1e-5
    expected = -(math.log(k) + 1 / k + math.log(2 + k) + 1 / (2 + k))
    found = jacob_cov(line([1, 2, 4]), x)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "second, correlation", [((1, -1, 1, -1), 0.0), ((1, 1, 1, -1), 1 / math.sqrt(3))]
)
def test_correlations_of_two_maps_are_those_on_paper(second, correlation):
    # The gradient of an image is its pattern of active units: 1100 against 1010, and 1110.
    ones = line([1, 1, 1, 1])
    found = jacob_cov(nn.Sequential(nn.ReLU(), ones), doubles((1, 1, -1, -1), second))
    values = [1 + correlation + 1e-5, 1 - correlation + 1e-5]
    assert found == pytest.approx(-sum(math.log(v) + 1 / v for v in values), rel=1e-9)


def test_a_constant_gradient_has_no_correlation():
    assert math.isnan(jacob_cov(line([1, 1, 1]), doubles([1, 2, 5], [4, 1, 2])))


def test_zico_of_two_batches_is_the_figure_on_paper():
    # Gradients (1/2, 1) and (3/2, 1/2) in both rows: mean over deviation is 2 and 3 in each row.
    drawn = [batch_of(doubles(x), [0]) for x in ([1, 2], [3, 1])]
    assert zico(line([0, 0], [0, 0]), drawn, ENTROPY) == pytest.approx(math.log(10), rel=1e-12)


def test_zico_leaves_out_what_does_not_vary():
    drawn = [batch_of(doubles(x), [0]) for x in ([1, 2], [1, 1])]
    # Only the second column varies: means 3/4, deviations 1/4, in both rows.
    assert zico(line([0, 0], [0, 0]), drawn, ENTROPY) == pytest.approx(math.log(6), rel=1e-12)
    assert zico(line([0, 0], [0, 0]), drawn[:1] * 2, ENTROPY) == 0


# Of `convolutional()` and `batches()`, first computed when each proxy agreed with its definition.
GOLDEN = {
    "grad_norm": 1.089696771653708,
    "jacob_cov": -5.061392907598167,
    "naswot": 20.0380770391639,
    "snip": 2.603354559571722,
    "synflow": 9907.660521221082,
    "zico": 21.125351005152297,
}


@pytest.mark.parametrize("name", PROXIES)
def test_scores_of_a_fixed_network_stay_what_they_are(name):
    problem = Problem(space=Toy(), proxy=Toy(), task=None, budget=Budget(None, 10**6))
    score = EVALUATORS[name](problem=problem).score(convolutional(), batches(), ENTROPY)
    assert score == pytest.approx(GOLDEN[name], rel=1e-9)


@pytest.mark.parametrize("name", PER_BATCH)
def test_scores_are_means_over_batches(name):
    problem = Problem(space=Toy(), proxy=Toy(), task=None, budget=Budget(None, 10**6))
    network, both = convolutional(), batches()
    single = [EVALUATORS[name].measure(network, batch, ENTROPY) for batch in both]
    assert single[0] != single[1]
    mean = EVALUATORS[name](problem=problem).score(network, both, ENTROPY)
    assert mean == pytest.approx(sum(single) / 2, rel=1e-12)


class Attention(nn.Module):
    """One block of a vision transformer, so that no proxy is for convolutions only."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, -1)
        tokens = tokens + self.out(F.scaled_dot_product_attention(q, k, v))
        return self.head((tokens + self.mlp(tokens)).mean(1))


@pytest.mark.parametrize("name", PROXIES)
def test_an_attention_network_is_scored_too(name):
    problem = Problem(space=Toy(), proxy=Toy(), task=None, budget=Budget(None, 10**6))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ready(Attention().double())
    score = EVALUATORS[name](problem=problem).score(network, batches(), ENTROPY)
    assert math.isfinite(score) and score != 0


def test_the_seed_decides_the_network_and_its_batches():
    task = make_task("digits", 28)
    scores = []
    for seed in (0, 0, 1):
        problem = Problem(
            space=Toy(), proxy=Toy(), task=task, budget=Budget(None, 10**6), seed=seed
        )
        arch = problem.space.arch({"width": 8, "kernel": 3})
        scores.append(EVALUATORS["zico"](problem=problem).evaluate(arch)["zico_score"])
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize(
    "name, settings, words",
    [
        ("zico", {"num_batches": 1}, "at least 2, got 1"),
        ("snip", {"num_batches": 0}, "at least 1 batch"),
        ("naswot", {"batch_size": 1}, "2 images"),
    ],
)
def test_too_few_batches_are_refused(name, settings, words):
    with pytest.raises(ValueError, match=words):
        EVALUATORS[name](problem=None, **settings)


def test_a_network_without_what_is_scored_is_refused():
    x = doubles([1, 2], [2, 1])
    with pytest.raises(ValueError, match="activation modules"):
        naswot(line([1, 2]), x)
    with pytest.raises(ValueError, match="no convolution"):
        synflow(nn.ReLU(), [Spec(shape=(2,))])


@pytest.mark.parametrize("name", ["params", "flops", *PROXIES])
def test_a_search_returns_the_arch_of_the_highest_score(name, tmp_path):
    found = asking.search(
        "toy",
        "50%:100%",
        data="digits",
        strategy="random",
        evaluator=name,
        evaluations=3,
        out=tmp_path / "run",
    )
    objective = EVALUATORS[name].objective
    trials = Run.open(tmp_path / "run").events()
    assert all(trial["loss"] == -trial[objective] for trial in trials)
    assert found["arch_id"] == max(trials, key=lambda trial: trial[objective])["arch"]
