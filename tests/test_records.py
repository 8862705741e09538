"""What runs record about themselves, and spaces and data that come from the user's files."""

import dataclasses
import errno
import importlib
import json
import os
import sys
from pathlib import Path

import asking
import nastk
import numpy as np
import pytest
from nastk.commands import app
from nastk.comparison import jobs
from nastk.comparison.jobs import TrainingJob
from nastk.core import files, streams
from nastk.core.choice import Slot
from nastk.core.run import Run
from nastk.nasbench.families import find_space
from nastk.records.execution import Execution
from nastk.records.weights import load_weights, save_weights
from nastk.tasks import named
from nastk.training.recipes import RECIPES
from nastk.workflows import export as workflow

MINE = """
from dataclasses import dataclass
from torch import nn
from nastk import Space
from nastk.ops import conv2d, depthwise_conv2d, linear

@dataclass(frozen=True, kw_only=True)
class Mine(Space):
    resolution: int = 28
    num_classes: int = 10
    kernels: tuple[int, ...] = (3, 5)

    def network(self, choose):
        return nn.Sequential(
            conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8),
            depthwise_conv2d(8, choose('kernel', self.kernels)), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), linear(8, self.num_classes))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a user's space, made from within its folder by relative paths."""
    path = tmp_path_factory.mktemp("records")
    (path / "mine.py").write_text(MINE)
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        x = generator.integers(0, 255, (40, 28, 28), dtype=np.uint8)
        np.savez(path / f"{name}.npz", x=x, y=np.arange(40) % 4)
    before = os.getcwd()
    os.chdir(path)
    try:
        asking.search("mine.py:Mine", "100%", data="npz:a.npz", steps=3, seed=3, out="run")
    finally:
        os.chdir(before)
    return path


def test_a_search_says_how_it_came_to_be(folder):
    manifest = Run.open(folder / "run").manifest
    assert manifest["space"] == f"{folder / 'mine.py'}:Mine"
    assert manifest["data"] == f"npz:{folder / 'a.npz'}"
    assert manifest["target"]["num_classes"] == manifest["proxy"]["num_classes"] == 4
    assert manifest["data_record"]["split_sizes"] == {
        "weights": 24,
        "architecture": 8,
        "train": 32,
        "test": 8,
    }
    says_all(manifest)


def says_all(record):
    assert {"seed", "device", "versions", "command", "data_record"} <= set(record)
    assert {"name", "origin", "licence", "train_sha256"} <= set(record["data_record"])
    checkout = Path(nastk.__file__).parent / ".git"
    assert ("git_commit" in record) == checkout.exists()


def test_a_run_of_a_users_space_works_from_another_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = asking.retrain(folder / "run", steps=2, inherit=True)
    says_all(trained["record"])
    assert nastk.evaluate(folder / "run")["metrics"]["test_loss_nats"] > 0
    assert nastk.load(folder / "run", weights=trained["weights"]) is not None
    with pytest.raises(ValueError, match="none of nastk's"):
        load_weights(Path(trained["weights"]))  # a file may not name code to run
    with pytest.raises(ValueError, match="belongs to another network"):
        nastk.load("mobilenext-1.0", weights=trained["weights"])
    with pytest.raises(ValueError, match="give the run folder"):
        nastk.count(folder / "run/arch.json")


def test_other_data_of_the_same_kind_are_trained_on_anew(folder):
    names = [
        asking.retrain(folder / "run", steps=2, data=f"npz:{folder / name}.npz")["weights"]
        for name in ("a", "b")
    ]
    assert names[0] != names[1]
    assert Path(names[0]).read_bytes() != Path(names[1]).read_bytes()


def test_a_retraining_of_a_name_says_how_it_came_to_be(folder, tmp_path):
    asking.search("toy", "90%", strategy="random", out=tmp_path / "run")
    result = asking.retrain(
        tmp_path / "run/arch.json", out=tmp_path / "t", steps=2, seed=7, data="digits"
    )
    manifest = Run.open(tmp_path / "t").manifest
    says_all(manifest)
    says_all(result["record"])
    assert manifest["seed"] == 7


def test_a_space_stays_the_same_class_until_its_file_changes(tmp_path):
    file = tmp_path / "random.py"  # the name of a module of Python's
    file.write_text(MINE)
    first = find_space(f"{file}:Mine")
    assert find_space(f"{tmp_path}/../{tmp_path.name}/random.py:Mine") is first
    assert sys.modules["random"] is not sys.modules[first.__module__]
    file.write_text(MINE.replace("(3, 5)", "(3, 7)"))
    os.utime(file, ns=(1, 1))
    assert find_space(f"{file}:Mine")().kernels == (3, 7)


@pytest.mark.parametrize("text", ["def", "import nothing_of_that_name", "1 / 0"])
def test_a_space_that_cannot_be_run_is_one_line(tmp_path, text):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ValueError, match="cannot be run"):
        find_space(f"{tmp_path / 'bad.py'}:Mine")


