"""`nastk bench proxy` says how much of a training's result is due to the arch."""

import json

import numpy as np
import pytest
from nastk.commands.screen import print_proxy
from nastk.comparison.jobs import TrainingJob, train_all
from nastk.comparison.signal import intraclass_correlation
from nastk.evaluators.train import Training
from nastk.records.execution import Execution
from nastk.search_spaces import SandglassMicroTab
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION
from nastk.training.task import measure
from nastk.workflows.proxy import bench_proxy, random_archs

OPTIONS = {
    "space": "sandglass-micro-tab",
    "flops": "60K",
    "data": "digits",
    "recipe": "demonstration",
    "archs": 4,
    "seeds": 2,
    "steps": 3,
}
KEYS = {"icc_loss", "icc_accuracy", "ceiling_tau", "params_tau"}


@pytest.mark.slow
def test_the_command_measures_warns_and_does_not_train_twice(tmp_path, capsys, command):
    flags = [part for name, value in OPTIONS.items() for part in (f"--{name}", str(value))]
    done = command("bench", "proxy", *flags, "--out", "trainings", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) >= KEYS and all(-1 <= result[key] <= 1 for key in KEYS)
    files = sorted((tmp_path / "trainings").glob("*/result.json"))
    stamps = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 8
    done = [json.loads(file.read_text()) for file in files]
    metrics = [training["metrics"] for training in done]
    assert all("test_loss_nats" not in entry for entry in metrics)
    losses = np.array([entry["architecture_loss_nats"] for entry in metrics])
    assert result["loss_mean_nats"] == pytest.approx(losses.mean())
    by_arch = {}
    for training, loss in zip(done, losses, strict=True):
        by_arch.setdefault(str(training["job"]["choices"]), []).append(loss)
    expected = intraclass_correlation(np.array(list(by_arch.values())))
    assert result["icc_loss"] == pytest.approx(expected)
    again = bench_proxy(**OPTIONS, out=tmp_path / "trainings")
    assert stamps == [file.stat().st_mtime_ns for file in files]
    assert {key: again[key] for key in KEYS} == {key: result[key] for key in KEYS}
    assert (again["warning"] is not None) == (result["icc_loss"] < 0.5)
    print_proxy(again | {"warning": "too little"})
    printed = capsys.readouterr().out
    assert f"{result['icc_loss']:.2f}" in printed and "warning: too little" in printed


@pytest.mark.slow
def test_a_training_is_what_a_search_would_see(tmp_path):
    space, task = SandglassMicroTab(), make_task("digits", 20)
    arch = space.arch_at(dict.fromkeys(space.choices(), 0))
    job = TrainingJob(
        title="a training",
        space=space.name,
        options=space.options,
        choices=dict(arch.choices),
        data="digits",
        data_sha256=task.describe()["train_sha256"],
        recipe=DEMONSTRATION,
        steps=4,
        execution=Execution(processes=1, seed=1),
        split="weights",
    )
    seen = []
    result = train_all([job], tmp_path, seen.append)[job.key]
    network = Training(
        network=space.build(arch, seed=1),
        task=task,
        recipe=DEMONSTRATION,
        seed=1,
        steps=4,
        memory="high",
        split="weights",
    ).fit()
    expected = measure(network, task, "architecture")
    assert result.metrics == pytest.approx(expected, rel=1e-4)
    assert seen[-1]["loss"] == result.metrics["architecture_loss_nats"]


def test_archs_are_different_and_lie_in_the_band():
    space = SandglassMicroTab()
    archs = random_archs(space.name, space, space, "95K:106K", 30, 0)
    assert len({json.dumps(dict(a.choices)) for a in archs}) == 30
    assert all(95_000 <= a.flops <= 106_000 for a in archs)
    with pytest.raises(ValueError, match=r"met only 1 different archs .* 25,000 to 26,000 FLOPs"):
        random_archs(space.name, space, space, "25K:26K", 3, 0)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"archs": 3}, "at least 4 archs"),
        ({"seeds": 1}, "2 seeds"),
        ({"recipe": "smal"}, "did you mean 'small'"),
        ({"data": "digit"}, "did you mean 'digits'"),
        ({"space": "sandglas"}, "did you mean 'sandglass'"),
        ({"flops": "many"}, "is not a budget"),
        ({"flops": "1K"}, "25,960"),
        ({"processes": 0}, "--processes"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(options, words, tmp_path):
    given = {"space": "sandglass-micro-tab", "flops": "60K", "out": tmp_path} | options
    with pytest.raises(ValueError, match=words):
        bench_proxy(**given)
    assert not list(tmp_path.iterdir())
