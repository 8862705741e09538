"""Searches on the table: what a row of the benchmark means, and that it is the same every time."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from nastk.benchmarks import side_by_side
from nastk.benchmarks.strategies import NoisyTable, bench_strategies, contenders, curve, search
from nastk.nasbench.table import load_table
from nastk.strategies import STRATEGIES

NASTK = [sys.executable, "-m", "nastk"]
KEYS = ["strategy", "seeds", "evaluations", "regret", "random_regret", "p_value"]


def test_one_row_a_strategy_and_the_same_ones_again(tmp_path):
    command = [*NASTK, "bench", "strategies", "--seeds", "3", "--evaluations", "10", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    rows = json.loads(done.stdout)
    assert not list(tmp_path.iterdir()) and not done.stderr
    assert {row["strategy"] for row in rows} == set(contenders(10, nni=False))
    assert {"random", "local", "evolution", "halving"} <= {row["strategy"] for row in rows}
    regrets = [row["regret"] for row in rows]
    assert regrets == sorted(regrets) and min(regrets) >= 0
    random = next(row for row in rows if row["strategy"] == "random")
    for row in rows:
        assert list(row)[: len(KEYS)] == KEYS
        assert (row["seeds"], row["evaluations"]) == (3, 10)
        assert row["random_regret"] == random["regret"]
        assert (row["p_value"] is None) == (row is random)
        assert row["p_value"] is None or 0 < row["p_value"] <= 1
    assert rows == bench_strategies(seeds=3, evaluations=10)["rows"]


def test_an_arch_is_trained_once_and_noise_is_of_its_own_seeds():
    table = load_table()
    noisy = NoisyTable(table, seed=0)
    drawn = [noisy.loss(row, 1.0) for row in range(60)]
    assert drawn == [noisy.loss(row, 1.0) for row in range(60)]
    full = table.validation_loss[:60, :, -1]
    seeds = [int(np.argmin(abs(full[row] - loss))) for row, loss in enumerate(drawn)]
    assert set(seeds) == set(range(table.num_seeds))
    for row, seed in enumerate(seeds):  # less effort is the beginning of the same training
        losses = [noisy.loss(row, share) for share in (0.25, 0.5, 1.0)]
        assert losses == list(table.validation_loss[row, seed, [0, 1, 3]])
    assert drawn != [NoisyTable(table, seed=1).loss(row, 1.0) for row in range(60)]


@pytest.mark.parametrize("name", contenders(20, nni=False))
def test_a_search_spends_its_evaluations_and_no_more(name):
    table = load_table()
    strategy = STRATEGIES[name](evaluations=20)
    history = list(search(strategy, table, seed=4))
    spent = [cost for cost, _ in history]
    assert 19 <= spent[-1] <= 20 + 1e-9 and all(a < b for a, b in itertools.pairwise(spent))
    last = curve(strategy, table, seed=4)[-1]
    assert last == history[-1][1] and last in table.regret


def test_the_incumbent_is_the_arch_of_the_lowest_loss():
    """Its regret is measured by its test losses, which the search does not see."""
    table = load_table()
    history = list(search(STRATEGIES["random"](evaluations=40), table, seed=0))
    sampler = STRATEGIES["random"](evaluations=40).sampler(table.space, table.budget, 0)
    rows = [table.position(sampler.ask()) for _ in range(40)]
    noisy = NoisyTable(table, 0)
    losses = [noisy.loss(row, 1.0) for row in rows]
    for number, (spent, regret) in enumerate(history, 1):
        best = rows[int(np.argmin(losses[:number]))]
        mean = table.test_loss.mean(1)
        assert spent == number and regret == pytest.approx(mean[best] - mean.min())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"seeds": 1}, "at least 2 --seeds"),
        ({"evaluations": 0}, "1 of --evaluations"),
        ({"table": "sandglass"}, "did you mean 'sandglass-micro-tab'"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        bench_strategies(**options)


def test_nni_takes_part_on_request_only():
    added = set(contenders(10, nni=True, slow=False)) - set(contenders(10, nni=False))
    assert added == {"on_nni evolution", "on_nni tpe"}


def test_nni_and_optuna_are_measured_beside_evolution(monkeypatch):
    monkeypatch.setattr(side_by_side, "EVALUATIONS", 25)
    rows = {row["contender"]: row for row in side_by_side.on_table(seeds=1)}
    assert list(rows) == [*side_by_side.STRATEGIES, side_by_side.BY_ITSELF]
    assert all(row["CPU ms an evaluation"] > 0 for row in rows.values())
    assert all(row["regret at 25"] in load_table().regret for row in rows.values())


@pytest.mark.slow
def test_local_search_and_evolution_beat_random_search():
    """At the README's numbers; searches are deterministic, so the outcome is as well."""
    rows = {row["strategy"]: row for row in bench_strategies()["rows"]}
    for name in ("local", "evolution", "on_optuna"):
        assert rows[name]["p_value"] < 0.01, rows[name]