def test_what_a_space_prints_stays_off_standard_output(tmp_path, capfd):
    (tmp_path / "loud.py").write_text(
        "import os, nastk\nprint('from Python')\nos.system('echo from a process')\n"
        "from nastk.core.budget import flops_range\nfrom nastk.search_spaces import Toy\n"
        "flops_range(Toy(num_classes=7))\n" + MINE
    )
    assert find_space(f"{tmp_path / 'loud.py'}:Mine").name == "Mine"
    print("result")
    said = capfd.readouterr()
    assert said.out == "result\n"
    assert "from Python\n" in said.err and "from a process\n" in said.err


def test_a_training_is_another_in_another_space_or_on_other_data(tmp_path):
    def key(space, sha256="0", data="digits"):
        given = {"options": {}, "choices": {}, "data": data, "data_sha256": sha256}
        given |= {"recipe": RECIPES["small"], "steps": 1, "execution": Execution()}
        return TrainingJob(title="a training", space=space, **given).key

    file, copy = tmp_path / "mine.py", tmp_path / "copy.py"
    file.write_text(MINE)
    copy.write_text(MINE)
    before = key(f"{file}:Mine")
    assert before == key(f"{copy}:Mine")  # a run trains what it keeps a copy of
    task = key("toy", data=f"task:{file}:Mine")
    assert task == key("toy", data=f"task:{copy}:Mine") != key("toy", data="task:python:Mine-1")
    file.write_text(MINE + "\n")
    assert len({before, key(f"{file}:Mine"), key("toy"), key("mbconv")}) == 4
    assert task != key("toy", data=f"task:{file}:Mine")
    assert key("toy") != key("toy", "1")


