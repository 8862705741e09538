"""Tasks of a user's own, from a file or a Python program, by the example of the documentation."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import nastk
import pytest
import torch
from nastk.records import trust as trusting
from nastk.records.data import chosen_data
from nastk.tasks import named, own
from nastk.training.task import measure
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
PLACE = f"{ROOT / 'examples' / 'own_task.py'}:Defects"
SEARCH = {"strategy": nastk.Named("logits", {"steps": 3}), "progress": False}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Nothing is opened or trusted that the test has not opened or trusted itself."""
    monkeypatch.setenv("NASTK_OWN_TASKS", "{}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(own, "_recorded", {})


def forget(monkeypatch):
    """Be another process, to which nobody has given the task, on another machine."""
    monkeypatch.setenv("NASTK_OWN_TASKS", "{}")
    monkeypatch.setattr(trusting, "_trusted_now", set())
    monkeypatch.setenv("XDG_STATE_HOME", os.environ["XDG_STATE_HOME"] + "-other")


@pytest.fixture
def example():
    """The example as a module that a Python program has imported."""
    spec = importlib.util.spec_from_file_location("own_task_of_a_test", PLACE.rpartition(":")[0])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_a_task_in_a_file_goes_through_every_command(tmp_path, monkeypatch):
    run = tmp_path / "run"
    nastk.search("toy", "90%", task=PLACE, out=run, **SEARCH)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"] == f"task:{PLACE}" and manifest["task"] == PLACE
    assert (run / manifest["code"]["task"]["file"]).read_text() == Path(
        PLACE.rpartition(":")[0]
    ).read_text()
    made = nastk.retrain(run, steps=3, progress=False)
    assert set(made["metrics"]) >= {"test_error_px"} and made["baselines"] == {}
    assert nastk.evaluate(run)["metrics"]["test_error_px"] == made["metrics"]["test_error_px"]

    forget(monkeypatch)
    with pytest.raises(trusting.UntrustedCodeError, match="brings code of its own"):
        nastk.evaluate(run)
    page = Path(nastk.report(run)["html"]).read_text()  # from what is recorded, without the code
    assert "error" in page and "--task" in page and "does not run unless you trust it" in page
    assert f"{made['metrics']['test_error_px']:.2f}" in page

    nastk.trust(run)
    again = nastk.retrain(run, steps=3, progress=False)
    assert again["metrics"]["test_error_px"] == made["metrics"]["test_error_px"]


def test_a_search_of_a_task_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    expected = nastk.search("toy", "90%", task=PLACE, out=tmp_path / "whole", **SEARCH)

    def stop(event):
        if event.get("step") == 2 and event["phase"] == "search":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nastk.search(
            "toy", "90%", task=PLACE, out=tmp_path / "parts", **SEARCH | {"progress": stop}
        )
    monkeypatch.setenv("NASTK_OWN_TASKS", "{}")  # another process, which trusts the folder
    found = nastk.resume(tmp_path / "parts", progress=False)
    assert found["arch_id"] == expected["arch_id"]
    events = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    assert events[0] == events[1]


@pytest.mark.slow
def test_a_class_and_an_object_of_python_are_taken(tmp_path, example):
    by_class = nastk.search("toy", "90%", task=example.Defects, out=tmp_path / "class", **SEARCH)
    task = example.Defects(28)
    by_object = nastk.search("toy", "90%", task=task, out=tmp_path / "object", **SEARCH)
    assert by_class["arch_id"] == by_object["arch_id"]
    names = [
        json.loads((tmp_path / name / "manifest.json").read_text())["data"]
        for name in ("class", "object")
    ]
    assert names[0] == f"task:{PLACE}" and names[1].startswith("task:python:Defects-")
    compared = nastk.compare(tmp_path / "object", task=task, seeds=1, random=1, steps=2, quiet=True)
    assert all(row["error_px"] > 0 for row in compared["rows"])


@pytest.mark.slow
def test_worker_processes_find_the_file_of_a_task(tmp_path):
    nastk.search("toy", "90%", task=PLACE, out=tmp_path / "run", **SEARCH)
    compared = nastk.compare(
        tmp_path / "run",
        seeds=1,
        random=1,
        steps=2,
        processes=2,
        quiet=True,
    )
    assert len(compared["rows"]) >= 2


def test_an_object_that_reads_at_other_pixels_is_refused(example):
    task = example.Defects(28)
    task.resolution = 32
    name, _ = chosen_data(None, task)
    with pytest.raises(ValueError, match="reads at 32 px, the networks take 28"):
        named.make_task(name, 28)


@pytest.mark.parametrize(
    "line, message",
    [
        ("sizes = None", r"task Mine has no sizes: write for example sizes = {.num_classes.: 10}"),
        (
            "describe = lambda self: {'name': 'mine', 'split_sizes': {}}",
            r"describe\(\) of task Mine says nothing of train_sha256, num_classes: return a dict",
        ),
        ("describe = lambda self: None", "says nothing of name, split_sizes"),
    ],
)
def test_what_a_task_forgets_of_its_data_is_said_at_once(line, message, tmp_path):
    file, path = tmp_path / "mine.py", str(Path(PLACE.rpartition(":")[0]).parent)
    start = f"import sys\nsys.path.insert(0, {path!r})\nfrom own_task import Defects\n"
    file.write_text(f"{start}class Mine(Defects):\n    {line}\n")
    name, _ = chosen_data(None, f"{file}:Mine")
    with pytest.raises(ValueError, match=message):
        named.make_task(name, 28)


def test_a_metric_that_a_meter_forgets_is_named(example, monkeypatch):
    monkeypatch.setattr(example.Error, "compute", lambda self: {"error": 1.0})
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 1))
    task = example.Defects(28)
    with pytest.raises(ValueError, match=r"Error.compute\(\) returns no error_px, which task Def"):
        measure(network, task)


