"""Strategies and evaluators of a user's: from a file or a program, recorded, resumed, refused."""

import os
import shutil
from dataclasses import dataclass

import asking
import nastk
import numpy as np
import pytest
from nastk.core.run import Run
from nastk.strategies import BlackBox, RandomArch
from nastk.strategies.random import RandomSampler
from nastk.workflows.trials import close_trials
from typer.testing import CliRunner

PLUGINS = """
import os
from dataclasses import dataclass
from pathlib import Path
import nastk
from nastk.strategies import BlackBox
from nastk.strategies.random import RandomSampler

@dataclass(frozen=True, kw_only=True)
class Shifted(BlackBox):
    by: int = 1

    def sampler(self, space, budget, seed):
        return RandomSampler(space, budget, seed + self.by)

@dataclass(frozen=True, kw_only=True)
class Small(nastk.Evaluator):
    objective = "size"
    weight: float = 1.0
    pause: str = ""

    def evaluate(self, arch):
        if self.pause and len(list(Path(self.pause).parent.glob("run/evaluations/*"))) > 2:
            if Path(self.pause).exists():
                raise KeyboardInterrupt
        size = sum(w.numel() for w in self.problem.proxy.build(arch).parameters())
        return {"size": self.weight * size, "process": os.getpid()}
"""
OPTIONS = {"space": "toy", "flops": "49K:58.5K", "evaluations": 8, "quiet": True}


@dataclass(frozen=True, kw_only=True)
class Large(nastk.Evaluator):
    objective = "size"
    maximises = True

    def evaluate(self, arch):
        network = self.problem.proxy.build(arch)
        return {"size": np.float32(sum(w.numel() for w in network.parameters()))}


@dataclass(frozen=True, kw_only=True)
class Mine(BlackBox):
    by: int = 0

    def sampler(self, space, budget, seed):
        return RandomSampler(space, budget, seed + self.by)


def trials(run):
    return [event for event in Run.open(run).events() if "trial" in event]


def test_a_damaged_result_that_a_search_did_not_ask_for_does_not_stop_its_end(tmp_path):
    file = tmp_path / "trainings/0123/result.json"
    file.parent.mkdir(parents=True)
    file.write_text("nul")
    assert close_trials(Run(tmp_path)) == 0 and file.is_file()


def test_a_class_of_a_program_evaluates_and_an_instance_searches(tmp_path):
    options = OPTIONS | {"evaluator": Large, "evaluations": None, "processes": 1}
    strategy = Mine(by=3, evaluations=5)
    found = asking.search(**options, strategy=strategy, out=tmp_path / "run")
    manifest = Run.open(found.run).manifest
    assert manifest.strategy == f"{__file__}:Mine" and manifest.evaluator == f"{__file__}:Large"
    assert manifest.strategy_options == {"by": 3, "evaluations": 5}
    assert manifest.code["strategy"].file == manifest.code["evaluator"].file
    assert found["params"] == max(event["size"] for event in trials(found.run))
    assert not (found.run / "evaluations").exists()
    with pytest.raises(ValueError, match="to Named or to its instance, not both"):
        asking.search(**OPTIONS | {"strategy": strategy})
    named = asking.search(**options, strategy=RandomArch(evaluations=2), out=tmp_path / "b")
    assert Run.open(named.run).manifest.strategy == "random"


def test_a_search_by_files_goes_on_and_its_code_is_trusted_where_it_ran(tmp_path):
    file, stop = tmp_path / "plugins.py", tmp_path / "stop"
    file.write_text(PLUGINS)
    options = OPTIONS | {"strategy": f"{file}:Shifted", "evaluator": f"{file}:Small"}
    options |= {"processes": 1, "strategy_options": {"by": 2}}
    whole = asking.search(**options, out=tmp_path / "whole")
    stop.touch()
    options["evaluator_options"] = {"weight": 1, "pause": str(stop)}
    with pytest.raises(KeyboardInterrupt):
        asking.search(**options, out=tmp_path / "run")
    assert 0 < len(trials(tmp_path / "run")) < 8
    stop.unlink()
    file.write_text("raise RuntimeError('edited since')")
    received = tmp_path / "received"
    shutil.copytree(tmp_path / "run", received)
    found = asking.resume(tmp_path / "run", quiet=True)
    losses = [[event["loss"] for event in trials(run)] for run in (found.run, whole.run)]
    assert losses[0] == losses[1] and found["arch_id"] == whole["arch_id"]
    with pytest.raises(ValueError, match="does not run unless you trust it"):
        asking.resume(received, quiet=True)


