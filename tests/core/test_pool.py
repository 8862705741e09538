"""Workers end with their parent, however it ends, and what they spend is counted."""

import os
import signal
import socket
import subprocess
import sys
import time

import asking
import pytest
from nastk.core.clock import Clock
from nastk.core.pool import Helpers, worker_pool
from nastk.core.preprocessing import Preprocessing
from nastk.core.run import Run, RunInUseError
from nastk.tasks.images.decode import decode


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
    found = asking.resume(run)
    alone = asking.search("toy", "90%", data=data, steps=60, out=tmp_path / "alone")
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
    large = Preprocessing(resolution=400, mean=(0.0,) * 3, deviation=(1.0,) * 3)
    jobs = [(str(file), large, None, 0.0) for file in sorted(tmp_path.rglob("*.png"))]
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


def test_a_worker_that_has_workers_ends(tmp_path):
    (tmp_path / "nested.py").write_text(
        "from nastk.core.pool import Helpers\n"
        "keep = []\n"
        "def length(texts):\n"
        "    keep.append(Helpers(1, '--workers'))\n"
        "    return keep[-1].map(len, texts)\n"
    )
    script = (
        "from nastk.core.pool import worker_pool\n"
        "from nested import length\n"
        "with worker_pool(2) as pool:\n"
        "    print([pool.submit(length, ['ab', 'c']).result() for _ in range(3)])\n"
    )
    # No guard around the work of the script, and none is needed: workers do not run it.
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[[2, 1], [2, 1], [2, 1]]\n", "")


def test_a_worker_imports_nothing_from_where_it_stands(tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('run from the working directory')")
    monkeypatch.chdir(tmp_path)
    with worker_pool(1) as pool:
        assert pool.submit(abs, -3).result() == 3


def test_errors_in_a_worker_say_where_they_were_raised():
    with worker_pool(1) as pool:
        with pytest.raises(ValueError, match="invalid literal") as caught:
            pool.submit(int, "seven").result()
        assert "in _answer" in caught.value.__notes__[0]
        with pytest.raises(RuntimeError, match=r"in the middle of its work \(exit code 3\)"):
            pool.submit(os._exit, 3).result()
        with pytest.raises(RuntimeError, match="go on with fewer --processes"):
            pool.submit(abs, -3).result()


def test_busy_workers_are_given_up_after_a_second():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), worker_pool(2) as pool:
        for _ in range(4):
            pool.submit(time.sleep, 60)
        time.sleep(0.3)
        raise KeyboardInterrupt
    assert time.monotonic() - start < 3
