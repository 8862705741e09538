"""What every executor has to do, wherever jobs run: a contract, and jobs to hold it by."""

import dataclasses
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from nastk.comparison.jobs import TrainingJob, processes_for
from nastk.core.blame import job_of
from nastk.core.executor import InProcess, Processes, opened
from nastk.core.job import perform, read_result
from nastk.core.pool import worker_pool
from nastk.core.run import Run
from nastk.records.execution import Execution
from nastk.search_spaces import Toy
from nastk.tasks import named
from nastk.tasks.images.arrays import ArrayTask
from nastk.tasks.named import added, make_task
from nastk.training.recipes import DEMONSTRATION

# In a file of its own, since workers find classes by the names of their modules.
JOBS = """
import os
import time
from dataclasses import dataclass

from nastk.core.job import Job


@dataclass(frozen=True, kw_only=True)
class Counting(Job):
    number: int
    log: str  # a line for each step that is done
    fault: str = ""  # a file; while it is there, this job raises at its second step
    pause: float = 0.0
    work: float = 0.0

    @property
    def content(self):
        return {"number": self.number}

    @property
    def needs(self):
        return ["third"]

    def loss(self, result):
        return result.metrics["third"]

    def measure(self, run, report):
        saved = run.path / "checkpoints" / "step"
        saved.parent.mkdir(exist_ok=True)
        for step in range(int(saved.read_text()) if saved.exists() else 0, 3):
            if step == 1 and os.path.exists(self.fault):
                raise ValueError("no luck")
            end = time.process_time() + self.work
            while time.process_time() < end:
                pass
            time.sleep(self.pause)
            with open(self.log, "a") as file:
                file.write(f"{self.number} {step}\\n")
            saved.write_text(str(step + 1))
            report({"step": step + 1, "total": 3})
        return {"third": self.number / 3, "nothing": float("nan")}, [f"{self.number}.png"]
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """The class of jobs, in a module that workers find."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "counting_jobs.py").write_text(JOBS)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(folder))
        yield importlib.import_module("counting_jobs").Counting


@pytest.fixture
def jobs(counting, tmp_path):
    """Make jobs that note their steps."""

    def make(*numbers, **given):
        log = str(tmp_path / "log")
        titles = {number: f"the counting to {number}" for number in numbers}
        return [counting(title=titles[n], number=n, log=log, **given) for n in numbers]

    return make


@pytest.fixture(scope="module")
def workers(counting):
    with worker_pool(2) as pool:
        yield pool


@pytest.fixture(params=["here", pytest.param("processes", marks=pytest.mark.slow)])
def executor(request, tmp_path):
    """An executor on the folder of the test, every call another one."""
    if request.param == "here":
        return lambda: InProcess(tmp_path / "kept")
    pool = request.getfixturevalue("workers")
    return lambda: Processes(tmp_path / "kept", pool)


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def whole(request, tmp_path):
    """An executor with processes of its own, if any, which end behind the block."""

    @contextmanager
    def open_it():
        with opened(tmp_path / "kept", request.param) as made:
            yield made

    return open_it


def steps(tmp_path):
    return sorted((tmp_path / "log").read_text().split("\n")[:-1])


def test_results_come_in_the_order_of_the_jobs_and_equal_ones_are_done_once(
    executor, jobs, tmp_path
):
    slow, quick = jobs(7, pause=0.05) + jobs(1)
    results = executor().run([slow, quick, slow])
    assert list(results) == [slow.key, quick.key]
    assert steps(tmp_path) == ["1 0", "1 1", "1 2", "7 0", "7 1", "7 2"]
    assert [result.metrics["third"] for result in results.values()] == [7 / 3, 1 / 3]
    assert all(math.isnan(result.metrics["nothing"]) for result in results.values())
    assert results[quick.key].skipped == ["1.png"] and results[quick.key].job == {"number": 1}


def test_what_is_done_is_read_to_the_bit_and_not_done_again(executor, jobs, tmp_path):
    first = executor().run(jobs(1, 2))
    seen = []
    again = executor().run(jobs(1, 2, 3), seen.append)
    assert len(steps(tmp_path)) == 9
    assert all(dict(again[key]) == dict(first[key]) for key in first)
    assert [event["step"] for event in seen if "done" not in event] == [2, 3]
    assert all(executor().known(job) is not None for job in jobs(1, 2, 3))
    assert executor().known(*jobs(4)) is None


