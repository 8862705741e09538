"""Finalists behind a supernet, and the model that proposes them."""

import math
import time

import asking
import numpy as np
import pytest
from nastk.core.band import band_of
from nastk.core.best import best_arch
from nastk.core.budget import Budget
from nastk.core.polynomial import Polynomial
from nastk.core.run import Run
from nastk.core.sampler import sample, sample_archs
from nastk.evaluators import Train
from nastk.nasbench.table import load_table
from nastk.search_spaces import SandglassMicro
from nastk.strategies import STRATEGIES, BlackBox, Thompson
from nastk.strategies.linear_model import LinearModel, Prior
from nastk.strategies.thompson import Learned, ThompsonSampler

SPACE, BUDGET = SandglassMicro(), Budget.parse("0.8M")
SUPERNETS = [name for name, made in STRATEGIES.items() if not issubclass(made, BlackBox)]


def loss_of(arch):
    """A loss that the kernels of the first block decide."""
    return 0.1 * arch.choices["stage1.block1.first_kernel"] - arch.choices["stem.width"] / 100


@pytest.fixture
def trained_at_once(monkeypatch):
    """Finalists are not trained but have the loss above."""

    def metrics_of(self, arch):
        return {"architecture_loss_nats": loss_of(arch)}

    monkeypatch.setattr(
        Train, "evaluate", lambda self, arch: {"architecture_loss_nats": loss_of(arch)}
    )


def run(folder, strategy="meta_kernel", **options):
    options = {"steps": 1, "finalists": 3, "data": "digits", "processes": 1, "seed": 3} | options
    if strategy == "single_path":
        options |= {"evaluations": 8}
    return asking.search("sandglass-micro", "0.8M", strategy=strategy, out=folder, **options)


@pytest.mark.parametrize("strategy", SUPERNETS)
def test_every_supernet_trains_its_finalists_and_finds_one(strategy, tmp_path, trained_at_once):
    found = run(tmp_path / "run", strategy)
    events = [e for e in Run.open(tmp_path / "run").events() if "share" in e]
    assert len(events) == 3 and len({event["arch"] for event in events}) == 3
    assert found["arch_id"] in {event["arch"] for event in events}
    assert found["flops"] <= 800_000 and not (tmp_path / "run/evaluations").exists()


def test_the_model_has_the_last_word(tmp_path, monkeypatch, trained_at_once):
    """Whatever the losses say: a lucky training does not decide."""
    told = []
    tell = ThompsonSampler.tell
    monkeypatch.setattr(
        ThompsonSampler,
        "tell",
        lambda self, arch, loss: (told.append(arch), tell(self, arch, loss)),
    )
    monkeypatch.setattr(
        ThompsonSampler, "choose", lambda self: max(told, key=loss_of) if told else None
    )
    found = run(tmp_path / "run", finalists=4, seed=0)
    assert len({loss_of(arch) for arch in told}) > 1
    assert found["arch_id"] == max(told, key=loss_of).id


def test_the_first_finalist_is_what_the_supernet_would_choose(tmp_path, trained_at_once):
    alone = run(tmp_path / "alone", finalists=0)
    run(tmp_path / "run")
    trials = [event for event in Run.open(tmp_path / "run").events() if "trial" in event]
    assert trials[0]["arch"] == alone["arch_id"]


@pytest.mark.slow
def test_stopped_between_finalists_and_resumed_equals_unbroken(
    tmp_path, monkeypatch, trained_at_once
):
    run(tmp_path / "whole")
    original = Run.log

    def stopping(self, **event):
        original(self, **event)
        if event.get("trial") == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken")
    asking.resume(tmp_path / "broken")
    for file in ("arch.json", "metrics.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "space, budget, options",
    [
        ("sandglass-micro", "0.8M", {"steps": 1, "finalists": 4}),
        # So few archs that some are asked for again.
        ("toy", "49000:100M", {"strategy": "thompson", "evaluations": 9}),
    ],
)
def test_a_resumed_search_costs_no_less_and_counts_nothing_twice(
    space, budget, options, tmp_path, monkeypatch
):
    trial = 0.4  # CPU seconds

    def evaluate(self, arch):
        start = time.process_time()
        while time.process_time() - start < trial:
            pass
        return {"architecture_loss_nats": 1 + int(arch.id, 16) / 16**10}

    monkeypatch.setattr(Train, "evaluate", evaluate)
    original, spent = Run.log, []

    def stopping(self, **event):
        original(self, **event)
        if event.get("trial") == 2:
            spent.append(self.clock.spent[1])
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", stopping)
        with pytest.raises(KeyboardInterrupt):
            folder = tmp_path / "broken"
            asking.search(space, budget, data="digits", processes=1, out=folder, **options)
    start = time.process_time()
    result = asking.resume(tmp_path / "broken")
    here = time.process_time() - start
    assert abs(result["cpu_seconds"] - here - spent[0]) < trial / 2  # none twice, and none lost


