"""A damaged checkpoint: every command that reads one says so once and goes on."""

import json
import os
import subprocess
import sys

import asking
import pytest
from nastk.comparison.jobs import TrainingJob, train_all
from nastk.core.job import perform
from nastk.records.execution import Execution
from nastk.search_spaces import Toy
from nastk.tasks.named import make_task
from nastk.training.recipes import RECIPES

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NASTK_CHECKPOINT_SECONDS": "0"}


def process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "nastk", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )


def damage(folder, pattern):
    (weights,) = folder.glob(f"{pattern}/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])


def says_it_once(said, folder):
    assert said.count("warning: ") == 1 and "is damaged" in said
    assert str(folder) in said


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage") / "run"
    os.environ["NASTK_CHECKPOINT_SECONDS"] = "0"
    try:
        asking.search("toy", "55K", steps=3, out=folder)
        asking.retrain(folder, steps=3)
    finally:
        del os.environ["NASTK_CHECKPOINT_SECONDS"]
    return folder


@pytest.mark.slow
def test_a_search_says_it_and_ends_the_same(run):
    (run / "result.json").unlink(missing_ok=True)
    final = run / "checkpoints/last"
    whole = final / "weights.safetensors"
    before, content = (run / "arch.json").read_bytes(), whole.read_bytes()
    damage(run, "checkpoints/last")
    done = process("search", "--resume", run, "--json")
    assert done.returncode == 0, done.stderr
    says_it_once(done.stderr, final)
    assert (run / "arch.json").read_bytes() == before and whole.read_bytes() == content
    # The newest is whole now, so that its forerunner is not looked at.
    (run / "result.json").unlink()
    assert process("search", "--resume", run, "--json").stderr == ""


def test_a_retraining_says_it(run, command, caplog, monkeypatch):
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    (last,) = run.glob("checkpoints/retrain-*-last")
    damage(run, "checkpoints/retrain-*-last")
    assert command("retrain", run, "--steps", 3, "--json").returncode == 0
    says_it_once(caplog.text, last)


def test_inheriting_says_it(run, command, caplog):
    damage(run, "checkpoints/last")
    done = command("retrain", run, "--steps", 1, "--inherit", "--json")
    says_it_once(caplog.text, run / "checkpoints/last")
    assert "inherit" in json.loads(done.stdout)["weights"]


@pytest.mark.slow
def test_a_comparison_says_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    space = Toy()
    job = TrainingJob(
        title="the training of found with seed 0",
        space="toy",
        options=space.options,
        choices={"width": 8, "kernel": 3},
        data="digits",
        data_sha256=make_task("digits", space.resolution).describe()["train_sha256"],
        recipe=RECIPES["demonstration"],
        steps=4,
        execution=Execution(processes=1),
    )
    folder = tmp_path / job.key

    def stop_at_three(event):
        if event["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform(tmp_path, job, stop_at_three)
    damage(folder, "checkpoints/*-last")
    assert train_all([job], tmp_path, lambda event: None)[job.key].metrics
    says_it_once(caplog.text, folder)
