"""Comparisons: who takes part, what is reported, and that nothing trained is trained again."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import asking
import nastk
import pytest
from nastk.commands import screen
from nastk.comparison.contestants import contestants
from nastk.comparison.jobs import TrainingJob
from nastk.core.best import FREE
from nastk.core.budget import Budget
from nastk.core.run import Run
from nastk.search_spaces import Sandglass, SandglassMicro, Toy
from nastk.tasks import named
from nastk.tasks.images.digits import digits
from nastk.workflows import field

NASTK = [sys.executable, "-m", "nastk"]
SMALL = {"seeds": 2, "random": 2, "steps": 3, "data": "digits"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "run"
    asking.search("sandglass-micro", "0.8M", strategy="random", seed=5, out=folder)
    return folder


def take_part(space, proxy, flops):
    budget = Budget.parse(flops)
    options = {"family": space.name, "arch": space.arch_at(dict.fromkeys(space.choices(), 0))}
    return contestants(target=space, proxy=proxy, budget=budget, num_random=3, seed=0, **options)


@pytest.mark.slow
def test_neighbours_are_within_15_percent_and_scaled_as_the_found_arch_is():
    space = Sandglass()
    entrants = take_part(space, space.proxy(), "357M")
    inside = {e.name for e in entrants if e.kind == "reference" and e.inside_budget}
    above = {e.name for e in entrants if e.kind == "reference" and not e.inside_budget}
    assert {"mobilenext-1.0", "mobilenext-se", "atomnas-b"} <= inside
    assert {"atomnas-c", "atomnas-c+", "efficientnet-b0", "fbnet-c"} <= above
    assert "mobilenetv2-1.0" not in inside | above  # 300.8M is more than 15 % below
    for entrant in entrants:
        assert entrant.options["scale"] == 0.35 and entrant.options["resolution"] == 112
        assert abs(entrant.flops / 357e6 - 1) <= 0.15 or entrant.kind == "found"
    assert all(0.9 * 357e6 <= e.flops <= 357e6 for e in entrants if e.kind == "random")


@pytest.mark.slow
def test_a_kind_alone_leaves_a_run_its_own_data(tmp_path):
    asking.search("toy", "90%", strategy="random", data="digits", out=tmp_path / "run")
    given = {"seeds": 1, "random": 0, "steps": 1, "processes": 1, "quiet": True}
    assert nastk.compare(tmp_path / "run", task="classification", **given)["data"] == "digits"


@pytest.mark.slow
def test_free_rules_are_the_null_hypothesis():
    entrants = take_part(SandglassMicro(), SandglassMicro(), "0.8M")
    by_kind = {e.kind: e for e in entrants}
    for metric in ("params", "flops"):
        most, drawn = by_kind[f"most-{metric}"], by_kind["random"]
        assert getattr(most, metric) > getattr(drawn, metric)
    assert len({json.dumps(e.choices) for e in entrants if e.kind == "random"}) == 3


@pytest.mark.slow
def test_a_comparison_reports_and_is_not_trained_twice(run):
    result = nastk.compare(run, **SMALL)
    kinds = [row["kind"] for row in result["rows"]]
    rules = [rule for rule in FREE if rule in kinds]
    start = ["found", *rules, "random", "random"]
    assert "most-params" in rules and kinds[: len(start)] == start
    assert all(row["seeds"] == 2 and row["loss_spread_nats"] >= 0 for row in result["rows"])
    rivals = [row["top1_percent"] for row in result["rows"] if row["kind"] == "random"]
    mean = sum(rivals) / 2
    found = result["rows"][0]["top1_percent"]
    assert result["improvement_percent"] == pytest.approx(100 * (found - mean) / mean)
    assert result["rank"] in (1, 2, 3)
    stamps = {p: p.stat().st_mtime_ns for p in run.glob("trainings/*/result.json")}
    assert len(stamps) == result["num_trainings"]
    again = nastk.compare(run, **SMALL)
    assert again["rows"] == result["rows"]
    assert stamps == {p: p.stat().st_mtime_ns for p in run.glob("trainings/*/result.json")}


@pytest.fixture
def trained_to(monkeypatch):
    """Let trainings end, at once, with the losses given by name and seed; no references.

    All free rules end as most-params does.
    """

    def tell(**losses):
        def measure(self, run, report):
            name = self.title.removeprefix("the training of ").partition(" ")[0]
            name = "most-params" if name in FREE else name
            loss = losses[name.replace("-", "_")][self.execution.seed]
            metrics = {"test_loss_nats": loss, "test_top1_percent": 0.0 if loss > 9 else 50.0}
            return metrics, ()

        monkeypatch.setattr(TrainingJob, "measure", measure)
        own = partial(contestants, with_references=False)
        monkeypatch.setattr(field, "contestants", own)

    return tell


def test_a_diverged_training_ranks_last_and_breaks_nothing(run, trained_to, tmp_path, capfd):
    run = shutil.copytree(run, tmp_path / "run")
    fine = {"found": [0.5, 0.7], "most_params": [0.6, 0.6], "random_2": [0.8, 0.8]}
    trained_to(**fine, random_1=[0.1, math.nan])
    result = nastk.compare(run, seeds=2, random=2)
    number, row = next((n, r) for n, r in enumerate(result["rows"]) if r["name"] == "random-1")
    assert row["losses_nats"][0] == 0.1
    assert math.isnan(row["loss_nats"]) and row["loss_spread_nats"] is None
    assert result["rank"] == 1  # the mean of both seeds counts, not the one that was lucky
    written = json.loads((run / "compare.json").read_text(), parse_constant=pytest.fail)
    assert written["rows"][number]["losses_nats"] == [0.1, None]
    assert written["rows"][number]["loss_nats"] is None
    for shown in (result, written):  # from memory, and read back
        screen.print_comparison(shown)
        said = capfd.readouterr().out
        (line,) = [line for line in said.splitlines() if line.startswith("random-1")]
        assert "diverged" in line and "random mean not finite" in said
    (told,) = nastk.report([run])["runs"]
    shown = told["comparison"]["rows"]
    assert [row | known for row, known in zip(shown, written["rows"], strict=True)] == shown
    assert not told["notes"]


def test_a_found_arch_that_diverged_is_last(run, trained_to, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    trained_to(found=[math.nan], most_params=[0.6], random_1=[0.7], random_2=[0.8])
    assert nastk.compare(run, seeds=1, random=2)["rank"] == 3
    assert nastk.compare(run, seeds=1, random=2)["rows"][0]["num_diverged"] == 1
    (told,) = nastk.report([run])["runs"]
    assert told["verdict"] is None and told["comparison"]["rows"][0]["loss_nats"] is None


def test_a_comparison_in_which_nothing_trained_fails(run, trained_to, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    (run / "compare.json").unlink(missing_ok=True)
    trained_to(found=[math.nan], most_params=[math.inf], random_1=[math.nan])
    with pytest.raises(RuntimeError, match=r"all trainings diverged \(5\): train with"):
        nastk.compare(run, seeds=1, random=1)
    assert not (run / "compare.json").exists()


def test_no_share_is_told_of_random_archs_that_are_never_right(run, trained_to, tmp_path, capfd):
    run = shutil.copytree(run, tmp_path / "run")
    trained_to(found=[0.5], most_params=[0.6], random_1=[9.5], random_2=[9.8])
    result = nastk.compare(run, seeds=1, random=2)
    written = json.loads((run / "compare.json").read_text(), parse_constant=pytest.fail)
    assert written["improvement_percent"] is None and result["rank"] == 1
    for shown in (result, written):
        screen.print_comparison(shown)
        assert "the found arch ranks 1 of 3 by loss\n" in capfd.readouterr().out
    (told,) = nastk.report([run])["runs"]
    assert told["comparison"]["rank"] == 1 and not told["notes"]


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_ends_the_same(run):
    options = ["--seeds", "1", "--random", "1", "--steps", "12", "--json"]
    environment = os.environ | {"NASTK_CHECKPOINT_SECONDS": "0"}
    command = [*NASTK, "compare", str(run), *options]
    for stop in (signal.SIGTERM, signal.SIGKILL):
        known = newest_checkpoint(run)
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < deadline:
            if newest_checkpoint(run) > known:  # it trains, and no longer imports
                break
            time.sleep(0.005)
        assert newest_checkpoint(run) > known
        process.send_signal(stop)
        # The pipe ends when the workers, which hold it too, have ended as well.
        _, complaints = process.communicate(timeout=200)
        assert process.returncode != 0
        if stop == signal.SIGTERM:
            assert len(complaints.strip().splitlines()) == 1, complaints
        wait_until_orphans_have_gone(run)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    broken = json.loads(done.stdout)["rows"]
    for path in run.glob("trainings/*/result.json"):
        path.unlink()
    whole = nastk.compare(run, seeds=1, random=1, steps=12)["rows"]
    timeless = [[{**row, "seconds": 0} for row in rows] for rows in (broken, whole)]
    assert timeless[0] == timeless[1]


def newest_checkpoint(run):
    """Time of the newest checkpoint, 0 while one takes the other's place."""
    times = [0]
    for path in run.glob("trainings/*/checkpoints/*-last"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime_ns)
    return max(times)


