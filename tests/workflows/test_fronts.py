"""One search serves several budgets."""

import json

import asking
import nastk
import pytest
from nastk.comparison.contestants import contestants
from nastk.core.arch import Arch
from nastk.core.budget import Budget, InfeasibleBudgetError, recorded_budget
from nastk.core.run import Run
from nastk.records.front import front_choices, read_front
from nastk.search_spaces import SandglassMicro
from nastk.strategies.reading import read_ranking
from nastk.workflows import fronts

SPACE = SandglassMicro()
OPTIONS = {"data": "digits", "steps": 12, "strategy_options": {"archs": 8, "untrained": 8}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front") / "run"
    asking.search("sandglass-micro", ["0.8M", "40%", 500_000], out=folder, **OPTIONS)
    return folder


def best_of(run, budget):
    ranking = read_ranking(SPACE, Run.open(run).events(), 0)
    return fronts.best_arch(SPACE, ranking.polynomial, budget)


def test_the_best_arch_of_every_budget_is_found_exactly(run):
    rows = read_front(Run.open(run))
    highs = [row.budgets[0].high for row in rows]
    assert highs == sorted(highs) and {500_000, 800_000} < set(highs)
    for row in rows:
        arch = Arch.from_json((run / row.file).read_text())
        assert row.flops == SPACE.cost.count(SPACE.indices(arch))["flops"] <= row.budgets[0].high
        assert row.arch_id == arch.id == best_of(run, Budget(None, row.budgets[0].high)).id
    assert Run.open(run).arch.id == rows[-1].arch_id  # the run's own is the largest budget


def test_the_report_shows_the_network_of_every_budget(run, tmp_path):
    (told,) = nastk.report([run], out=tmp_path / "page.html")["runs"]
    rows = read_front(Run.open(run))
    assert [row["arch_id"] for row in told["front"]] == [row.arch_id for row in rows]
    page = (tmp_path / "page.html").read_text()
    assert "The best network of every budget" in page and "Score against FLOPs" in page
    for row in rows:
        assert f"<code>{row.arch_id}</code>" in page and f"{row.score:+.2f}" in page
        assert f"{row.budgets[0].high:,} FLOPs" in page
    assert page.count('class="dot front"') == len(rows) + 1  # the legend has one too


def test_a_further_budget_needs_no_further_training(run):
    before = (run / "metrics.jsonl").read_bytes()
    found = asking.resume(run, flops="0.6M", params="20K")
    assert (run / "metrics.jsonl").read_bytes() == before
    (row,) = [row for row in found["front"] if len(row["budgets"]) == 2]
    assert row["flops"] <= 600_000 and row["params"] <= 20_000
    assert json.loads((run / "front.json").read_text())["rows"] == found["front"]
    again = asking.resume(run, flops="0.6M", params="20K")
    assert again["front"] == found["front"]


def test_a_front_spreads_its_budgets_up_to_the_largest(tmp_path):
    found = asking.search("sandglass-micro", front=3, out=tmp_path / "run", **OPTIONS)
    smallest, largest = fronts.cost_range(SPACE, "flops")
    room = found["budget_flops"] - smallest
    assert found["budget_flops"] == int(0.9 * largest)
    highs = [row["budgets"][0]["high"] for row in found["front"]]
    assert highs == [smallest + room // 3, smallest + room * 2 // 3, found["budget_flops"]]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"front": 1}, "at least 2 budgets"),
        ({"front": 3, "flops": "0.5M,0.8M"}, "leave one out"),
        ({"flops": "0.5M,0.8M", "params": "10K,20K"}, "only one cost"),
        ({"flops": "0.5M,0.8M", "strategy": "random"}, "one budget at a time"),
        ({"flops": ","}, "not a budget"),
    ],
)
def test_what_is_no_front_is_refused_before_anything_is_written(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        asking.search("sandglass-micro", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_budget_that_no_arch_keeps_is_refused_before_the_search(tmp_path):
    with pytest.raises(InfeasibleBudgetError, match="100 FLOPs"):
        asking.search("sandglass-micro", "100,0.8M", out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_search_without_a_ranking_serves_no_further_budget(tmp_path):
    asking.search("toy", "55K", strategy="random", out=tmp_path / "run")
    with pytest.raises(ValueError, match="no ranking that serves other budgets"):
        asking.resume(tmp_path / "run", flops="52K")


def test_a_comparison_takes_the_archs_of_other_budgets_too(run):
    opened = Run.open(run)
    entrants = contestants(
        family="sandglass-micro",
        target=SPACE,
        proxy=SPACE,
        arch=opened.arch,
        budget=recorded_budget(opened.manifest),
        num_random=1,
        seed=0,
        with_references=False,
        front=front_choices(opened),
    )
    kinds = [entrant.kind for entrant in entrants]
    others = [row for row in read_front(opened) if row.arch_id != opened.arch.id]
    rules = ["most-params", "most-flops", "most-activations"]
    assert kinds == ["found", *["front"] * len(others), *rules, "random"] and others
    assert [e.flops for e in entrants if e.kind == "front"] == [row.flops for row in others]
