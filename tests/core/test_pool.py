"""Workers end with their parent, however it ends, and what they spend is counted."""

import os
import signal
import socket
import subprocess
import sys
import time

import nastk
import pytest
from nastk.core.clock import Clock
from nastk.core.images import decode
from nastk.core.pool import Helpers
from nastk.core.run import Run, RunInUseError


@pytest.mark.slow
def test_a_search_that_decodes_in_workers_is_killed_stopped_and_resumed(tmp_path, folder_of_images):
    folder_of_images(tmp_path / "images")
    data, run = f"imagefolder:{tmp_path / 'images'}", tmp_path / "run"
    start = [sys.executable, "-m", "nastk", "search"]
    resume = [*start, "--resume", str(run), "--json"]
    options = ["--space", "toy", "--flops", "90%", "--steps", "60", "--json"]
    first = [*start, *options, "--data", data, "--workers", "2", "--out", str(run)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NASTK_CHECKPOINT_SECONDS": "0"}
    steps = 0
    for command, stop in ((first, signal.SIGKILL), (resume, signal.SIGTERM), (resume, "ctrl-c")):
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        steps = wait_for_steps(process, run, steps + 5)
        if stop == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(stop)
        # The pipes end when the workers, which hold them too, have ended as well.
        _, complaints = process.communicate(timeout=20)
        if stop == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130 and len(complaints.splitlines()) == 1, complaints
            assert "--resume" in complaints
    found = nastk.resume(run)
    alone = nastk.search("toy", "90%", data=data, steps=60, out=tmp_path / "alone")
    assert found["arch_id"] == alone["arch_id"]
    assert (run / "metrics.jsonl").read_text() == (tmp_path / "alone/metrics.jsonl").read_text()


def wait_for_steps(process, run, count):
    """Wait until a search has logged so many steps and saved one; return how many."""
    file, deadline, steps = run / "metrics.jsonl", time.monotonic() + 60, 0
    while steps < count or not (run / "checkpoints/last").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)
        steps = len(file.read_text().splitlines()) if file.exists() else 0
    return steps


def test_a_forked_process_does_not_hold_the_run_of_its_parent(tmp_path):
    run = Run.create(tmp_path / "run", {})
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:  # lives until the other end of the pair is closed
        ours.close()
        theirs.send(b"here")
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    ours.recv(4)
    again = Run.open(run.path)
    with pytest.raises(RunInUseError):
        again.acquire()
    run.release()
    again.acquire()
    again.release()
    ours.close()
    os.waitpid(child, 0)


def test_what_helpers_spend_is_counted(tmp_path, folder_of_images):
    folder_of_images(tmp_path)
    jobs = [(str(file), 400, None, 0.0) for file in sorted(tmp_path.rglob("*.png"))]
    clock, start = Clock(), time.process_time()
    helpers = Helpers(2, "--workers")
    helpers.map(decode, jobs)
    once = clock.spent[1]
    assert once > 2 * (time.process_time() - start)
    helpers.map(decode, jobs)
    assert once < clock.spent[1] < 2 * once


def test_what_decodes_images_imports_no_torch(tmp_path):
    helpers = Helpers(1, "--workers")
    assert "nothing.png" in helpers.map(decode, [(str(tmp_path / "nothing.png"), 8, None, 0.0)])[0]
    assert helpers.map(eval, ["'torch' in __import__('sys').modules"]) == [False]


def test_a_killed_helper_is_named_and_the_next_call_starts_others():
    helpers = Helpers(1, "--workers")
    with pytest.raises(RuntimeError, match="go on with fewer --workers"):
        helpers.map(eval, ["__import__('os').kill(__import__('os').getpid(), 9)"])
    assert helpers.map(abs, [-3, 4, -5]) == [3, 4, 5]
