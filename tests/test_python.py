"""What a user of Python gives and gets: classes, numbers and arrays where commands take text."""

import inspect
import os
import subprocess
import sys
from dataclasses import dataclass

import nastk
import numpy as np
import pytest
import torch
from nastk import Budget
from nastk.core.run import Run
from nastk.ops import conv2d, linear
from nastk.strategies import Evolution, MetaKernel
from nastk.workflows.moved import MOVED
from torch import nn

QUIET = {"progress": False}


@dataclass(frozen=True, kw_only=True)
class Mine(nastk.Space):
    resolution: int = 16
    num_classes: int = 10
    width: int = 8

    def network(self, choose):
        return nn.Sequential(
            conv2d(3, self.width, choose("kernel", (3, 5, 7)), stride=4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            linear(self.width, self.num_classes),
        )


SCRIPT = """
from dataclasses import dataclass
import nastk
from nastk.ops import conv2d, linear
from torch import nn

@dataclass(frozen=True, kw_only=True)
class Mine(nastk.Space):
    resolution: int = 16
    num_classes: int = 10
    width: int = 8

    def network(self, choose):
        return nn.Sequential(
            conv2d(3, self.width, choose("kernel", (3, 5, 7)), stride=4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            linear(self.width, self.num_classes),
        )

"""


def script(folder, what, command=("mine.py",)):
    """Run a script that defines a space and does something."""
    (folder / "mine.py").write_text(SCRIPT + what)
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, env=os.environ
    )


def some_data(count=40):
    generator = np.random.default_rng(0)
    return generator.integers(0, 255, (count, 16, 16), dtype=np.uint8), np.arange(count) % 4


def test_a_class_numbers_and_arrays_are_searched(tmp_path):
    found = nastk.search(
        Mine, 1e4, data=some_data(), strategy=MetaKernel(steps=2), out=tmp_path / "run", **QUIET
    )
    manifest = Run.open(tmp_path / "run").manifest
    assert manifest["space"] == f"{__file__}:Mine"
    assert manifest["code"]["space"]["file"] == "code/test_python.py"
    assert manifest["target"]["num_classes"] == 4 and manifest["flops"] == "10000"
    assert found["flops"] <= 10_000 == found["budget_flops"]
    assert set(found) >= {"run", "arch_id", "params"} and found.run == tmp_path / "run"
    assert repr(found) == (
        f"Found(arch {found.arch.id}, {found['flops']:,} FLOPs, {found['params']:,} params, "
        f"in {tmp_path / 'run'})"
    )
    with pytest.raises(ValueError, match="retrain"):
        found.network()
    assert found.network(trained=False).training
    trained, tested = found.retrain(steps=2, **QUIET), found.evaluate()
    assert tested["metrics"].items() <= trained["metrics"].items()
    assert not found.network().training
    assert found.export()["is_trained"] and (tmp_path / "run" / "network.pt2").is_file()
    assert found.report()["html"] == str(tmp_path / "run" / "report.html")


