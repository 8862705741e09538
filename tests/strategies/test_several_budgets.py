"""Searches under several budgets at once, from what is proposed to what a run says of it."""

import json
import math

import asking
import numpy as np
import pytest
import torch
from nastk.comparison.contestants import contestants
from nastk.core.band import band_of
from nastk.core.bounds import Bounds
from nastk.core.budget import Budget, parse_budget
from nastk.core.run import Run
from nastk.core.sampler import sample
from nastk.search_spaces import SPACES, SandglassMicro, SandglassMicroTab
from nastk.strategies import STRATEGIES, BlackBox
from nastk.strategies.budget_term import beyond
from nastk.workflows.report import report

SPACE = SandglassMicroTab()
TEXTS = {"flops": "106K", "params": "1800", "activations": "3K:6K"}
BUDGET = parse_budget(TEXTS, SPACE)
NAMES = [name for name, family in STRATEGIES.items() if issubclass(family, BlackBox)]


def keeps(space, arch, bounds):
    """Whether an arch keeps all bounds, by counts of its own."""
    counts = space.cost.count(space.indices(arch))
    return all(part.low <= counts[part.metric] <= part.high for part in bounds.parts)


def test_every_budget_of_these_tests_binds():
    drawn = sample(SPACE, 2000, 0)
    inside = {part: Bounds((part,)).allows(SPACE.cost, drawn) for part in BUDGET.bounds.parts}
    for part, kept in inside.items():
        others = np.all([other for key, other in inside.items() if key != part], axis=0)
        assert (others & ~kept).any()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_keeps_all_budgets(name):
    sampler = STRATEGIES[name](evaluations=20).sampler(SPACE, BUDGET, 0)
    bounds = band_of(SPACE, BUDGET).bounds
    for number in range(14):
        arch = sampler.ask()
        assert keeps(SPACE, arch, bounds)
        sampler.tell(arch, math.sin(number))


def test_samplers_of_optuna_are_told_of_what_keeps_all_bounds_alone():
    optuna = pytest.importorskip("optuna")
    sampler = STRATEGIES["on_optuna"]().sampler(SPACE, BUDGET, 0)
    for number in range(12):
        sampler.tell(sampler.ask(), float(number))
    first = {name: choice.candidates[0] for name, choice in SPACE.choices().items()}
    bounds = band_of(SPACE, BUDGET).bounds
    states = optuna.trial.TrialState
    told, failed = (
        [SPACE.arch(first | t.params) for t in sampler.study.get_trials(states=(state,))]
        for state in (states.COMPLETE, states.FAIL)
    )
    assert len(told) == 12 and all(keeps(SPACE, arch, bounds) for arch in told)
    outside = [arch for arch in failed if not keeps(SPACE, arch, bounds)]
    assert outside and all(arch in told for arch in failed if arch not in outside)


def test_an_exported_space_of_nni_refuses_what_breaks_one_of_several_bounds():
    pytest.importorskip("nni")
    from nastk.strategies.on_nni import to_nni

    exported, bounds = to_nni(SPACE, BUDGET), band_of(SPACE, BUDGET).bounds
    drawn = sample(SPACE, 60, 1)
    seen = set()
    for number in range(60):
        arch = SPACE.arch_at({name: int(column[number]) for name, column in drawn.items()})
        seen.add(is_kept := keeps(SPACE, arch, bounds))
        assert exported.contains(dict(arch.choices)) is is_kept
    inside = sample(SPACE, 1, 0, bounds)
    arch = SPACE.arch_at({name: int(column[0]) for name, column in inside.items()})
    assert exported.contains(dict(arch.choices)) is True and False in seen


def test_only_costs_outside_of_their_bounds_press_on_the_logits():
    expected = torch.tensor([50.0, 100.0, 300.0], requires_grad=True)
    ways = torch.stack([beyond(value, 75, 150) for value in expected])
    assert torch.allclose(ways, torch.tensor([math.log(1.5), 0.0, math.log(2.0)]))
    ways.sum().backward()
    assert expected.grad[0] < 0 == expected.grad[1] < expected.grad[2]
    assert beyond(expected[0], 0, 150) == 0


@pytest.mark.parametrize("name", ["meta_kernel", "gumbel", "single_path"])
def test_a_supernet_finds_an_arch_that_keeps_all_budgets(name, tmp_path):
    options = {"strategy": name, "steps": 3, "data": "digits", "batch_size": 4, "quiet": True}
    options |= {"evaluations": 8} if name == "single_path" else {}
    said = []
    found = asking.search(
        SPACE.name,
        params="1800",
        activations="3K:6K",
        flops=106_000,
        out=tmp_path / "run",
        report=said.append,
        **options,
    )
    assert keeps(SPACE, found.arch, band_of(SPACE, BUDGET).bounds)
    lines = [event["say"] for event in said if event.get("phase") == "band"]
    assert "FLOPs and 0 to 1,800 params and 3,000 to 6,000 activations" in lines[0]
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["budgets"] == found["budgets"] == BUDGET.to_json()
    assert found["budgets"][2] == {"metric": "activations", "low": 3000, "high": 6000}
    assert (manifest["flops"], manifest["params"]) == ("106000", "1800")
    assert found["bands"] == band_of(SPACE, BUDGET).bounds.to_json()
    assert found["budget_flops"] == 106_000 and found["band"][1] == 106_000


