"""Evidence behind a search: what is trained, that it resumes, and what it says."""

import json

import asking
import pytest
from nastk import resume
from nastk.commands.app import app
from nastk.commands.screen import print_evidence
from nastk.core.best import FREE
from nastk.core.run import Run, write_json
from nastk.workflows import evidence
from nastk.workflows.evidence import LEVELS, Level
from nastk.workflows.report import report
from typer.main import get_command


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Keep the trainings few and short."""
    levels = {
        "quick": Level(num_random=4, seeds=1, share=0.02),
        "full": Level(num_random=5, seeds=2, share=0.02),
    }
    monkeypatch.setattr(evidence, "LEVELS", levels)


SPACE = """
from dataclasses import dataclass
from torch import nn
import nastk
from nastk.ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear


@dataclass(frozen=True, kw_only=True)
class Small(nastk.Space):
    resolution: int = 12
    num_classes: int = 10

    def network(self, choose):
        steps = [ConvNormAct(conv2d(3, 8, 3, stride=2), batch_norm(8), nn.ReLU())]
        for number in (1, 2, 3):
            width = choose(f"block{number}.width", (8, 12, 16))
            kernel = choose(f"block{number}.kernel", (3, 5))
            steps.append(ConvNormAct(depthwise_conv2d(8, kernel), batch_norm(8), nn.ReLU()))
            steps.append(ConvNormAct(conv2d(8, width, 1), batch_norm(width), nn.ReLU()))
            steps.append(ConvNormAct(conv2d(width, 8, 1), batch_norm(8)))
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(8, self.num_classes))
        return nn.Sequential(*steps, *head)
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    file = tmp_path_factory.mktemp("space") / "my space.py"
    file.write_text(SPACE)
    return f"{file}:Small"


@pytest.fixture
def search(space):
    """A search of three steps in a space of the user's own."""

    def run(folder, **options):
        options = {"data": "digits", "seed": 1, "steps": 3, **options}
        return asking.search(space, "80%", out=folder, **options)

    return run


def timeless(made):
    """Evidence without what it cost, which differs from time to time."""
    rows = [{key: v for key, v in row.items() if key != "seconds"} for row in made["rows"]]
    odd = {"cpu_seconds", "device_seconds", "training_seconds"}
    odd |= {"inherited_seconds", "share_percent", "verdict"}
    return rows, {key: v for key, v in made.items() if key not in odd | {"rows"}}


def test_the_levels_are_what_the_help_says():
    option = next(p for p in get_command(app).commands["search"].params if p.name == "evidence")
    quick, full = LEVELS["quick"], LEVELS["full"]
    assert quick.seeds == 1 and f"{quick.num_random} random ones for a quarter" in option.help
    trainings = (quick.num_random + 1 + len(FREE)) * quick.share
    assert quick.share == 0.25 and f"the cost of {trainings:.1f} trainings" in option.help
    assert f"full {full.num_random} random ones, whole recipe, {full.seeds} seeds" in option.help
    assert full.share == 1 and f"{(full.num_random + 1 + len(FREE)) * full.seeds} " in option.help