def test_an_error_names_its_job_and_the_others_lose_nothing(executor, jobs, tmp_path):
    fault, here = tmp_path / "fault", executor()
    fault.touch()
    (fine,), (broken,) = jobs(1), jobs(2, fault=str(fault))
    with pytest.raises(ValueError, match="no luck") as caught:
        here.run([fine, broken, *jobs(3)])
    assert job_of(caught.value) == "the counting to 2"
    assert "in the counting to 2" in caught.value.__notes__
    fault.unlink()
    results = here.run([fine, broken, *jobs(3)])
    assert [result.metrics["third"] for result in results.values()] == [1 / 3, 2 / 3, 1]
    assert len(steps(tmp_path)) == 9  # also the broken one went on from its checkpoint


def test_a_stopped_batch_keeps_what_is_done_and_goes_on(whole, jobs, tmp_path):
    def stop(event):
        if event["step"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), whole() as executor:
        executor.run(jobs(1, 2, 3), stop)
    with whole() as executor:
        known = [executor.known(job) for job in jobs(1, 2, 3)]
        assert any(result is not None for result in known)
        results = executor.run(jobs(1, 2, 3))
    assert len(results) == 3 and len(steps(tmp_path)) == 9


def test_progress_grows_and_ends_at_the_number_of_jobs(executor, jobs):
    seen, here = [], executor()
    here.run(jobs(1, 2, pause=0 if isinstance(here, InProcess) else 0.4), seen.append)
    assert [event["step"] for event in seen if "done" not in event] == [0, 1, 2]
    assert seen[-1] == {"phase": "train", "step": 2, "total": 2, "loss": seen[-1]["loss"]}
    parts = [event["done"] for event in seen if "done" in event]
    assert parts and all(0 < part <= 2 for part in parts)


def test_cpu_seconds_are_those_of_the_job_and_told_where_this_process_did_not_spend_them(
    executor, jobs
):
    (done,) = executor().finished(jobs(1, work=0.05), print)
    spent = done.result.cpu_seconds
    assert 0.15 <= spent < 0.4
    is_here = isinstance(executor(), InProcess)
    assert done.elsewhere == pytest.approx(0 if is_here else spent, abs=0.05)
    (again,) = executor().finished(jobs(1), print)
    assert again.result.cpu_seconds == spent
    assert again.elsewhere == pytest.approx(spent, abs=0.05)


def test_jobs_may_be_submitted_before_they_are_waited_for(executor, jobs, tmp_path):
    here = executor()
    for job in jobs(1, 2):
        here.submit(job)
        here.submit(job)
    second, first = jobs(2, 1)
    assert [next(here.finished([job], print)).job.number for job in (second, first)] == [2, 1]
    assert len(steps(tmp_path)) == 6


def test_a_damaged_result_and_one_of_another_job_are_refused_in_one_line(jobs, tmp_path):
    executor, (job,) = InProcess(tmp_path), jobs(1)
    executor.run([job])
    file = tmp_path / job.key / "result.json"
    whole = json.loads(file.read_text())
    for wrong, words in (
        ({"job": {"number": 2}}, "it is of another job than the counting to 1"),
        ({"metrics": {"half": 1.0}}, "it misses 'metrics.third'"),
        ({"metrics": {"third": "much"}}, "its metrics.third is 'much', expected a number"),
        ({"threads": 0}, "its threads is 0"),
    ):
        file.write_text(json.dumps(whole | wrong))
        with pytest.raises(ValueError, match=words) as caught:
            executor.known(job)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
        assert "remove the file to have that done again" in str(caught.value)
    file.unlink()
    assert executor.run([job])[job.key].metrics["third"] == 1 / 3


def test_a_result_says_which_version_wrote_it_and_leaves_nothing_to_go_on_from(jobs, tmp_path):
    import nastk

    (job,) = jobs(1)
    perform(tmp_path, job)
    (tmp_path / job.key / "checkpoints").mkdir()  # as a kill behind the result leaves them
    perform(tmp_path, job)
    kept = {path.name for path in (tmp_path / job.key).iterdir()}
    assert kept == {".lock", "result.json"}
    assert read_result(tmp_path / job.key / "result.json").nastk == nastk.__version__


def test_a_job_that_another_process_holds_is_waited_for(jobs, tmp_path, caplog):
    (job,) = jobs(1)
    other = Run(tmp_path / job.key)
    other.path.mkdir()
    other.acquire()
    release = threading.Timer(0.1, other.release)
    release.start()
    assert perform(tmp_path, job).metrics["third"] == 1 / 3
    release.join()
    assert "the counting to 1 is under way in another process" in caplog.text


def sha256_of_digits():
    return make_task("digits", Toy().resolution).describe()["train_sha256"]


