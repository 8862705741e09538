"""How steps are run: in which precision, and recorded or not."""

import dataclasses
import json

import asking
import nastk
import nastk.records.execution
import pytest
import torch
from nastk.core.checkpoint import load_checkpoint
from nastk.core.loop import silent
from nastk.core.run import Run
from nastk.evaluators.train import Training
from nastk.records.naming import check_recording
from nastk.search_spaces import SPACES
from nastk.strategies import STRATEGIES as ALL_STRATEGIES
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION
from nastk.training.static_step import StaticStep
from nastk.training.strategy import CPU

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def recording_anywhere():
    """Let the front door pass recorded steps on a CPU, where they run on the same buffers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nastk.records.execution, "check_recording", lambda *_, **__: None)
        yield


@pytest.fixture
def stopped_after_three(monkeypatch):
    """Stop a search after its third step, every step saved."""
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    original = Run.log

    def log(self, **event):
        if event["step"] == 3:
            raise KeyboardInterrupt
        original(self, **event)

    monkeypatch.setattr(Run, "log", log)
    yield
    monkeypatch.undo()


def traces(run):
    """What a search has logged, found and kept."""
    files = ("metrics.jsonl", "arch.json", "checkpoints/last/weights.safetensors")
    return [(run / file).read_bytes() for file in files]


STRATEGIES = {
    "single": ("logits", {}),
    "bilevel": ("logits", {"level": "bilevel", "optimizer": "sgd"}),
    "three_case": ("logits", {"budget_term": "three_case", "mixture": "straight_through"}),
    "feature sum": ("multi_feature", {}),
    "mixtures": ("meta_kernel", {"archs": 2, "untrained": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_step_on_fixed_buffers_is_the_same_step(name, tmp_path, recording_anywhere):
    strategy, options = STRATEGIES[name]
    for cuda_graph in (False, True):
        asking.search(
            "toy",
            "55K",
            strategy=strategy,
            strategy_options=options,
            steps=5,
            out=tmp_path / str(cuda_graph),
            cuda_graph=cuda_graph,
        )
    assert traces(tmp_path / "True") == traces(tmp_path / "False")


def test_a_recorded_search_that_was_stopped_goes_on_as_if_not(
    tmp_path, recording_anywhere, stopped_after_three, monkeypatch
):
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "55K", steps=6, out=tmp_path / "broken", cuda_graph=True)
    monkeypatch.undo()
    asking.resume(tmp_path / "broken")
    asking.search("toy", "55K", steps=6, out=tmp_path / "whole")
    assert traces(tmp_path / "broken") == traces(tmp_path / "whole")


def trained(steps=4, report=silent, **options):
    space = SPACES["toy"]()
    network = space.build({name: c.candidates[0] for name, c in space.choices().items()})
    task = make_task("digits", space.resolution)
    options = {"recipe": DEMONSTRATION, **options}
    training = Training(network=network, task=task, steps=steps, **options)
    return {key: value.cpu() for key, value in training.fit(report).state_dict().items()}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_recorded_training_is_the_same_training(optimizer):
    recipe = dataclasses.replace(DEMONSTRATION, optimizer=optimizer, ema_decay=0.9)
    plain, recorded = (trained(recipe=recipe, cuda_graph=flag) for flag in (False, True))
    assert all(torch.equal(plain[key], recorded[key]) for key in plain)


def test_a_recorded_step_takes_inputs_of_one_shape():
    step = StaticStep(lambda x: x.sum(), CPU)
    assert step(torch.ones(3)) == 3 and step(torch.zeros(3)) == 0
    with pytest.raises(ValueError, match=r"\[3\], got \[4\]"):
        step(torch.ones(4))


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        ("cpu", {}, "add --device cuda"),
        ("cuda", {"precision": "float16"}, "use bfloat16"),
        ("cuda", {"memory": "lowest"}, "use low"),
    ],
)
def test_what_cannot_be_recorded_is_refused(device, options, words):
    with pytest.raises(ValueError, match=words):
        fine = {"precision": "bfloat16", "memory": "low"}
        check_recording(torch.device(device), **(fine | options))


def test_only_steps_of_the_same_work_can_be_recorded():
    spaces = {name: SPACES[name]() for name in ("toy", "t2t-micro")}
    found = {
        (name, kind): ALL_STRATEGIES[kind]().can_record(space)
        for name, space in spaces.items()
        for kind in ("meta_kernel", "gumbel", "single_path", "evolution")
    }
    assert {key for key, can in found.items() if can} == {
        ("toy", "meta_kernel"),
        ("toy", "evolution"),
        ("t2t-micro", "evolution"),
    }


def test_recording_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="add --device cuda"):
        asking.search("toy", "55K", cuda_graph=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_recording_steps_of_other_work_is_refused(tmp_path, recording_anywhere):
    with pytest.raises(ValueError, match="leave out --cuda-graph"):
        asking.search("toy", "55K", strategy="gumbel", cuda_graph=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("precision", "words"), [("float16", "use bfloat16"), ("half", "unknown precision")]
)
def test_precisions_that_are_of_no_use_are_refused(precision, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        asking.search("toy", "55K", precision=precision, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_search_in_bfloat16_is_recorded_and_resumed_so(
    tmp_path, stopped_after_three, monkeypatch
):
    options = {"steps": 6, "strategy": "logits"}
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "55K", out=tmp_path / "broken", precision="bfloat16", **options)
    monkeypatch.undo()
    asking.resume(tmp_path / "broken")
    asking.search("toy", "55K", out=tmp_path / "whole", precision="bfloat16", **options)
    asking.search("toy", "55K", out=tmp_path / "wide", **options)
    manifests = {name: Run.open(tmp_path / name).manifest for name in ("broken", "wide")}
    assert [m["precision"] for m in manifests.values()] == ["bfloat16", "float32"]
    assert traces(tmp_path / "broken") == traces(tmp_path / "whole")
    losses = [
        json.loads(line)["loss"]
        for name in ("whole", "wide")
        for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
    ]
    assert losses[:6] != losses[6:]
    assert losses[:6] == pytest.approx(losses[6:], rel=0.05)


def test_retraining_keeps_precisions_apart(tmp_path):
    asking.search("toy", "55K", strategy="random", out=tmp_path / "run")
    weights = []
    for precision in ("float32", "bfloat16"):
        result = asking.retrain(tmp_path / "run", steps=3, precision=precision, data="digits")
        assert result["record"]["precision"] == precision
        weights.append(result["weights"])
        network = nastk.load(tmp_path / "run", weights[-1])
        assert all(p.dtype == torch.float32 for p in network.parameters())
    assert weights[0] != weights[1]


def test_scaled_gradients_in_float16_go_on_where_they_stopped(tmp_path, monkeypatch):
    """The front door wants CUDA for this; the scaler itself also runs on a CPU."""
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    asking.search("toy", "55K", strategy="random", out=tmp_path / "run")
    run = Run.open(tmp_path / "run")

    def stop(event):
        if event["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(precision="float16", run=run, report=stop)
    _, state = load_checkpoint(run.path / "checkpoints", "retrain-last")
    assert state["step"] == 2 and state["optimizers"]["scaler"]["scale"] > 1
    broken, whole = trained(precision="float16", run=run), trained(precision="float16")
    assert all(torch.equal(broken[key], whole[key]) for key in whole)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_replayed_training_stays_beside_an_eager_one(precision):
    device, losses = torch.device("cuda"), []
    for flag in (False, True):
        seen = []
        trained(
            steps=10,
            device=device,
            precision=precision,
            cuda_graph=flag,
            report=lambda event, seen=seen: seen.append(event["loss"]),
        )
        losses.append(seen)
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("name", ["single", "bilevel"])
def test_a_replayed_search_stays_beside_an_eager_one(name, tmp_path):
    strategy, options = STRATEGIES[name]
    losses = []
    for flag in (False, True):
        asking.search(
            "toy",
            "55K",
            strategy=strategy,
            strategy_options=options,
            steps=20,
            out=tmp_path / str(flag),
            device="cuda",
            cuda_graph=flag,
        )
        lines = (tmp_path / str(flag) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
