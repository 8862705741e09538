"""Killed and resumed equals unbroken, bit for bit."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import asking
import nastk
import pytest
from nastk.core.band import band_of
from nastk.core.budget import InfeasibleBudgetError, cost_range
from nastk.core.checkpoint import load_checkpoint, save_checkpoint
from nastk.core.loop import Loop
from nastk.core.run import Run, RunInUseError, write_json
from nastk.reports.reproduce import commands
from nastk.reports.story import read_story
from nastk.strategies import STRATEGIES, BlackBox

COMMAND = [sys.executable, "-m", "nastk", "search", "--space", "sandglass-micro", "--flops", "0.8M"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def lines(run):
    return (run / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_killed_at_random_steps_and_resumed_equals_unbroken(tmp_path):
    steps = ["--steps", "40", "--seed", "3", "--json"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(
        [*COMMAND, *steps, "--out", str(whole)],
        env=ENVIRONMENT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    # Checkpoints after every step, so that kills also fall into the middle of writing one.
    environment = ENVIRONMENT | {"NASTK_CHECKPOINT_SECONDS": "0"}
    generator, kills = random.Random(0), 0
    command = [*COMMAND, *steps, "--out", str(broken)]
    while True:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if kills < 5:
            wait_for_progress(process, broken, generator.randrange(1, 6))
            if kills == 3:
                stop_in_the_middle_of_a_checkpoint(process, broken / "checkpoints")
            process.send_signal((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[kills % 3])
            if kills == 3:
                assert list((broken / "checkpoints").glob(".last.*.tmp"))
        if process.wait() == 0:
            break
        kills += 1
        command = [sys.executable, "-m", "nastk", "search", "--resume", str(broken), "--json"]
    assert kills == 5
    assert (whole / "arch.json").read_bytes() == (broken / "arch.json").read_bytes()
    assert lines(whole) == lines(broken)
    again = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert (
        json.loads(again.stdout)["arch_id"]
        == nastk.Arch.from_json((whole / "arch.json").read_text()).id
    )


BLACK_BOX = [name for name, strategy in STRATEGIES.items() if issubclass(strategy, BlackBox)]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", BLACK_BOX)
def test_a_black_box_search_stopped_anywhere_and_resumed_equals_unbroken(
    strategy, tmp_path, monkeypatch
):
    options = {"strategy": strategy, "evaluations": 4, "steps": 2, "seed": 3, "processes": 1}
    options["data"] = "digits"
    asking.search("sandglass-micro", "0.8M", out=tmp_path / "whole", **options)
    run, original = tmp_path / "broken", Run.log

    def stop_after_two(self, **event):
        original(self, **event)
        if event["trial"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        asking.search("sandglass-micro", "0.8M", out=run, **options)
    monkeypatch.undo()
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"trial": 2, "ar')  # torn
    result = asking.resume(run)
    assert lines(run) == lines(tmp_path / "whole")
    assert (run / "arch.json").read_bytes() == (tmp_path / "whole/arch.json").read_bytes()
    trials = Run.open(run).events()
    assert result["evaluations"] == len(trials) and result["cpu_seconds"] > 0


@pytest.mark.slow
def test_a_killed_black_box_search_leaves_no_process_and_goes_on(tmp_path):
    """Killed while workers train, with checkpoints after every step: resumed equals unbroken."""
    command = [*COMMAND, "--strategy", "evolution", "--evaluations", "6", "--steps", "15"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = {"env": ENVIRONMENT, "stdout": subprocess.DEVNULL}
    subprocess.run([*command, "--out", str(whole), "--processes", "1"], check=True, **options)
    options["env"] = ENVIRONMENT | {"NASTK_CHECKPOINT_SECONDS": "0"}
    command = [*command, "--out", str(broken), "--processes", "2"]
    for stop in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
        wait_for_new_checkpoint(process, broken)
        process.send_signal(stop)
        # The pipe ends when the workers, which hold it too, have ended as well.
        _, complaints = process.communicate(timeout=200)
        assert process.returncode != 0
        if stop == signal.SIGTERM:
            assert "--resume" in complaints and "Traceback" not in complaints
        command = [sys.executable, "-m", "nastk", "search", "--resume", str(broken)]
    subprocess.run(command, check=True, **options)
    assert lines(whole) == lines(broken)
    assert (whole / "arch.json").read_bytes() == (broken / "arch.json").read_bytes()


def wait_for_new_checkpoint(process, run):
    """Wait until a worker has written a checkpoint that was not there."""

    def newest():
        times = [0]
        for path in run.glob("trainings/*/checkpoints/*"):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
        return max(times)

    known = newest()
    wait_for(process, lambda: newest() > known, seconds=200)  # workers import torch first
    assert newest() > known


SUPERNETS = sorted(set(STRATEGIES) - set(BLACK_BOX))


@pytest.mark.parametrize(
    "strategy, stop",
    [
        *((name, 4) for name in SUPERNETS),
        ("single_path", 2),
        pytest.param("meta_kernel", 9, marks=pytest.mark.slow),
        ("meta_kernel", 20),
    ],
)
def test_a_supernet_search_stopped_anywhere_and_resumed_equals_unbroken(
    strategy, stop, tmp_path, monkeypatch
):
    """Stopped while a supernet is trained, or behind that, while archs are tested."""
    options = {"strategy": strategy, "steps": 6, "seed": 3, "data": "digits"}
    if strategy == "single_path":
        options |= {"steps": 3, "evaluations": 8}
    if strategy == "meta_kernel":
        options["strategy_options"] = {"supernets": 2, "archs": 5, "untrained": 3}
    asking.search("sandglass-micro", "0.8M", out=tmp_path / "whole", **options)
    original = Loop.save

    def stop_after(self, step):
        original(self, step)
        if step == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setenv("NASTK_CHECKPOINT_SECONDS", "0")
        patched.setattr(Loop, "save", stop_after)
        with pytest.raises(KeyboardInterrupt):
            asking.search("sandglass-micro", "0.8M", out=tmp_path / "broken", **options)
    asking.resume(tmp_path / "broken")
    for file in ("arch.json", "metrics.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()


@pytest.mark.parametrize("name", ["meta_kernel", "multi_feature"])
def test_a_search_of_version_01_goes_on_as_it_began(name, tmp_path, monkeypatch):
    """What that version called meta_kernel is `logits`, whose budget was a term of the loss."""
    now = {"meta_kernel": "logits"}.get(name, name)
    options = {"strategy": now, "steps": 5, "seed": 3, "data": "digits"}
    smooth = {"strategy_options": {"budget_term": "smooth"}}
    asking.search("toy", "55K", out=tmp_path / "whole", **options, **smooth)

    def stop(event):
        if event["step"] == 3:
            raise KeyboardInterrupt

    run = tmp_path / "broken"
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "55K", out=run, report=stop, **options, **smooth)
    file = run / "manifest.json"
    manifest = json.loads(file.read_text()) | {"strategy": name, "strategy_options": {"steps": 5}}
    manifest["versions"]["nastk"] = "0.1.0"
    file.write_text(json.dumps(manifest))
    asking.resume(run)
    assert lines(run) == lines(tmp_path / "whole")
    assert (run / "arch.json").read_bytes() == (tmp_path / "whole/arch.json").read_bytes()
    again = commands(read_story(run))[0]
    assert f"--strategy {now} " in again and "--set budget_term=smooth" in again


def wait_for(process, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.001)


def stop_in_the_middle_of_a_checkpoint(process, folder):
    """Freeze the process while its temporary folder exists, so that a kill surely falls there."""

    def is_writing():
        if not list(folder.glob(".last.*.tmp")):
            return False
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        if list(folder.glob(".last.*.tmp")):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    wait_for(process, is_writing)
    assert list(folder.glob(".last.*.tmp"))


def wait_for_progress(process, run, events):
    """Wait until the process has logged so many events more than it found."""
    path = run / "metrics.jsonl"
    count = len(path.read_text().splitlines()) if path.exists() else 0
    wait_for(
        process, lambda: path.exists() and len(path.read_text().splitlines()) >= count + events
    )


def test_killed_before_the_first_checkpoint_and_resumed_equals_unbroken(tmp_path, monkeypatch):
    asking.search("toy", "55K", steps=6, seed=3, out=tmp_path / "whole")
    run, original = tmp_path / "broken", Run.log

    def stop_after_three(self, **event):
        original(self, **event)
        if event["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "55K", steps=6, seed=3, out=run)
    monkeypatch.undo()
    assert len(Run.open(run).events()) == 3 and not (run / "checkpoints").exists()
    asking.resume(run)
    assert lines(run) == lines(tmp_path / "whole")


def test_stopped_while_the_data_are_read_and_resumed_equals_unbroken(tmp_path, monkeypatch):
    import numpy as np
    from nastk.tasks import named

    x = np.random.default_rng(0).integers(0, 255, (40, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(40) % 4)
    options = {"space": "toy", "flops": "90%", "data": f"npz:{tmp_path / 'a.npz'}", "steps": 3}
    asking.search(**options, out=tmp_path / "whole")

    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setitem(named.FILES, "npz", stop)
    with pytest.raises(KeyboardInterrupt):
        asking.search(**options, out=tmp_path / "broken")
    monkeypatch.undo()
    asking.resume(tmp_path / "broken")
    assert lines(tmp_path / "whole") == lines(tmp_path / "broken")
    whole, broken = (Run.open(tmp_path / name) for name in ("whole", "broken"))
    assert whole.arch == broken.arch
    says = [json.loads(run.manifest_path.read_text()) | {"date": ""} for run in (whole, broken)]
    assert says[0] == says[1]


def test_a_training_leaves_the_events_of_the_search(tmp_path):
    asking.search("toy", "55K", steps=3, out=tmp_path / "run")
    before = lines(tmp_path / "run")
    asking.retrain(tmp_path / "run", steps=2)
    asking.retrain(tmp_path / "run", steps=2)
    assert lines(tmp_path / "run") == before != ""


def killed_at_the_trace(**options):
    """Search in a fork that is killed where a space is traced, before its cost is known."""
    child = os.fork()
    if not child:
        try:
            for known in (cost_range, band_of):
                known.cache_clear()
            nastk.Space.choices = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            nastk.Space.cost = property(nastk.Space.choices)
            asking.search("toy", **options)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("flops", ["55K", "95%", "40K:55K"])
def test_killed_when_its_budget_is_not_even_parsed_resumes(tmp_path, flops):
    asking.search("toy", flops, steps=3, out=tmp_path / "whole")
    run = tmp_path / "run"
    killed_at_the_trace(flops=flops, steps=3, out=run)
    assert "budgets" not in Run.open(run).manifest
    asking.resume(run)
    assert Run.open(run).manifest["budgets"] == Run.open(tmp_path / "whole").manifest["budgets"]
    assert lines(run) == lines(tmp_path / "whole")
    assert (run / "arch.json").read_bytes() == (tmp_path / "whole/arch.json").read_bytes()


def test_an_infeasible_budget_is_still_refused_when_a_killed_run_resumes(tmp_path):
    killed_at_the_trace(flops="9G", out=tmp_path / "run")
    with pytest.raises(InfeasibleBudgetError, match="choose a budget in between"):
        asking.resume(tmp_path / "run")


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        asking.search("toy", "55K", steps=4, seed=7, out=tmp_path / name)
    assert (tmp_path / "a/arch.json").read_bytes() == (tmp_path / "b/arch.json").read_bytes()
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


def test_a_run_in_use_is_refused(tmp_path):
    run = Run.create(tmp_path / "run", {})
    try:
        with pytest.raises(RunInUseError, match=str(os.getpid())):
            Run.open(tmp_path / "run").acquire()
    finally:
        run.release()


def test_a_damaged_checkpoint_falls_back_and_says_so(tmp_path, caplog):
    import torch

    for step in (1, 2):
        save_checkpoint(tmp_path, "last", {"w": torch.full((3,), step)}, {"step": step})
    (tmp_path / "last/weights.safetensors").write_bytes(b"torn")
    weights, state = load_checkpoint(tmp_path, "last")
    assert state["step"] == 1 and float(weights["w"][0]) == 1 and "damaged" in caplog.text
    (tmp_path / "last-previous/state.pt").unlink()
    with pytest.raises(ValueError, match="no whole one is left"):
        load_checkpoint(tmp_path, "last")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    import torch
    from nastk.core import checkpoint

    save_checkpoint(tmp_path, "last", {"w": torch.ones(1)}, {"step": 1})

    def full(path):
        Path(path).write_bytes(b"{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "create", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, "last", {"w": torch.ones(1)}, {"step": 2})
    assert load_checkpoint(tmp_path, "last")[1]["step"] == 1
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.slow
def test_a_search_that_starts_at_the_largest_kernels_ends_below_the_budget(tmp_path, monkeypatch):
    import torch
    from nastk.ops.mixture import Logits

    original = Logits.__init__

    def favour_the_last(self, num_candidates, *arguments):
        original(self, num_candidates, *arguments)
        with torch.no_grad():
            for row, count in zip(self.values, num_candidates, strict=True):
                row[count - 1] = 2.0

    monkeypatch.setattr(Logits, "__init__", favour_the_last)
    options = {"strategy": "logits", "strategy_options": {"budget_term": "smooth"}}
    asking.search("sandglass-micro", "0.8M", steps=100, out=tmp_path / "run", **options)
    events = Run.open(tmp_path / "run").events()
    assert events[0]["expected_flops"] > 900_000 and events[-1]["expected_flops"] <= 800_000


@pytest.mark.slow
def test_the_test_split_is_never_read_by_a_search(tmp_path, sealed_test_split):
    for strategy, chosen in STRATEGIES.items():
        options = {"evaluations": 2} if issubclass(chosen, BlackBox) else {}
        asking.search(
            "toy",
            "90%",
            strategy=strategy,
            steps=2,
            processes=1,
            out=tmp_path / strategy,
            **options,
        )
    options = {"strategy": "logits", "strategy_options": {"level": "bilevel"}}
    asking.search("toy", "55K", steps=3, out=tmp_path / "b", **options)
    assert sealed_test_split == []


def test_a_trial_that_diverged_just_before_a_kill_is_told_as_such(tmp_path):
    """Its result was written, and the search was killed before it noted the loss."""
    options = {"strategy": "random", "evaluations": 3, "data": "digits", "processes": 1}

    def stop(event):
        if event["step"] == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "40K:70K", steps=1, out=folder, report=stop, **options)
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    (folder / "metrics.jsonl").write_text("")
    results = {f: json.loads(f.read_text()) for f in folder.glob("trainings/*/result.json")}
    of_first = (f for f, r in results.items() if r["job"]["choices"] == first["choices"])
    file = next(of_first)
    result = results[file]
    diverged = dict.fromkeys(result["metrics"], float("nan"))
    write_json(file, result | {"metrics": diverged})
    older = folder / f"trials/{first['arch']}-1/result.json"  # as version 0.1 left it
    older.parent.mkdir(parents=True)
    write_json(older, {"trial": older.parent.name, "metrics": {"loss": 0.1}, "skipped": []})
    found = asking.resume(folder)
    assert not older.exists()
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [event["loss"] is None for event in events] == [True, False, False]
    assert found["arch_id"] != first["arch"]
