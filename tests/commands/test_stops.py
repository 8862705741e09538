"""Commands whose workers have workers end, when they are done as when they are stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
EVERYTHING = """
import sys
import nastk

data, out = "imagefolder:" + sys.argv[1], sys.argv[2]
ways = dict(processes=2, workers=1)
execution = nastk.Execution(**ways)
for name, strategy, evidence in (
    ("evolution", nastk.Named("evolution", dict(evaluations=2, steps=2)), None),
    ("finalists", nastk.Named("single_path", dict(finalists=2, evaluations=8, steps=2)), None),
    ("evidence", "random", "quick"),
):
    print(name, flush=True)
    given = dict(data=data, out=out + name, strategy=strategy, execution=execution)
    nastk.search("toy", "100%", **given, evidence=evidence)
print("compare", flush=True)
nastk.compare(out + "evolution", random=1, seeds=1, steps=2, **ways)
print("retrain", flush=True)
nastk.retrain(out + "evolution", steps=2, execution=nastk.Execution(workers=2))
print("proxy", flush=True)
from nastk.workflows.proxy import bench_proxy
options = dict(archs=4, seeds=2, steps=2, out=out + "p")
bench_proxy(space="toy", flops="0:100%", data=data, **options, **ways)
print("done", flush=True)
"""


@pytest.mark.slow
def test_whatever_trains_in_workers_that_have_workers_ends(tmp_path, folder_of_images):
    folder_of_images(tmp_path / "images", per_class=4)
    script = tmp_path / "everything.py"  # without a guard around its work
    script.write_text(EVERYTHING)
    command = [sys.executable, script, str(tmp_path / "images"), f"{tmp_path}/"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            code = process.wait(timeout=300)
        finally:
            process.kill()
    said = (tmp_path / "log").read_text()
    assert code == 0 and said.splitlines()[-1] == "done", said


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_at_any_time_it_ends_within_seconds(tmp_path, folder_of_images, stop):
    folder_of_images(tmp_path / "images")
    options = ["--space", "toy", "--flops", "100%", "--strategy", "random", "--evaluations", "4"]
    options += ["--steps", "100000", "--processes", "2", "--workers", "1", "--json"]
    options += ["--data", f"imagefolder:{tmp_path / 'images'}"]
    # While libraries are imported, while workers start, and while all of them work.
    for phase, delay in (("torch", 0.0), ("workers", 0.3), ("trials", 1.0)):
        run = tmp_path / f"{phase}-{delay}"
        process = subprocess.Popen(
            [sys.executable, "-m", "nastk", "search", *options, "--out", str(run)],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_for(phase, process, run)
        time.sleep(delay)
        start = time.monotonic()
        if stop == signal.SIGINT:  # as a terminal does
            os.killpg(process.pid, stop)
        else:
            process.send_signal(stop)
        process.wait(timeout=60)
        seconds = time.monotonic() - start
        _, complaints = process.communicate(timeout=60)
        while is_alive(process.pid):
            assert time.monotonic() - start < 60
            time.sleep(0.01)
        everybodys = time.monotonic() - start
        assert seconds < 3 and everybodys < 4, (phase, seconds, everybodys, complaints)
        if stop == signal.SIGKILL:
            assert not complaints
        else:
            assert process.returncode == 130
            assert complaints.startswith("stopped") and complaints.count("\n") == 1, complaints
        assert phase == "torch" or stop == signal.SIGKILL or f"--resume {run}" in complaints


def wait_for(phase, process, run):
    """Wait until a search imports torch, has workers, or these have begun to train."""
    deadline = time.monotonic() + 100
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no {phase}: {process.communicate()[1]}")
        if phase == "torch":
            with open(f"/proc/{process.pid}/maps") as maps:
                is_there = "torch" in maps.read()
        elif phase == "workers":
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
                is_there = bool(children.read())
        else:
            is_there = any(run.glob("trainings/*/.lock"))
        if is_there:
            return
        time.sleep(0.01)


def is_alive(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False
