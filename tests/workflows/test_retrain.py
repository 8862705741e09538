"""Retraining: killed and repeated equals unbroken; the disk may be full; clocks add up."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import asking
import nastk
import pytest
import torch
from nastk import resume
from nastk.core import streams
from nastk.core.run import Run
from nastk.workflows.export import export

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NASTK_CHECKPOINT_SECONDS": "0"}
NASTK = [sys.executable, "-m", "nastk"]


@pytest.fixture(scope="module")
def arch_file(tmp_path_factory):
    run = tmp_path_factory.mktemp("search") / "run"
    asking.search("toy", "55K", strategy="random", out=run)
    return run / "arch.json"


def weights_of(folder):
    (file,) = folder.glob("*.safetensors")
    return file.read_bytes()


def newest_checkpoint(folder):
    """Time of the newest checkpoint, 0 while one takes the other's place."""
    times = []
    for path in folder.glob("checkpoints/*-last"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime_ns)
    return max(times, default=0)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--steps=60", "--hold-out"])
def test_killed_and_repeated_equals_unbroken(arch_file, tmp_path, option):
    command = [*NASTK, "retrain", str(arch_file), "--json", option, "--steps=60"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*command, "--out", whole], env=ENVIRONMENT, check=True, capture_output=True)
    generator = random.Random(1)
    for number in range(5):
        process = subprocess.Popen(
            [*command, "--out", broken],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        known = newest_checkpoint(broken)
        while process.poll() is None and time.monotonic() < deadline:
            if newest_checkpoint(broken) > known:
                break
            time.sleep(0.001)
        time.sleep(generator.random() * 0.1)
        process.send_signal((signal.SIGKILL, signal.SIGTERM)[number % 2])
        assert process.wait() != 0
    done = subprocess.run([*command, "--out", broken], env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert weights_of(whole) == weights_of(broken)
    metrics = [json.loads((f / "retrain.json").read_text())["metrics"] for f in (whole, broken)]
    timeless = [{k: v for k, v in m.items() if "seconds" not in k} for m in metrics]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_search_goes_on_afterwards(tmp_path):
    run = tmp_path / "run"
    command = [*NASTK, "search", "--space", "sandglass-micro", "--flops", "0.8M", "--steps", "4"]

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [*command, "--out", run, "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=limit_files,
    )
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "file too large" in done.stderr and f"nastk search --resume {run}" in done.stderr
    assert not list(run.rglob("*.tmp")) and not (run / "arch.json").exists()
    assert resume(run)["flops"] <= 800_000


def test_the_clock_adds_up_over_interrupted_parts(tmp_path, monkeypatch):
    from nastk.core.loop import Loop

    original = Loop.save

    def stop_in_the_middle(self, step):
        original(self, step)
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(Loop, "save", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "55K", steps=6, out=tmp_path / "run")
    monkeypatch.undo()
    run = Run.open(tmp_path / "run")
    from nastk.core.checkpoint import load_checkpoint

    before = load_checkpoint(run.path / "checkpoints", "last")[1]["spent"]
    result = resume(run.path)
    assert result["seconds"] > before[0] > 0 and result["cpu_seconds"] > before[1] > 0


def test_a_finished_training_that_is_repeated_costs_the_same(arch_file, tmp_path):
    results = [asking.retrain(arch_file, out=tmp_path / "run", steps=2) for _ in range(2)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["metrics"]["train_seconds"] > 0


def test_what_another_version_has_trained_is_not_kept_as_of_this_one(
    arch_file, tmp_path, monkeypatch
):
    options = {"out": tmp_path / "run", "steps": 2}
    with monkeypatch.context() as patched:
        patched.setattr(streams, "VERSION", 0)
        asking.retrain(arch_file, **options)
    asking.retrain(arch_file, **options)
    (kept,) = (tmp_path / "run/trainings").glob("*/result.json")
    assert json.loads(kept.read_text())["job"]["streams"] == 0


def test_a_training_goes_on_with_the_threads_that_it_began_with(arch_file, tmp_path, monkeypatch):
    def stop(event):
        seen.append(torch.get_num_threads())
        if event["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    seen, options = [], {"out": tmp_path / "run", "steps": 3}
    with pytest.raises(KeyboardInterrupt):
        asking.retrain(arch_file, **options, report=stop)
    torch.set_num_threads(2)
    result = asking.retrain(
        arch_file, **options, report=lambda _: seen.append(torch.get_num_threads())
    )
    assert set(seen) == {1} and result["record"]["threads"] == 1
    assert torch.get_num_threads() == 2
    assert asking.retrain(arch_file, **options, seed=1)["record"]["threads"] == 2


def test_holding_out_never_trains_on_the_architecture_split(arch_file, tmp_path, monkeypatch):
    from nastk.tasks.images.arrays import ArrayTask

    seen = set()
    original = ArrayTask.read

    def spied(self, split, items, draw):
        if draw is not None:  # a batch to train on
            seen.add(split)
        return original(self, split, items, draw)

    monkeypatch.setattr(ArrayTask, "read", spied)
    asking.retrain(arch_file, out=tmp_path / "run", steps=4, hold_out=True)
    assert seen == {"weights"}


def test_a_folder_of_another_arch_is_refused(arch_file, tmp_path):
    asking.retrain(arch_file, out=tmp_path / "run", steps=2)
    arch = json.loads(arch_file.read_text())
    arch["choices"]["width"] = 24 - arch["choices"]["width"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(arch))
    with pytest.raises(ValueError, match="another arch"):
        asking.retrain(other, out=tmp_path / "run", steps=2)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["toy.json", "mobilenext-0.1"])
def test_what_was_trained_by_name_is_found_by_name(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    toy = nastk.search_spaces.Toy()
    Path("toy.json").write_text(toy.arch({"width": 8, "kernel": 3}).to_json())
    with pytest.raises(ValueError, match=rf"{what} has no trained weights in runs/.*nastk retrain"):
        nastk.evaluate(what)
    trained = asking.retrain(what, steps=1, data="digits")
    assert nastk.evaluate(what)["weights"] == trained["weights"]
    if what == "toy.json":
        assert export(what, "model.pt2")["weights"] == trained["weights"]
        Path("toy.json").write_text(toy.arch({"width": 16, "kernel": 3}).to_json())
        with pytest.raises(ValueError, match=r"toy\.json has no trained weights in runs/"):
            export(what, "other.pt2")
