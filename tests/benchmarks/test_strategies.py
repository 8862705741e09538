"""Searches on the table: what a row of the benchmark means, and that it is the same every time."""

import itertools
import json

import numpy as np
import pytest
from nastk.benchmarks import side_by_side
from nastk.benchmarks.strategies import (
    NoisyTable,
    as_text,
    bench_strategies,
    contenders,
    curve,
    open_table,
    search,
)
from nastk.benchmarks.tables import markdown
from nastk.commands.app import app
from nastk.commands.errors import code_of
from nastk.nasbench.table import load_table
from nastk.strategies import STRATEGIES
from typer.testing import CliRunner

KEYS = ["strategy", "seeds", "evaluations", "regret", "random_regret", "p_value"]


def test_one_row_a_strategy_and_the_same_ones_again(tmp_path, command):
    words = ["bench", "strategies", "--seeds", "3", "--evaluations", "10", "--json"]
    done = command(*words, cwd=tmp_path)
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
        ({"seeds": 10**30}, "at most 1,000,000 of each"),
        ({"evaluations": 10**30}, "at most 1,000,000 of each"),
        ({"evaluations": 0}, "1 of --evaluations"),
        ({"table": "mbconv"}, "did you mean 'mbconv-micro'"),
        ({"space": "toy"}, "add --table FILE"),
        ({"flops": "100%"}, "a table of your own with its --space"),
        ({"table": "t.csv", "space": "toi"}, "did you mean 'toy'"),
        ({"table": "t.csv", "space": "toy"}, "no file t.csv"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        bench_strategies(**options)


MY_SPACE = """
from dataclasses import dataclass
import nastk
from nastk.ops import ConvNormAct, batch_norm, conv2d, linear
from nastk.search_spaces.blocks import Head
from torch import nn

print("imported")

@dataclass(frozen=True, kw_only=True)
class Mine(nastk.Space):
    resolution: int = 8
    num_classes: int = 3

    def network(self, choose):
        layers, channels = [], 3
        for number in range(3):
            width = choose(f"width{number}", (4, 6, 8, 10))
            kernel = choose(f"kernel{number}", (1, 3))
            conv = conv2d(channels, width, kernel)
            layers.append(ConvNormAct(conv, batch_norm(width), nn.ReLU()))
            channels = width
        return nn.Sequential(*layers, Head(linear(channels, self.num_classes)))
"""


@pytest.fixture
def mine(tmp_path):
    """A space of a user's of 512 archs, and a table: wide is good, a kernel of 3 better."""
    file, table = tmp_path / "my_space.py", tmp_path / "mine.csv"
    file.write_text(MY_SPACE)
    names = [f"{what}{number}" for number in range(3) for what in ("width", "kernel")]
    lines = [",".join([*names, "accuracy_a", "accuracy_b"])]
    generator = np.random.default_rng(0)
    for values in itertools.product(*[(4, 6, 8, 10), (1, 3)] * 3):
        accuracy = 40 + sum(values[::2]) + 3 * sum(values[1::2]) + generator.normal(0, 0.3, 2)
        lines.append(",".join(map(str, [*values, *accuracy])))
    table.write_text("\n".join(lines))
    return file, table


def test_strategies_race_on_a_table_of_ones_own(mine, tmp_path):
    file, table = mine
    own = {"table": str(table), "space": f"{file}:Mine", "seeds": 4, "evaluations": 12}
    result = bench_strategies(**own)
    rows = {row["strategy"]: row for row in result["rows"]}
    assert set(rows) == set(contenders(12, nni=False)) - {"halving"}
    assert rows["local"]["regret"] < rows["random"]["regret"] < 0.2
    assert result["table"]["archs"] == 512 and len(result["table"]["sha256"]) == 64
    text = markdown(as_text(result))
    assert "- left out: halving, which asks for shorter trainings" in text
    assert "are read as per cent: the loss is 1 - accuracy / 100" in text
    assert "2 trainings an arch: a search is told one of them" in text
    assert sorted(tmp_path.iterdir()) == [table, file]


def test_the_command_prints_the_rows_of_a_table_of_ones_own(mine):
    file, table = mine
    own = ["--table", str(table), "--space", f"{file}:Mine", "--seeds", "2", "--evaluations", "3"]
    done = CliRunner().invoke(app, ["bench", "strategies", *own, "--flops", "0:100%", "--json"])
    assert done.exit_code == 0 and done.stderr == "imported\n"
    rows = json.loads(done.stdout)
    assert {"random", "local", "evolution"} <= {row["strategy"] for row in rows}
    assert all(list(row)[: len(KEYS)] == KEYS for row in rows)


def test_a_budget_is_raced_in_its_band_alone(mine):
    file, table = mine
    space = f"{file}:Mine"
    found, whole = open_table(str(table), space, "30%"), open_table(str(table), space)
    low = round(0.9 * found.budget.high)
    assert found.budget.high < whole.budget.high and found.budget.low is None
    assert 20 < len(found.regret) < len(whole.regret) and found.regret.min() == 0
    sampler = STRATEGIES["random"](evaluations=40).sampler(found.space, found.budget, 0)
    asked = [sampler.ask() for _ in range(len(found.regret))]
    assert sorted(map(found.position, asked)) == list(range(len(found.regret)))
    flops = [found.space.cost.count(found.space.indices(arch))["flops"] for arch in asked]
    assert max(flops) <= found.budget.high and (min(flops) >= low or len(flops) == 200)


def test_few_archs_and_short_races_are_said_to_tell_little(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("kernel,width,loss\n3,8,4\n5,8,3\n3,16,2\n5,16,1\n")
    result = bench_strategies(seeds=2, evaluations=4, table=str(table), space="toy")
    assert "a search of 4 evaluations sees all 4 archs" in "\n".join(result["notes"])
    assert all(row["regret"] == 0 for row in result["rows"])


def test_one_evaluation_leaves_halving_nothing_shorter_to_ask(mine):
    file, table = mine
    result = bench_strategies(seeds=2, evaluations=1, table=str(table), space=f"{file}:Mine")
    assert "halving" in {row["strategy"] for row in result["rows"]}


def test_a_table_without_its_space_asks_for_it(mine, tmp_path):
    with pytest.raises(ValueError, match=r"of which space are the archs of .*add --space FILE"):
        bench_strategies(table=str(mine[1]))
    listed = tmp_path / "t.json"
    listed.write_text('[{"choices": {}}]')
    with pytest.raises(ValueError, match=r"of which space are the archs of .*add --space FILE"):
        bench_strategies(table=str(listed))


def test_faults_of_a_table_end_in_one_line_and_exit_code_2(mine, capsys):
    file, table = mine
    table.write_text(table.read_text().replace("\n4,1,4,1,4,3,", "\n4,1,4,1,5,3,"))
    own = ["--table", str(table), "--space", f"{file}:Mine"]
    done = CliRunner().invoke(app, ["bench", "strategies", *own])
    assert done.exception is not None and not done.stdout
    assert code_of(done.exception) == 2
    assert capsys.readouterr().err == (
        f"nastk: line 3 of {table}: choice 'width2' has no candidate '5'; known: 4, 6, 8, 10\n"
    )


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
    """At the numbers of docs/tables.md; searches are deterministic, so the outcome is as well."""
    rows = {row["strategy"]: row for row in bench_strategies()["rows"]}
    for name in ("local", "evolution", "on_optuna"):
        assert rows[name]["p_value"] < 0.01, rows[name]