def test_a_search_with_evidence_ranks_and_judges_and_resumes(search, tmp_path, monkeypatch, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken run"
    found = search(whole, evidence="quick")["evidence"]
    kinds = [row["kind"] for row in found["rows"]]
    assert kinds == ["found", *(rule for rule in FREE if rule in kinds), *["random"] * 4]
    assert set(found["ranking"]["taus"]) == {"inherited", "learned", "params", "flops"}
    assert found["verdict"]["sentence"] and found["share_percent"] > 0
    assert found["rows"][0]["scores"]["learned"] == max(
        row["scores"]["learned"] for row in found["rows"]
    )
    assert json.loads((whole / "evidence.json").read_text()) == found

    def stop(event):
        if (event["phase"], event["step"]) == ("train", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(broken, evidence="quick", report=stop)
    assert (broken / "result.json").is_file() and not (broken / "evidence.json").exists()
    assert len(list(broken.glob("trainings/*/result.json"))) == 3
    again = resume(broken)["evidence"]  # the run remembers that it was asked for evidence
    assert timeless(again) == timeless(found)
    print_evidence(again)
    said = capsys.readouterr().out
    assert again["verdict"]["sentence"] in said and "Kendall tau" in said and "inherited" in said
    spent = json.loads((broken / "result.json").read_text())["cpu_seconds"]
    paid = again["device_seconds"] + again["inherited_seconds"]
    assert f"together {100 * paid / spent:.0f} % of the search's cost" in said

    def fail(*_):
        raise AssertionError("evidence was gathered again")

    monkeypatch.setattr(evidence, "gather", fail)
    assert resume(broken, evidence="quick")["evidence"] == again
    page = open(report([broken])["html"]).read()
    assert "inherited: loss with the supernet&#x27;s weights" in page and "evidence.json" in page


def test_full_evidence_has_seeds_and_a_ceiling_and_serves_as_quick(search, tmp_path):
    search(tmp_path / "run")
    assert "evidence" not in resume(tmp_path / "run")
    found = resume(tmp_path / "run", evidence="full")["evidence"]
    assert found["ranking"]["ceiling"] is not None
    assert all(len(row["losses_nats"]) == 2 for row in found["rows"])
    assert resume(tmp_path / "run", evidence="quick")["evidence"]["level"] == "full"


def test_losses_that_are_not_finite_leave_evidence_behind(search, tmp_path, capsys):
    """One random arch diverged in its training, another cannot be told with inherited weights."""
    folder = tmp_path / "run"
    found = search(folder, evidence="quick")["evidence"]
    drawn = [row for row in found["rows"] if row["kind"] == "random"]
    best = min(drawn, key=lambda row: row["loss_nats"])
    for path in folder.glob("trainings/*/result.json"):
        result = json.loads(path.read_text())
        if result["metrics"]["test_loss_nats"] == best["loss_nats"]:
            diverged = result["metrics"] | {"test_loss_nats": float("nan")}
            write_json(path, result | {"metrics": diverged})
    known = json.loads((folder / "inherited.json").read_text())
    blind = next(name for name, loss in known.items() if loss == -drawn[-1]["scores"]["inherited"])
    write_json(folder / "inherited.json", known | {blind: float("nan")})
    (folder / "evidence.json").unlink()
    made = resume(folder, evidence="quick")["evidence"]
    text = (folder / "evidence.json").read_text()
    read = json.loads(text, parse_constant=pytest.fail)
    assert [row["loss_nats"] for row in read["rows"]].count(None) == 1
    assert read["rows"][-1]["scores"]["inherited"] is None
    assert made["ranking"] == read["ranking"] and made["ranking"]["num_archs"] == 4
    print_evidence(resume(folder)["evidence"])
    assert "Kendall tau" in capsys.readouterr().out
    (told,) = report([folder])["runs"]
    assert not told["notes"] and told["comparison"]["rows"] == read["rows"]


def test_a_strategy_without_supernet_has_evidence_without_inherited_scores(tmp_path):
    options = {"strategy": "random", "data": "digits", "out": tmp_path / "run"}
    found = asking.search("toy", "55K", evidence="quick", **options)["evidence"]
    assert set(found["ranking"]["taus"]) == {"params", "flops"}
    assert found["rows"][0]["scores"] == {}


def test_an_unknown_level_is_refused_before_anything_is_written(search, tmp_path):
    with pytest.raises(ValueError, match="unknown evidence 'quik'; did you mean 'quick'"):
        search(tmp_path / "run", evidence="quik")
    assert not (tmp_path / "run").exists()
    search(tmp_path / "run")
    with pytest.raises(ValueError, match="unknown evidence"):
        resume(tmp_path / "run", evidence="all")
    assert "evidence" not in Run.open(tmp_path / "run").manifest
