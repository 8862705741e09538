"""Searches that public tables judge: one command, resumed and repeated, and its mistakes."""

import json
from itertools import product

import numpy as np
import pytest
from nastk.benchmarks.referee import bench_public
from nastk.commands.app import app
from nastk.core.run import Run
from nastk.search_spaces import NasBenchMacro
from typer.testing import CliRunner

ALONE = {"proxies": [], "told": []}


@pytest.fixture(scope="module")
def macro(tmp_path_factory):
    """A file of the format of NAS-Bench-Macro, accuracies made up."""
    space = NasBenchMacro()
    rows = np.array(list(product(range(3), repeat=8)))
    indices = dict(zip(space.num_candidates, rows.T, strict=True))
    flops, params = space.cost.flops.evaluate(indices), space.cost.params.evaluate(indices)
    content = {
        "".join(map(str, row)): {
            "test_acc": [60.0 + float(row.sum())],
            "flops": int(flops[number]),
            "params": int(params[number]),
        }
        for number, row in enumerate(rows)
    }
    path = tmp_path_factory.mktemp("macro") / "macro.json"
    path.write_text(json.dumps(content))
    return path


def by_name(result):
    return {row["name"]: row for row in result["tables"][0]["rows"]}


@pytest.mark.slow
def test_one_search_serves_all_budgets_and_is_not_repeated(macro, tmp_path):
    asked = {"macro": macro, "seeds": 1, "steps": 12, "out": tmp_path / "runs", **ALONE}
    result = bench_public(**asked)
    runs = list((tmp_path / "runs").rglob("result.json"))
    assert len(runs) == 1
    row = by_name(result)["meta_kernel"]
    assert list(row["budgets"]) == ["30%", "40%", "50%", "60%", "80%"]
    assert all(0 <= budget["lost"] <= 16 for budget in row["budgets"].values())
    assert row["cpu_seconds"] == json.loads(runs[0].read_text())["cpu_seconds"]
    space, run = NasBenchMacro(), Run.open(runs[0].parent)
    accuracy = 60 + sum(space.indices(run.arch).values())
    assert row["budgets"]["30%"]["accuracy"] == accuracy
    assert by_name(result)["its losses of training steps"]["kind"] == "part"
    events = []
    again = bench_public(**asked, report=events.append)
    assert not events and by_name(again)["meta_kernel"] == row


@pytest.mark.slow
def test_a_search_that_was_interrupted_goes_on(macro, tmp_path):
    asked = {"macro": macro, "seeds": 1, "steps": 12, "flops": ["40%"], **ALONE}

    def stop(event):
        if event.get("step") == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_public(**asked, out=tmp_path / "a", report=stop)
    assert not list((tmp_path / "a").rglob("result.json"))
    resumed = by_name(bench_public(**asked, out=tmp_path / "a"))["meta_kernel"]
    whole = by_name(bench_public(**asked, out=tmp_path / "b"))["meta_kernel"]
    assert resumed["budgets"] == whole["budgets"] and resumed["tau_all"] == whole["tau_all"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--macro FILE, --nb201 FILE"),
        (["--nb201", "nowhere.csv"], "nowhere.csv"),
        (["--nb201", "n.csv", "--strategies", "evolution"], "it belongs to --told"),
        (["--nb201", "n.csv", "--told", "halving"], "shorter trainings"),
        (["--nb201", "n.csv", "--told", "gumbel"], "cannot be told results"),
        (["--nb201", "n.csv", "--proxies", "naswott"], "did you mean 'naswot'"),
        (["--nb201", "n.csv", "--strategies", "meta_kernle"], "did you mean 'meta_kernel'"),
        (["--nb201", "n.csv", "--set", "logits.warmup=0"], "--strategies does not name"),
        (["--nb201", "n.csv", "--set", "archz=0"], "did you mean 'archs'"),
        (["--nb201", "n.csv", "--seeds", "0"], "at least 1 and at most 1,000,000 of --seeds"),
        (["--nb201", "n.csv", "--data", "digitz"], "did you mean 'digits'"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["bench", "public", *arguments])
    assert isinstance(result.exception, ValueError) and words in str(result.exception)
    assert "\n" not in str(result.exception) and not list(tmp_path.iterdir())