@pytest.mark.slow
def test_a_training_is_the_same_here_and_in_a_worker(workers, tmp_path):
    made = [
        TrainingJob(
            title=f"a training with seed {seed}",
            space="toy",
            options={},
            choices={"width": 8, "kernel": 3},
            data="digits",
            data_sha256=sha256_of_digits(),
            recipe=DEMONSTRATION,
            steps=3,
            execution=Execution(seed=seed),
        )
        for seed in (0, 1)
    ]
    here = InProcess(tmp_path / "here").run(made)
    there = Processes(tmp_path / "there", workers).run(made)
    for job in made:
        assert here[job.key].metrics == there[job.key].metrics
        assert here[job.key].job == there[job.key].job
    assert here[made[0].key].metrics != here[made[1].key].metrics


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_batch_loses_no_step_that_was_saved(processes, counting, jobs, tmp_path):
    """The file of the class is in a folder on the path of the script."""
    script = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from counting_jobs import Counting\nfrom nastk.core.executor import opened\n"
        "log = sys.argv[3]\n"
        "made = [Counting(title='', number=n, log=log, pause=0.2) for n in (1, 2, 3)]\n"
        f"with opened(Path(sys.argv[2]), {processes}) as executor:\n    executor.run(made)\n"
    )
    folder = os.path.dirname(sys.modules["counting_jobs"].__file__)
    words = [sys.executable, "-c", script, folder, str(tmp_path / "kept"), str(tmp_path / "log")]
    process = subprocess.Popen(words)
    deadline = time.monotonic() + 100
    while not (tmp_path / "log").exists() or len(steps(tmp_path)) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.5)  # what the kill leaves behind ends by itself
    results = InProcess(tmp_path / "kept").run(jobs(1, 2, 3))
    assert [result.metrics["third"] for result in results.values()] == [1 / 3, 2 / 3, 1]
    assert len(steps(tmp_path)) - len(set(steps(tmp_path))) <= processes  # the step of the kill


KIND = """
from nastk.tasks.images.arrays import ArrayTask
from nastk.tasks.images.digits import digits


class Mine(ArrayTask):
    def __init__(self, resolution):
        super().__init__(source=digits(), resolution=resolution)
"""


def a_training_on(data):
    return TrainingJob(
        title="a training",
        space="toy",
        options={},
        choices={"width": 8, "kernel": 3},
        data=data,
        data_sha256=sha256_of_digits(),
        recipe=DEMONSTRATION,
        steps=2,
        execution=Execution(),
        kind=added(data),
    )


@pytest.mark.slow
def test_workers_know_a_kind_that_a_program_has_added(workers, tmp_path, monkeypatch):
    assert [workers.submit(abs, n).result() for n in (-1, -2)] == [1, 2]  # both have begun
    (tmp_path / "my_kind.py").write_text(KIND)
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module("my_kind").Mine
    monkeypatch.setitem(named.TASKS, "mine", mine)
    job = a_training_on("mine")
    with pytest.raises(ValueError, match="do not find what they are to work on") as caught:
        Processes(tmp_path / "before", workers).run([job])  # without that folder on their path
    assert "\n" not in str(caught.value) and "--processes 1" in str(caught.value)
    with opened(tmp_path / "there", 2) as executor:
        there = executor.run([job])[job.key]
    assert there.metrics == InProcess(tmp_path / "here").run([job])[job.key].metrics


def test_kinds_of_nastk_are_not_sent_and_one_of_no_module_cannot_be(tmp_path, monkeypatch):
    class Local(ArrayTask):
        """Found by nobody else."""

    assert added("digits") is None
    monkeypatch.setitem(named.TASKS, "local", Local)
    with opened(tmp_path, 2) as executor, pytest.raises(ValueError, match="take --processes 1"):
        executor.run([a_training_on("local")])


def test_what_only_this_process_holds_is_trained_here_which_is_said(caplog):
    assert processes_for(["toy", "digits"], 2) == 2
    assert processes_for(["toy", "python:Mine-12345678"], 1) == 1 and not caplog.text
    assert processes_for(["toy", "python:Mine-12345678"], 2) == 1
    assert "python:Mine-12345678 was given in Python" in caplog.text


SPACE = """
from dataclasses import dataclass
from nastk.search_spaces import Toy


@dataclass(frozen=True, kw_only=True)
class Mine(Toy):
    pass
"""


def test_code_or_data_that_change_before_a_training_begins_are_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(SPACE)
    job = dataclasses.replace(a_training_on("digits"), space=f"{file}:Mine")
    assert job.key  # as a command makes it before it trains anything
    file.write_text(SPACE + "# edited\n")
    with pytest.raises(ValueError, match=r"mine.py:Mine has changed since this command began"):
        perform(tmp_path, job)
    other = dataclasses.replace(a_training_on("digits"), data_sha256="0")
    with pytest.raises(ValueError, match="digits has changed since this command began"):
        perform(tmp_path, other)
    assert not list(tmp_path.glob("*/result.json"))