def test_a_training_is_another_where_code_changed_that_its_file_imports(tmp_path, monkeypatch):
    def key(space, data="digits"):
        given = {"options": {}, "choices": {}, "data": data, "data_sha256": "0"}
        given |= {"recipe": RECIPES["small"], "steps": 1, "execution": Execution()}
        return TrainingJob(title="a training", space=space, **given).key

    blocks, file, kind = (tmp_path / f"{name}.py" for name in ("my_blocks", "mine", "my_kind"))
    blocks.write_text("width = 8\n")
    file.write_text("from my_blocks import width\n" + MINE)
    kind.write_text("class Kind:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    find_space(f"{file}:Mine")
    monkeypatch.setitem(named.TASKS, "mine", importlib.import_module("my_kind").Kind)
    before = [key(f"{file}:Mine"), key("toy", f"task:{file}:Mine"), key("toy", "mine")]
    blocks.write_text("width = 9\n")
    assert before[2] == key("toy", "mine")
    kind.write_text("class Kind:\n    weight = 2\n")
    after = [key(f"{file}:Mine"), key("toy", f"task:{file}:Mine"), key("toy", "mine")]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_training_is_known_by_what_its_recipe_does(monkeypatch):
    def key(recipe, **other):
        given = {"space": "toy", "options": {}, "choices": {}, "data": "digits", "steps": 1}
        given |= {"data_sha256": "0", "execution": Execution()}
        return TrainingJob(title="a training", recipe=recipe, **given | other).key

    small = RECIPES["small"]
    assert key(small) == key(dataclasses.replace(small, name="mine", epochs=3, least_steps=0))
    others = [dataclasses.replace(small, lr=1.0), dataclasses.replace(small, mixup=0.1)]
    assert len({known := key(small), *map(key, others), key(small, steps=2)}) == 4
    for place, name in ((streams, "VERSION"), (jobs, "ENGINE")):  # other numbers
        with monkeypatch.context() as patched:
            patched.setattr(place, name, getattr(place, name) + 1)
            assert key(small) != known


def rewrite(file, seed, num_classes=4):
    """Write other images, and perhaps more classes, to where data once stood."""
    x = np.random.default_rng(seed).integers(0, 255, (40, 28, 28), dtype=np.uint8)
    np.savez(file, x=x, y=np.arange(40) % num_classes)
    return f"npz:{file}"


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A search on the user's data that was stopped after two steps."""
    data, original = rewrite(tmp_path / "a.npz", 0), Run.log

    def stop_after_two(self, **event):
        original(self, **event)
        if event["step"] == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            asking.search("toy", "90%", data=data, steps=3, out=tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("num_classes", [4, 5])
def test_a_search_does_not_go_on_with_other_data(stopped, num_classes):
    file, words = stopped.parent / "a.npz", r"a\.npz is not what the run .* train_sha256 is"
    rewrite(file, 1, num_classes)
    with pytest.raises(ValueError, match=words) as caught:
        asking.resume(stopped)
    assert "put the old data back" in str(caught.value) and "\n" not in str(caught.value)
    rewrite(file, 0)
    asking.resume(stopped)
    rewrite(file, 1, num_classes)
    with pytest.raises(ValueError, match=words):
        asking.retrain(stopped, steps=2, inherit=True)
    with pytest.raises(ValueError, match=words):
        asking.resume(stopped, evidence="quick")


@pytest.mark.parametrize("num_classes", [4, 5])
def test_data_that_were_written_anew_are_trained_on_anew(tmp_path, num_classes):
    data = rewrite(tmp_path / "a.npz", 0)
    asking.search("toy", "90%", data=data, strategy="random", out=tmp_path / "run")
    before = asking.retrain(tmp_path / "run", steps=2)
    rewrite(tmp_path / "a.npz", 1, num_classes)
    after = asking.retrain(tmp_path / "run", steps=2)
    alone = asking.retrain(tmp_path / "run/arch.json", data=data, steps=2, out=tmp_path / "new")
    assert after["metrics"]["test_loss_nats"] != before["metrics"]["test_loss_nats"]
    assert after["record"]["data_record"] != before["record"]["data_record"]
    weights = [Path(result["weights"]).read_bytes() for result in (after, alone)]
    assert weights[0] == weights[1]


def test_a_supernet_of_other_data_is_not_inherited_from(tmp_path):
    data = [rewrite(tmp_path / f"{seed}.npz", seed) for seed in range(2)]
    asking.search("toy", "90%", data=data[0], steps=2, out=tmp_path / "supernet")
    options = {"strategy": "local", "evaluations": 2, "processes": 1}
    options["supernet"] = tmp_path / "supernet"
    for number, other in enumerate(data):
        options |= {"evaluator": "inherit", "out": tmp_path / f"run{number}", "data": other}
        if number == 0:
            asking.search("toy", "90%", **options)
            continue
        with pytest.raises(ValueError, match=r"1\.npz is not what the run in"):
            asking.search("toy", "90%", **options)


def test_selecting_a_candidate_ends_the_sum_of_features():
    import torch

    slot = Slot()
    slot.set_probs(torch.tensor([0.5, 0.5]), features=True)
    slot.set_index(1)
    assert slot.index == 1 and slot.probs_N is None and not slot.features


@pytest.fixture
def full_disk(monkeypatch):
    def fill():
        def full(handle):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", full)

    return fill


def test_a_full_disk_leaves_the_old_weights(folder, tmp_path, full_disk):
    space = find_space("toy")()
    arch = space.arch({"width": 8, "kernel": 3})
    target = tmp_path / "w.safetensors"
    save_weights(space.build(arch), target, space, arch, {"data": "digits"})
    before = target.read_bytes()
    full_disk()
    with pytest.raises(OSError, match="No space left"):
        save_weights(space.build(arch, seed=1), target, space, arch, {"data": "digits"})
    assert target.read_bytes() == before and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("trouble", ["full disk", "difference"])
def test_an_export_that_fails_leaves_the_old_file(
    folder, tmp_path, full_disk, trouble, monkeypatch
):
    target = tmp_path / "model.pt2"
    target.write_bytes(b"old")
    if trouble == "full disk":
        full_disk()
    else:
        monkeypatch.setattr(workflow.torch.export, "load", lambda path: Wrong())
    with pytest.raises((OSError, RuntimeError), match=r"No space left|would differ"):
        workflow.export(folder / "run", target, untrained=True, force=True)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


class Wrong:
    def module(self):
        return lambda x: x.sum((1, 2, 3))[:, None].expand(-1, 4)


def test_damaged_weights_are_one_line(folder, command):
    weights = Path(asking.retrain(folder / "run", steps=1)["weights"])
    weights.write_bytes(weights.read_bytes()[:-50])
    done = command("evaluate", folder / "run")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert json.loads((folder / "run/retrain.json").read_text())["weights"] == str(weights)


@pytest.mark.slow
def test_options_of_a_space_are_those_of_the_resumed_and_loaded_network(tmp_path, monkeypatch):
    """Their candidates decide the arch, so that other defaults could not hold it."""
    command = ["search", "--space", "nasbench201", "--space-set", "channels=4", "--space-set"]
    command += ["cells=1", "--flops", "60%", "--steps", "1", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["nastk", *command])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    from nastk.core.loop import Loop

    original = Loop.save

    def stop(self, step):
        original(self, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "save", stop)
        with pytest.raises(SystemExit):
            app.main()
    found = asking.resume(tmp_path / "run")
    manifest = Run.open(tmp_path / "run").manifest
    assert manifest["target"]["channels"] == 4 and manifest["proxy"]["channels"] == 2
    network = nastk.load(tmp_path / "run", weights="none")
    assert sum(p.numel() for p in network.parameters()) == found["params"]
    assert next(network.parameters()).shape[0] == 4
    assert asking.retrain(tmp_path / "run", steps=1)["network"]["cells"] == 1