def test_a_search_without_a_budget_of_flops_is_reported(tmp_path):
    options = {"strategy": "random", "data": "digits", "quiet": True}
    found = asking.search(SPACE.name, params=Budget(1500, 1900), out=tmp_path / "run", **options)
    assert 1500 <= found["params"] <= 1900
    assert found["budget_flops"] is None and found["band"] is None
    asking.resume(tmp_path / "run", quiet=True)
    (run,) = report([tmp_path / "run"])["runs"]
    assert run["budget"] is None
    assert run["budgets"] == [{"metric": "params", "low": 1500, "high": 1900}]
    text = (tmp_path / "run/report.html").read_text()
    assert "1,900 params at most, 1,500 at least" in text
    assert "archs of 1,500 to 1,900 params" in text
    assert "--params 1500:1900" in run["commands"][0] and "--flops" not in run["commands"][0]


def test_a_supernet_searches_by_params_alone(tmp_path):
    options = {"steps": 3, "data": "digits", "batch_size": 4, "quiet": True}
    found = asking.search(SPACE.name, params="60%", out=tmp_path / "run", **options)
    low, high = (found["bands"][0][end] for end in ("low", "high"))
    assert low <= found["params"] <= high and low >= 0.89 * high


def test_rivals_of_the_found_arch_keep_all_budgets():
    band = band_of(SPACE, BUDGET).bounds
    inside = sample(SPACE, 1, 0, band)
    arch = SPACE.arch_at({name: int(column[0]) for name, column in inside.items()})
    given = {"family": SPACE.name, "target": SPACE, "proxy": SPACE, "arch": arch}
    rivals = contestants(**given, budget=BUDGET, num_random=20, seed=0, with_references=False)
    rules = {"most-params", "most-flops", "most-activations"}
    kinds = {rival.kind for rival in rivals}
    assert {"found", "most-params", "random"} <= kinds <= {"found", "random", *rules}
    assert all(keeps(SPACE, SPACE.arch(rival.choices), band) for rival in rivals)


@pytest.mark.slow
def test_references_near_the_budget_are_inside_only_if_they_keep_all():
    space = SPACES["sandglass"]()
    given = {"family": space.name, "target": space, "proxy": space, "arch": space.uniform()}
    given |= {"num_random": 0, "seed": 0}
    budget = Budget.joined([Budget(None, 357_000_000), Budget(None, 3_300_000, "params")])
    near = [rival for rival in contestants(**given, budget=budget) if rival.kind == "reference"]
    kept = {rival.name: rival.flops <= budget.high and rival.params <= 3_300_000 for rival in near}
    assert {rival.name: rival.inside_budget for rival in near} == kept
    assert any(rival.flops <= budget.high and not kept[rival.name] for rival in near)


def test_a_run_of_version_0_1_resumes_bit_equal(tmp_path, monkeypatch):
    """Its manifest holds one pair of FLOPs as budget, and one as band."""
    options = {"steps": 4, "data": "digits", "batch_size": 4, "quiet": True}
    name, original = SandglassMicro.name, Run.log
    asking.search(name, "0.8M", out=tmp_path / "whole", **options)

    def stop_after_two(self, **event):
        original(self, **event)
        if event["step"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        asking.search(name, "0.8M", out=tmp_path / "run", **options)
    monkeypatch.undo()
    path = tmp_path / "run/manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("budgets") == [{"metric": "flops", "low": None, "high": 800_000}]
    manifest.pop("bands")
    path.write_text(json.dumps(manifest | {"budget": [None, 800_000], "band": [720_000, 800_000]}))
    asking.resume(tmp_path / "run", quiet=True)
    whole, run = ((tmp_path / name / "arch.json").read_bytes() for name in ("whole", "run"))
    assert whole == run
    kept = [
        [{k: v for k, v in event.items() if k != "seconds"} for event in Run.open(path).events()]
        for path in (tmp_path / "whole", tmp_path / "run")
    ]
    assert kept[0] == kept[1]


def test_a_cost_is_bounded_once():
    with pytest.raises(ValueError, match="one budget of each cost"):
        asking.search("toy", BUDGET, params="5")
    with pytest.raises(ValueError, match="one budget of each cost"):
        asking.search("toy", Budget(1, 5, "params"))