def test_the_options_of_an_instance_are_those_of_the_target(tmp_path):
    options = {"strategy": "random", **QUIET}
    space = Mine(width=12, resolution=20, num_classes=7)
    found = nastk.search(space, "100%", out=tmp_path / "run", **options)
    assert found.space.options == space.options
    assert nastk.search("toy", Budget(1, 60_000), out=tmp_path / "b", **options)["flops"] <= 60_000
    with pytest.raises(ValueError, match="to Named or to its instance, not both"):
        nastk.search(nastk.Named(space, {"width": 3}), "100%", **options)
    with pytest.raises(ValueError, match="which a run cannot record"):
        nastk.search(Mine(width=np.int64(6)), "100%", **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": 3}, "space= takes a name"),
        ({"space": nn.Linear}, "space= takes a name"),
        ({"space": nastk.Space}, "has no method network"),
        ({"budget": 0.5}, "a budget is a whole number of FLOPs"),
        ({"budget": True}, "a budget is a whole number of FLOPs"),
        ({"budget": float("nan")}, "a budget is a whole number of FLOPs"),
        ({"budget": [1.5]}, "a budget is a whole number of FLOPs"),
        ({"data": 3}, "data= takes a name"),
    ],
)
def test_a_wrong_type_is_one_line(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message) as raised:
        nastk.search(**{"space": "toy", "budget": "55K", "out": tmp_path / "run"} | arguments)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_space_of_a_notebook_is_held_by_its_process(tmp_path):
    cell = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(SCRIPT, "<ipython-input-1>", "exec"), cell)
    options = {"strategy": Evolution(steps=1, evaluations=2), **QUIET}
    options |= {"data": some_data(), "execution": nastk.Execution(processes=2)}
    found = nastk.search(cell["Mine"], "100%", **options, out=tmp_path / "run")
    name = Run.open(found.run).manifest["space"]
    assert name.startswith("python:Mine-")
    events = []
    assert nastk.compare(found.run, seeds=1, random=1, steps=2, report=events.append)["rows"]
    done = [event["done"] for event in events if "done" in event]
    assert done[0] == 0.5 and done == sorted(done)  # the time left moves inside a training
    again = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile("# moved\n" + SCRIPT, "<ipython-input-2>", "exec"), again)
    assert nastk.resume(found.run, space=again["Mine"]) == found
    with pytest.raises(ValueError, match="is not that of"):
        nastk.resume(found.run, space=Mine)
    command = [sys.executable, "-m", "nastk", "retrain", str(found.run), "--steps", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "nastk.resume(" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    done = subprocess.run([*command[:3], "count", str(found.run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_script_searches_its_own_class(tmp_path):
    done = script(
        tmp_path,
        'if __name__ == "__main__":\n'
        "    strategy = nastk.Named('evolution', dict(steps=1, evaluations=2))\n"
        "    options = dict(strategy=strategy, execution=nastk.Execution(processes=2), out='run')\n"
        "    print(nastk.search(Mine, '100%', **options))\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Found(arch ") and "evaluate 2/2" in done.stderr
    assert nastk.count(tmp_path / "run", check=True)["flops"]


def test_a_script_without_a_main_guard_is_told(tmp_path):
    done = script(tmp_path, "nastk.search(Mine, '100%', strategy='random', out='run')\n")
    assert 'put what it does below its classes under: if __name__ == "__main__"' in done.stderr
    assert done.stderr.count("UnguardedScriptError: ") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"out": 5}, "out= takes text or a path or None, got 5"),
        ({"execution": "cuda"}, "execution= takes a nastk.Execution or None, got 'cuda'"),
        ({"recipe": {"epoch": 3}}, "unknown setting of a recipe 'epoch'; did you mean 'epochs'"),
        ({"seed": "one"}, "seed= takes a whole number or None, got 'one'"),
        ({"evidence": True}, "evidence= takes text or None, got True"),
        ({"progress": 5}, "progress= takes True or False or a function, got 5"),
        ({"space": nastk.Named("toy", proxy={"scael": 1})}, "did you mean 'scale'"),
        ({"budget": {"flop": "1M"}}, "unknown cost 'flop'; did you mean 'flops'"),
        ({"strategy": torch.nn.Sequential(torch.nn.ReLU())}, "strategy= takes a name"),
        ({"space": torch.nn.Sequential(torch.nn.ReLU())}, "space= takes a name"),
        ({"budget": np.zeros((9, 9))}, "a budget is a whole number"),
    ],
)
def test_wrong_types_are_one_line(options, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        nastk.search(**{"space": "toy", "budget": "90%", "out": tmp_path / "run"} | options)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "keyword, words",
    [
        ("steps", "takes no steps=: give it to the strategy"),
        ("flops", "takes no flops=: give budget='357M'"),
        ("device", r"takes no device=: give execution=nastk.Execution\(device='cuda'\)"),
        ("lr", "takes no lr=: it is a setting of the recipe"),
        ("quiet", "takes no quiet=: give progress="),
        ("budgte", r"unknown argument of search\(\) 'budgte'; did you mean 'budget'"),
    ],
)
def test_a_former_keyword_is_told_what_it_became(keyword, words):
    with pytest.raises(TypeError, match=words) as caught:
        nastk.search("toy", **{keyword: 1})
    assert "\n" not in str(caught.value)


def test_a_keyword_of_the_beginning_is_none_of_a_resumed_search():
    with pytest.raises(TypeError, match="takes no device=: a search goes on as it was begun"):
        nastk.resume("run", device="cuda")
    with pytest.raises(TypeError, match="takes no flops=: give budget='357M'"):
        nastk.resume("run", flops="357M")


def test_every_former_keyword_is_one_that_no_function_of_today_takes():
    today = inspect.signature(nastk.search).parameters
    assert len(today) == 12 and not set(MOVED) & set(today)


def test_what_was_found_stands_for_its_folder(tmp_path):
    found = nastk.search("toy", "90%", strategy="random", out=tmp_path / "run", **QUIET)
    assert nastk.count(found)["flops"] == found["flops"]
    assert nastk.report(found)["runs"][0]["run"] == str(found.run)


def test_the_public_names_are_shown():
    assert {"search", "Found", "export", "Space"} <= set(dir(nastk))
    assert "core" not in dir(nastk)


@pytest.mark.slow
def test_torch_is_left_as_it_was(tmp_path, monkeypatch):
    run = tmp_path / "run"
    options = {"steps": 1, "quiet": True}
    calls = [
        lambda: nastk.search("toy", "55K", strategy=MetaKernel(steps=1), out=run, **QUIET),
        lambda: nastk.resume(run),
        lambda: nastk.retrain(run, steps=1, **QUIET),
        lambda: nastk.evaluate(run),
        lambda: nastk.load(run),
        lambda: nastk.count(run, check=True),
        lambda: nastk.compare(["mobilenext-0.1"], seeds=1, data="digits", processes=1, **options),
    ]
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            for number, call in enumerate(calls):
                state = torch.get_rng_state()
                call()
                assert torch.equal(state, torch.get_rng_state()), number
                assert torch.get_default_dtype() is torch.float64, number
                assert not torch.is_grad_enabled() and torch.get_num_threads() == 2, number
    finally:
        torch.set_default_dtype(torch.float32)
    assert next(nastk.load(run).parameters()).dtype is torch.float32
