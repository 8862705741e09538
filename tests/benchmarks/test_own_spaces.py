"""Searches on nastk's own spaces beside their rivals: costs that are equal, tests, and rows."""

import pytest
from nastk.benchmarks import own_spaces
from nastk.benchmarks.curves import Setting
from nastk.core.best import FREE
from nastk.search_spaces import Toy
from scipy.stats import t as student


def test_a_lower_loss_has_a_small_p_and_a_higher_one_a_large_p():
    low, high = [0.30, 0.31, 0.29], [0.40, 0.42, 0.41]
    told = own_spaces.beside(low, high)
    assert told["difference"] == pytest.approx(-0.11)
    # Two samples of three with variances of 0.0001 each: t = -0.11 / sqrt(2 * 0.0001 / 3), 4
    # degrees of freedom.
    assert told["p"] == pytest.approx(student.cdf(-0.11 / (2 * 0.0001 / 3) ** 0.5, 4))
    assert own_spaces.beside(high, low)["p"] > 0.99


@pytest.fixture
def setting(tmp_path, monkeypatch):
    """Trainings that end at once, with a loss that falls with the size of the kernel."""
    space = Toy()

    def train(self, archs, seeds, split="train"):
        trained.append((split, [arch.id for arch in archs], seeds))
        sizes = [space.cost.count(space.indices(arch))["params"] for arch in archs]
        return [[1000 / size + 0.001 * seed for seed in range(seeds)] for size in sizes]

    trained = []
    monkeypatch.setattr(Setting, "train", train)
    monkeypatch.setattr(Setting, "seconds", lambda self, archs, split: 2.0)
    monkeypatch.setattr(own_spaces, "time_training", lambda setting: 1.0)
    setting = Setting(space="toy", flops="0:55K", data="digits", folder=tmp_path)
    return setting, trained


def test_random_search_trains_for_what_the_dearest_search_costs(setting):
    setting, trained = setting
    result = own_spaces.measure(setting, ["random"], seeds=2, retrainings=3)
    cost = result["trainings"]["random"]
    chosen = [ids for split, ids, _ in trained if split == "weights"][1:]
    assert [len(ids) for ids in chosen] == [max(1, round(cost))] * 2
    assert result["best_rule"] in FREE and set(result["rules"]) <= set(FREE)
    assert all(len(losses) == 15 for losses in result["rules"].values())
    assert all(len(losses) == 2 for losses in result["strategies"].values())
    rows = own_spaces.rows_of(result)
    assert rows[0]["what"] == "random" and ", p " in rows[0]["against rule"]
    assert rows[0]["against random"].startswith(("+", "-"))
    again = own_spaces.measure(setting, ["random"], seeds=2, retrainings=3)
    assert again["trainings"] == result["trainings"]  # the searches are not done again