@pytest.mark.slow
def test_worker_processes_find_the_evaluator_of_a_file(tmp_path):
    (tmp_path / "plugins.py").write_text(PLUGINS)
    words = ["search", "--space", "toy", "--flops", "49K:58.5K", "--strategy"]
    words += [f"{tmp_path / 'plugins.py'}:Shifted", "--set", "by=2", "--set", "in_flight=4"]
    words += ["--evaluator", f"{tmp_path / 'plugins.py'}:Small", "--evaluator-set", "weight=2"]
    words += ["--evaluations", "8", "--processes", "2", "--out", str(tmp_path / "run"), "--json"]
    from nastk.commands.app import app

    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    processes = {event["process"] for event in trials(tmp_path / "run")}
    assert processes and os.getpid() not in processes


def test_two_files_of_one_name_are_both_kept(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(PLUGINS + f"# {folder}\n")
    names = {"strategy": "a/mine.py:Shifted", "evaluator": "b/mine.py:Small"}
    options = OPTIONS | {key: f"{tmp_path}/{name}" for key, name in names.items()}
    found = asking.search(**options, processes=1, out=tmp_path / "run")
    code = Run.open(found.run).manifest.code
    kept = {role: (found.run / code[role].file).read_text()[-2] for role in names}
    assert kept == {"strategy": "a", "evaluator": "b"}


def evaluator(body, objective="size"):
    return (
        "import nastk\nclass Mine(nastk.Evaluator):\n"
        f"    objective = {objective!r}\n    def evaluate(self, arch):\n        {body}\n"
    )


def strategy(body):
    return (
        "import nastk\nclass Mine(nastk.Strategy):\n"
        f"    def search(self, problem, run, report):\n        {body}\n"
    )


WRONG = {
    "no class": ("evaluator", "class Other: pass", "defines no Evaluator 'Mine'"),
    "of another kind": ("strategy", evaluator("pass"), "defines no Strategy 'Mine'"),
    "unfinished": ("evaluator", "import nastk\nclass Mine(nastk.Evaluator): pass", "no method eva"),
    "nothing": ("evaluator", evaluator("return None"), "Mine returned None; it has to return"),
    "no objective": ("evaluator", evaluator("return {'depth': 3}"), "no 'size', which is its"),
    "too much": ("evaluator", evaluator("return {'size': 1e200}"), "returned 1e.200 as 'size'"),
    "text": ("evaluator", evaluator("return {'size': 'big'}"), "returned 'big' as 'size'"),
    "a name taken": (
        "evaluator",
        evaluator("return {'size': 1, 'loss': 2}"),
        "'loss' is no name for a metric",
    ),
    "no arch": ("strategy", strategy("return {'width': 8}"), "which is no nastk.Arch"),
    "too large": (
        "strategy",
        strategy("return problem.space.arch_at({'width': 1, 'kernel': 1})"),
        "the budget is 0 to 50,000",
    ),
    "no such option": ("strategy_options", strategy("pass"), "unknown option of Mine 'speed'"),
}


@pytest.mark.parametrize(("kind", "text", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_in_a_plugin_is_one_line_and_leaves_no_run(kind, text, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    name = f"{tmp_path / 'mine.py'}:Mine"
    options = OPTIONS | {"out": tmp_path / "run", "processes": 1, "flops": "50K"}
    options |= {"strategy": "local", "evaluator": name} if kind == "evaluator" else {}
    if kind != "evaluator":
        options |= {"strategy": name, "evaluations": None}
    if kind == "strategy_options":
        options["strategy_options"] = {"speed": 3}
    with pytest.raises(ValueError, match=message) as raised:
        asking.search(**options)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": 3}, "strategy= takes a name"),
        ({"strategy": "local", "evaluator": Large(problem=None)}, "evaluator= takes a name"),
        ({"strategy": BlackBox}, "has no method sampler"),
        ({"strategy": "local", "evaluator": Large, "steps": 3}, "takes no number of steps"),
        ({"strategy": "local", "evaluator": Large, "evaluator_options": {"a": 1}}, "no options"),
        ({"strategy": "plug.py"}, "say which class of it"),
    ],
)
def test_a_wrong_plugin_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        asking.search(**OPTIONS | arguments)