def wait_until_orphans_have_gone(run):
    """Workers of a killed parent end, and with them their locks."""
    import fcntl

    deadline = time.monotonic() + 30
    for path in run.glob("trainings/*/.lock"):
        while time.monotonic() < deadline:
            with open(path, "a+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(0.05)


@pytest.mark.parametrize(
    "options, words",
    [({"seeds": 0}, "at least 1 and at most 1,000"), ({"recipe": "sgdd"}, "unknown recipe")],
)
def test_wrong_options_are_refused(run, options, words):
    with pytest.raises(ValueError, match=words):
        nastk.compare(run, **options)


@pytest.fixture(scope="module")
def archs(tmp_path_factory):
    """Two archs of one space as files."""
    folder, space = tmp_path_factory.mktemp("archs"), Toy()
    for name, width in (("narrow", 8), ("wide", 16)):
        arch = space.arch({"width": width, "kernel": 3})
        (folder / f"{name}.json").write_text(arch.to_json())
    return folder


def test_archs_stand_beside_each_other(archs, run, tmp_path, command):
    files = [str(archs / "narrow.json"), str(archs / "wide.json"), str(run)]
    words = ["compare", *files, "--seeds", "2", "--steps", "3", "--data", "digits", "--json"]
    words += ["--out", str(tmp_path), "--processes", "1", "--recipe", "demonstration"]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = result["rows"]
    assert [row["name"] for row in rows] == ["narrow", "wide", "run"]
    assert all(row["kind"] == "given" and row["seeds"] == 2 for row in rows)
    counted = [nastk.count(file)["flops"] for file in files]
    assert [row["flops"] for row in rows] == counted
    assert "rank" not in result and result["run"] is None and result["num_trainings"] == 6
    options = {"seeds": 2, "steps": 3, "data": "digits", "processes": 1, "out": tmp_path}
    assert nastk.compare(files[:2], **options)["rows"] == rows[:2]  # nothing trained again
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize(
    "names, options, words",
    [
        (["narrow.json", "narrow.json"], {}, "narrow.json is given twice"),
        (["narrow.json", "wide.json"], {"random": 2}, "random archs need a budget"),
        (["narrow.json", "none.json"], {}, "no file or folder .*none.json"),
        (["narrow.json", "t2t-vit-7"], {}, "t2t by 'demonstration-tokens': give one --recipe"),
        (["narrow.json", "t2t-vit-7"], {"recipe": "demonstration"}, "train at 28, [0-9]+ px"),
        (["run"], {"out": "folder"}, "compared in its own folder"),
    ],
)
def test_archs_that_cannot_stand_beside_each_other_are_refused(archs, run, names, options, words):
    places = {"run": run, "t2t-vit-7": "t2t-vit-7"}
    with pytest.raises(ValueError, match=words):
        nastk.compare([places.get(name, archs / name) for name in names], **options)


def test_runs_are_compared_on_the_data_that_they_searched(archs, run, tmp_path):
    options = {"strategy": "random", "out": tmp_path / "other", "data": "digits"}
    asking.search("sandglass-micro", "0.8M", **options)
    with pytest.raises(ValueError, match="of digits and digits-photo: say on which --data"):
        nastk.compare([run, tmp_path / "other"])
    result = nastk.compare(
        [tmp_path / "other", archs / "wide.json"],
        **{"seeds": 1, "steps": 1, "processes": 1, "recipe": "demonstration", "out": tmp_path},
    )
    assert result["data"] == "digits"


def test_trainings_of_an_older_version_are_said_to_be_done_again(run, trained_to, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    trained_to(found=[0.5], most_params=[0.6], random_1=[0.7])
    kept = run / "compare/318cc33b93-small-1-0"
    kept.mkdir(parents=True)
    (kept / "metrics.json").write_text('{"test_loss_nats": 0.1, "test_top1_percent": 99.0}')
    said = []
    rows = nastk.compare(run, seeds=1, random=1, report=said.append)["rows"]
    assert any("as versions before 0.2 kept them" in event.get("say", "") for event in said)
    assert {row["loss_nats"] for row in rows} == {0.5, 0.6, 0.7}


def test_networks_keep_for_their_backward_pass_what_those_of_the_search_kept(
    run, trained_to, tmp_path
):
    run = shutil.copytree(run, tmp_path / "run")
    known = set(run.glob("trainings/*/result.json"))
    Run.open(run).update_manifest({"memory": "lowest"})
    trained_to(found=[0.5], most_params=[0.6], random_1=[0.7])
    assert nastk.compare(run, seeds=1, random=1)["record"]["memory"] == "lowest"
    new = set(run.glob("trainings/*/result.json")) - known
    assert {json.loads(file.read_text())["job"]["memory"] for file in new} == {"lowest"}


def test_strict_holds_for_what_was_trained_without_it(run, trained_to, tmp_path, monkeypatch):
    run = shutil.copytree(run, tmp_path / "run")
    trained_to(found=[0.5], most_params=[0.6], random_1=[0.7])
    whole = TrainingJob.measure
    monkeypatch.setattr(TrainingJob, "measure", lambda *given: (whole(*given)[0], ["a.png"]))
    nastk.compare(run, seeds=1, random=1)
    with pytest.raises(ValueError, match=r"cannot read image a\.png, .* without --strict"):
        nastk.compare(run, seeds=1, random=1, strict=True)


@pytest.fixture
def measured(monkeypatch):
    """Titles of the trainings that are done, and not found; no references."""
    monkeypatch.setattr(field, "contestants", partial(contestants, with_references=False))
    titles, measure = [], TrainingJob.measure

    def noted(self, run, report):
        titles.append(self.title)
        return measure(self, run, report)

    monkeypatch.setattr(TrainingJob, "measure", noted)
    return titles


@pytest.mark.parametrize(
    "strategy, options", [("random", {"evaluations": 3}), ("gumbel", {"finalists": 2})]
)
def test_what_a_search_has_trained_is_found_by_a_comparison(
    strategy, options, tmp_path, measured, monkeypatch, capfd
):
    """The search trains all archs of its band, with its seed 0."""

    def sealed():
        return dataclasses.replace(digits(), test=lambda side: pytest.fail("test was read"))

    monkeypatch.setitem(named.EMBEDDED, "digits", sealed)
    short = {"data": "digits", "epochs": 1, "batch_size": 512}
    found = asking.search("toy", "55K", strategy=strategy, out=tmp_path / "run", **options, **short)
    assert not measured
    result = nastk.compare(found.run, seeds=2, random=0, hold_out=True, **short)
    assert measured and all(title.endswith("with seed 1") for title in measured)
    losses = {e["arch"]: e["loss"] for e in Run.open(found.run).events() if "trial" in e}
    row = result["rows"][0]
    assert row["losses_nats"][0] == losses[found["arch_id"]] and result["split"] == "architecture"
    assert result["file"].endswith("compare-held-out.json")
    capfd.readouterr()
    screen.print_comparison(result)
    said = capfd.readouterr().out
    assert "held-out loss" in said and "test loss" not in said and "nastk report" not in said


def test_what_was_retrained_is_found_by_a_comparison_to_the_bit(run, tmp_path, measured):
    alone, run = (shutil.copytree(run, tmp_path / name) for name in ("alone", "run"))
    options = {"data": "digits", "steps": 2}
    made = asking.retrain(run, **options)
    expected = nastk.compare(alone, seeds=1, random=0, **options)["rows"][0]
    assert "the training of found with seed 0" in measured
    measured.clear()
    row = nastk.compare(run, seeds=1, random=0, **options)["rows"][0]
    assert "the training of found with seed 0" not in measured
    assert row["loss_nats"] == made["metrics"]["test_loss_nats"] == expected["loss_nats"]