@pytest.mark.parametrize("metrics", [None, [], 7, [{"title": ""}], [{"name": 7, "title": ""}]])
def test_a_damaged_record_of_a_task_is_one_line(metrics):
    with pytest.raises(ValueError, match="what is recorded of task:a is damaged"):
        own.remember_task("task:a", {"kind": "mine", "metrics": metrics})
    own.remember_task("task:a", own.record_of(named.family_of("digits")))
    assert named.metrics_of("task:a") == named.metrics_of("digits")


@pytest.mark.slow
def test_a_training_on_a_task_is_reported_where_its_code_is_not_known(tmp_path, monkeypatch):
    run = tmp_path / "run"
    nastk.search("toy", "90%", strategy="random", data="digits", out=run, progress=False)
    made = nastk.retrain(run, task=PLACE, steps=1, progress=False)
    forget(monkeypatch)
    monkeypatch.setattr(own, "_recorded", {})
    (facts,) = nastk.report(run)["runs"]
    assert facts["training"]["test_error_px"] == made["metrics"]["test_error_px"]
    file = run / "retrain.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"task_record": {"kind": "defects"}}))
    assert "is damaged: no kind and metrics" in Path(nastk.report(run)["html"]).read_text()


def test_an_object_may_have_been_made_otherwise_than_by_its_resolution(example):
    class Sized(example.Defects):
        def __init__(self, folder, side):
            super().__init__(side)

    name, task = chosen_data(None, Sized("anywhere", 28))
    assert named.make_task(name, 28) is task


def test_objects_of_other_settings_are_other_tasks(example):
    class Weighed(example.Defects):
        def __init__(self, resolution, weight):
            super().__init__(resolution)
            self.weight = weight

    two, three, again = (Weighed(28, weight) for weight in (2, 3, 2))
    names = [chosen_data(None, task)[0] for task in (two, three, again)]
    assert names[0] == names[2] != names[1]


def test_a_task_that_nobody_gave_to_this_process_is_refused():
    with pytest.raises(ValueError, match=f"add --task {PLACE}"):
        named.make_task(f"task:{PLACE}", 28)


NO_METRICS = """
import nastk


class Mine(nastk.Task):
    kind = "mine"

    def size(self, split): ...
    def read(self, split, items, draw): ...
    def objective(self, amounts=None): ...
    def meter(self, split=None): ...
    def describe(self): ...
"""


@pytest.mark.parametrize(
    "code, message",
    [
        (NO_METRICS, "task Mine has no metrics: write for example metrics = "),
        (NO_METRICS.replace('    kind = "mine"\n', ""), "task Mine has no kind: write for example"),
        (NO_METRICS.replace("    def size(self, split): ...\n", ""), "has no method size yet"),
        (
            NO_METRICS.replace(
                '"mine"', '"mine"\n    metrics = (nastk.Metric(name="a", title=""),)'
            ),
            r"task Mine is not made by Mine\(resolution=R\)",
        ),
        ("import nastk\n", "defines no Task 'Mine'"),
    ],
    ids=["metrics", "kind", "method", "resolution", "class"],
)
def test_what_a_class_lacks_is_said_before_a_folder_is_made(code, message, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(ValueError, match=message):
        nastk.search("toy", "90%", task=f"{file}:Mine", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"task": "saliency", "data": "digits"}, "digits is for classification, not for saliency"),
        (
            {"task": "classification", "data": "composite"},
            "composite is for saliency, not for clas",
        ),
        ({"task": PLACE, "data": "digits"}, "reads its own data"),
        ({"task": "salience"}, "unknown task 'salience'; did you mean 'saliency'"),
        ({"task": 7}, "task= takes a name, .FILE.py:CLASS."),
    ],
)
def test_contradictions_are_one_line(given, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        nastk.search("toy", "90%", out=tmp_path / "run", progress=False, **given)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_a_kind_alone_takes_its_embedded_data_and_data_alone_their_kind():
    assert chosen_data(None, "saliency")[0] == "composite"
    assert chosen_data(None, "classification")[0] == "digits-photo"
    assert chosen_data("digits", "classification")[0] == chosen_data("digits")[0] == "digits"
    assert chosen_data(None) == (None, None)
    assert all(named.family_of(data).kind == kind for kind, data in named.KINDS.items())


@pytest.mark.parametrize(
    "usual, task, name",
    [
        ("duts:mine", "saliency", "duts:mine"),
        ("duts:mine", "classification", "digits-photo"),
        (f"task:{PLACE}", "saliency", "composite"),
        ("digits", None, "digits"),
    ],
)
def test_a_kind_alone_leaves_a_run_its_own_data_where_they_are_of_it(usual, task, name):
    assert chosen_data(None, task, usual) == (name, None)


def test_every_command_that_takes_data_takes_a_task():
    from nastk.commands.app import app

    for command in (["search"], ["retrain"], ["evaluate"], ["compare"], ["bench", "proxy"]):
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
        assert "--data" in shown and "--task" in shown


def test_the_page_shows_the_example_as_it_is():
    code = Path(PLACE.rpartition(":")[0]).read_text()
    page = (ROOT / "docs" / "own-task.md").read_text()
    assert code.partition('"""\n\n')[2] in page