def test_a_finalist_is_trained_for_the_recipe_and_not_for_the_steps_of_the_supernet(
    tmp_path, monkeypatch
):
    seen = []

    def evaluate(self, arch):
        seen.append(self.steps)
        return {"architecture_loss_nats": 1.0}

    monkeypatch.setattr(Train, "evaluate", evaluate)
    run(tmp_path / "run", finalists=1)
    assert seen == [None]


@pytest.mark.parametrize(
    "strategy, options, words",
    [
        ("gumbel", {"finalists": -1}, "finalists at least 0"),
        ("evolution", {"finalists": 2}, "unknown option of evolution"),
        ("thompson", {"finalists": None, "strategy_options": {"temperature": -1.0}}, "temperature"),
    ],
)
def test_what_makes_no_sense_is_refused(strategy, options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "run", strategy, **options)
    assert not (tmp_path / "run").exists()


def told(sampler, count, loss=loss_of):
    archs = [sampler.ask()]
    for _ in range(count - 1):
        sampler.tell(archs[-1], loss(archs[-1]))
        archs.append(sampler.ask())
    sampler.tell(archs[-1], loss(archs[-1]))
    return archs


def test_a_few_losses_teach_which_choices_matter():
    archs = told(Thompson().sampler(SPACE, BUDGET, 0), 12)
    best = min(map(loss_of, archs))
    drawn = sample(SPACE, 1000, 0, band_of(SPACE, BUDGET).bounds)
    names = ("stage1.block1.first_kernel", "stem.width")
    kernels, stems = (np.array(SPACE.choices()[n].candidates)[drawn[n]] for n in names)
    losses = 0.1 * kernels - stems / 100
    assert best == pytest.approx(losses.min())  # 0.14, of one random arch in six
    assert np.mean([loss_of(arch) for arch in archs[-4:]]) < losses.mean() - 0.5 * losses.std()


def test_searches_on_the_table_beat_random_ones():
    from nastk.benchmarks.strategies import curve

    regrets = [curve(Thompson(evaluations=12), load_table(), seed)[-1] for seed in range(4)]
    assert np.mean(regrets) < 0.2  # random: 0.25 after 12 evaluations


def test_a_learned_score_that_the_losses_follow_is_believed():
    score = Polynomial.of("stage3.width", [0.0, 1.0, 2.0]) + Polynomial.of("stem.width", [1.0, 0.0])
    learned = Learned(arch=best_arch(SPACE, score, BUDGET), score=score)

    def value(arch):
        one = {name: np.array([i]) for name, i in SPACE.indices(arch.choices).items()}
        return float(score.evaluate(one)[0])

    archs = told(
        Thompson().sampler(SPACE, BUDGET, 0, learned), 10, lambda arch: math.exp(-value(arch))
    )
    assert np.mean([value(arch) for arch in archs[-3:]]) > 2.5  # of 3 at most, random 1.5


def test_one_lucky_training_does_not_decide():
    model = LinearModel(SPACE, BUDGET, [], 0)
    good = SPACE.arch_at(dict.fromkeys(SPACE.choices(), 0))
    archs = [good, SPACE.arch_at({**SPACE.indices(good), "stage3.width": 1})]
    archs += [SPACE.arch_at({**SPACE.indices(a), "stage2.width": i}) for a in archs for i in (1, 2)]
    losses = [0.0 if arch.choices["stage3.width"] == 48 else 1.0 for arch in archs]
    losses[1] = -0.2  # though wider archs do badly
    assert np.argmin(losses) == 1 and np.argmin(model.smoothed(archs, losses)) != 1


def test_archs_that_all_diverge_teach_nothing():
    sampler = Thompson().sampler(SPACE, BUDGET, 0)
    archs = told(sampler, 3, lambda arch: math.inf)
    assert len({arch.id for arch in archs}) == 3 and sampler.choose() == archs[0]


@pytest.mark.parametrize("noise, likeliest", [(0.05, 0.3), (3.0, 0.84)])
def test_the_noise_of_a_training_is_estimated(noise, likeliest):
    """Losses that follow single candidates exactly, and losses that follow nothing."""
    generator = np.random.default_rng(0)
    archs = sample_archs(SPACE, 60, 0)
    effects = {name: generator.normal(size=8) for name in SPACE.choices()}
    losses = [
        sum(effects[n][i] for n, i in SPACE.indices(arch.choices).items())
        + noise * len(effects) ** 0.5 * generator.normal()
        for arch in archs
    ]
    model = LinearModel(SPACE, BUDGET, [], 0, Prior(estimates_noise=True))
    assert model._noise(*model._centred(archs, losses)) == pytest.approx(likeliest)
    assert LinearModel(SPACE, BUDGET, [], 0)._noise(*model._centred(archs, losses)) == 0.6
