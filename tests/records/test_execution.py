"""How a run is executed: checked where it is said, recorded, and the same when read again."""

import dataclasses
import json
import os
import pickle

import asking
import pytest
import torch
from nastk.core.run import Run, write_json
from nastk.ops.chain import default_memory
from nastk.records.execution import Execution
from nastk.records.reading import problem_of


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"memory": "hihg"}, "unknown memory 'hihg'; did you mean 'high'"),
        ({"precision": "half"}, "unknown precision"),
        ({"precision": "float16"}, "needs --device cuda"),
        ({"cuda_graph": True}, "add --device cuda or leave it out"),
        ({"workers": -1}, "--workers takes a whole number"),
        ({"processes": 0}, "--processes takes a whole number"),
        ({"seed": -1}, "--seed takes a whole number"),
        ({"device": 3}, "device= takes text, got 3"),
        ({"strict": "no"}, "strict= takes True or False, got 'no'"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_where_it_is_said(options, words):
    with pytest.raises(ValueError, match=words):
        Execution(**options)
    with pytest.raises(ValueError, match=words):
        Execution.asked(**options)
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(Execution(), **options)


def test_what_nobody_said_is_the_best_of_the_device():
    asked = Execution.asked()
    assert asked.memory == default_memory(torch.device("cpu")) and asked.precision == "float32"
    assert asked.at_a_time == os.cpu_count() and asked.threads == torch.get_num_threads()


def test_trainings_at_a_time_share_the_threads():
    one = Execution(processes=1, workers=2, strict=True)
    assert one.each(7) == dataclasses.replace(one, seed=7)
    for processes, threads in (1, 7), (2, 3), (3, 2), (8, 1):
        assert Execution(processes=processes, threads=7).each(0).threads == threads
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_run_says_how_it_was_begun(tmp_path):
    how = {"seed": 3, "precision": "bfloat16", "memory": "low", "processes": 1, "strict": True}
    folder = tmp_path / "run"
    asking.search("toy", "55K", strategy="random", data="digits", out=folder, **how)
    run = Run.open(folder)
    assert Execution.of_run(run.manifest) == Execution.asked(**how)
    problem = problem_of(run)
    assert (problem.seed, problem.precision, problem.memory) == (3, "bfloat16", "low")


def test_a_run_of_before_is_executed_as_it_was_then(tmp_path):
    folder = tmp_path / "run"
    asking.search("toy", "55K", strategy="random", data="digits", out=folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("memory", "precision", "cuda_graph", "processes"):
        del manifest[name]
    write_json(folder / "manifest.json", manifest)
    assert Execution.of_run(Run.open(folder).manifest) == Execution(memory="high")
