"""The curves over equal cost: what is drawn, what is chosen, and what a difference is worth."""

import dataclasses
import itertools
import json
import statistics

import nastk
import pytest
from nastk.benchmarks import curves
from nastk.benchmarks.curves import Setting
from nastk.benchmarks.equal_cost import best_of, chosen, difference, random_curve
from nastk.comparison.jobs import train_all
from nastk.search_spaces import SPACES
from nastk.strategies import STRATEGIES


def test_the_best_of_several_is_the_mean_over_all_draws():
    told, losses = [0.3, 0.1, 0.2], [5.0, 7.0, 6.0]
    draws = itertools.product(range(3), repeat=2)
    mean = statistics.mean(losses[min(draw, key=told.__getitem__)] for draw in draws)
    assert best_of(2, told, losses) == pytest.approx(mean)
    assert best_of(1, told, losses) == pytest.approx(6.0)
    assert best_of(1000, told, losses) == pytest.approx(7.0)  # told well, though not good


def test_random_search_gets_better_with_what_it_may_spend():
    told = [0.1 * i for i in range(20)]
    (few, error), (many, _) = random_curve(told, told, [2, 16])
    assert many < few and 0 < error < few


def test_a_search_chooses_within_its_cost():
    points = [{"trainings": cost, "choices": {"k": cost}} for cost in (3.1, 3.9, 4.2)]
    assert chosen(points, 3.0) is None
    assert chosen(points, 4) == {"k": 3.9}
    assert chosen(points, 16) == {"k": 4.2}


def test_a_difference_carries_the_errors_of_both():
    middle, low, high = difference([1.0, 2.0, 3.0], 1.5, 0.0)
    assert middle == pytest.approx(0.5)
    assert high - middle == pytest.approx(4.3027 / 3**0.5, rel=1e-4) == middle - low
    assert difference([1.0, 2.0, 3.0], 1.5, 1.0)[2] > high


def test_a_training_of_an_arch_is_done_and_found_again(tmp_path):
    setting = Setting(space="toy", flops="90%", data="digits", folder=tmp_path)
    space = SPACES["toy"]()
    arch = space.arch_at(dict.fromkeys(space.choices(), 0))
    job = dataclasses.replace(setting.job(arch, 0), steps=1)
    trained = train_all([job], tmp_path, lambda event: None)[job.key]
    assert trained.metrics["test_loss_nats"] > 0
    assert train_all([job], tmp_path, lambda event: None)[job.key].metrics == trained.metrics


def test_a_search_is_recorded_with_its_cost_and_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "time_training", lambda setting: 2.0)
    setting = Setting(space="sandglass-micro", flops="0.8M", data="digits", folder=tmp_path)
    monkeypatch.setitem(curves.CONTENDERS, "thompson", ("evaluations", 1))

    def evaluate(self, arch):
        return {"architecture_loss_nats": 1.0}

    monkeypatch.setattr("nastk.evaluators.Train.evaluate", evaluate)
    points = curves.history(setting, "thompson", 0, 1)
    assert len(points) == 3  # before the first training, and after each
    costs = [point["trainings"] for point in points]
    assert costs == sorted(costs) and all(p["cpu_seconds"] == 2 * p["trainings"] for p in points)
    monkeypatch.setattr(nastk, "search", None)
    assert curves.history(setting, "thompson", 0, 1) == points
    (file,) = (tmp_path / "searches").iterdir()
    assert json.loads(file.read_text()) == points


def test_every_contender_is_a_strategy():
    assert set(curves.CONTENDERS) <= set(STRATEGIES)
