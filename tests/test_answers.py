"""What trainings and tests record for a report: learning curves, answers class by class."""

import io
import json
import math
from collections import Counter

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.core.answers import Answers, Tally
from nastk.core.loop import Loop
from nastk.core.preprocessing import Preprocessing
from nastk.tasks.named import make_task
from nastk.workflows.networks import load
from PIL import Image


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers") / "run"
    asking.search("toy", "55K", strategy="random", out=folder)
    return folder, asking.retrain(folder, steps=30, data="digits")


def answers_of(result):
    return json.loads(open(result["weights"].replace(".safetensors", "-answers.json")).read())


def test_answers_of_a_training_are_those_of_its_network(trained):
    folder, result = trained
    network = load(folder, result["weights"]).eval()
    task = make_task("digits", 28)
    x, labels = task.ordered("test", 0, task.size("test"))
    predicted = network(x).argmax(1)
    pairs = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    told = Answers.from_json(answers_of(result))
    assert told.classes == tuple("0123456789") and sum(told.num_images) == len(labels)
    assert {(t, p): n for t, p, n in told.confused} == {
        k: n for k, n in pairs.items() if len({*k}) > 1
    }
    assert told.num_right == tuple(pairs[k, k] for k in range(10))
    assert told.num_predicted == tuple(predicted.bincount(minlength=10).tolist())
    share = 100 * sum(told.num_right) / sum(told.num_images)
    assert share == pytest.approx(result["metrics"]["test_top1_percent"])
    assert result["class_top1_percents"] == told.top1_percents


def test_examples_are_the_pictures_with_their_answers_the_surest_mistakes_behind(trained):
    folder, result = trained
    told = Answers.from_json(answers_of(result))
    network = load(folder, result["weights"]).eval()
    task = make_task("digits", 28)
    x, labels = task.ordered("test", 0, task.size("test"))
    probs, predicted = network(x).softmax(1).max(1)
    wrong = probs[predicted != labels].sort(descending=True).values[:6]
    mistakes = [e for e in told.examples if e.kind == "mistake"]
    assert [e.probability for e in mistakes] == pytest.approx(wrong.tolist(), abs=1e-5)
    assert all(e.true != e.predicted for e in mistakes)
    drawn = [e for e in told.examples if e.kind == "drawn"]
    places = [(2 * n + 1) * len(labels) // 12 for n in range(6)]
    assert [e.true for e in drawn] == labels[places].tolist()
    raw = task._arrays("test")[0]
    for example, place in zip(drawn, places, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(example.picture)))
        assert picture.shape == (28, 28, 3)
        assert np.array_equal(picture.transpose(2, 0, 1), np.broadcast_to(raw[place], (3, 28, 28)))


def test_evaluating_makes_the_same_answers_and_on_other_data_none(trained, tmp_path):
    folder, result = trained
    file = next(folder.glob("*-answers.json"))
    before = file.read_bytes()
    file.unlink()
    again = nastk.evaluate(folder)
    assert file.read_bytes() == before
    assert again["class_top1_percents"] == result["class_top1_percents"]
    file.unlink()
    nastk.evaluate(folder, data="digits-photo", allow_mismatch=True)
    assert not file.exists()
    nastk.evaluate(folder)


@pytest.mark.parametrize("hold_out", [False, True])
def test_a_curve_is_the_mean_loss_of_stretches_and_the_same_after_a_stop(
    hold_out, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr("nastk.evaluators.curve._POINTS", 10)
    arch = trained[0] / "arch.json"
    losses, options = [], {"steps": 28, "data": "digits", "hold_out": hold_out}

    def listen(event):
        if "say" not in event:
            losses.append(event["loss"])

    asking.retrain(arch, out=tmp_path / "whole", report=listen, **options)
    (whole,) = (tmp_path / "whole").glob("*-curve.json")
    curve = json.loads(whole.read_text())
    assert curve["total"] == 28 and curve["steps"] == [*range(3, 28, 3), 28]
    means = [np.mean(losses[n : n + 3]) for n in range(0, 28, 3)]
    assert curve["train_loss_nats"] == pytest.approx(means)
    assert curve["held_out_steps"] == ([7, 14, 21, 28] if hold_out else [])

    original = Loop.save

    def stop(self, step):
        original(self, step)
        if step == 11:
            raise KeyboardInterrupt

    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(Loop, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        asking.retrain(arch, out=tmp_path / "broken", **options)
    monkeypatch.setattr(Loop, "save", original)
    asking.retrain(arch, out=tmp_path / "broken", **options)
    (broken,) = (tmp_path / "broken").glob("*-curve.json")
    assert broken.read_bytes() == whole.read_bytes()


def test_numbers_that_are_not_finite_are_counted_and_are_no_confident_mistakes():
    tally = Tally(["a", "b"], 3, None)
    logits = torch.tensor([[math.nan, 1.0], [3.0, 0.0], [0.0, 1.0]])
    tally.add(torch.rand(3, 3, 5, 5), torch.tensor([1, 1, 1]), logits)
    told = Answers.from_json(json.loads(json.dumps(tally.answers().to_json())))
    assert told.num_images == (0, 3) and told.top1_percents == [None, pytest.approx(100 / 3)]
    assert told.weakest == "top-1 by class: b: 33 %"
    assert told.examples[0].probability is None
    assert [e.predicted for e in told.examples if e.kind == "mistake"] == [0]


def test_pictures_of_any_size_stay_below_a_hundred_kilobytes():
    way = Preprocessing(resolution=224, mean=(0.5,) * 3, deviation=(0.25,) * 3)
    tally = Tally([str(n) for n in range(1000)], 40, way)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 3, 224, 224, generator=generator) * 4 - 2
    tally.add(x, torch.arange(40), torch.rand(40, 1000, generator=generator))
    entry = tally.answers().to_json()
    assert len(entry["examples"]) == 12 and len(json.dumps(entry["examples"])) < 100_000


def test_rare_mistakes_beyond_a_thousand_pairs_are_counted_only():
    tally = Tally([str(n) for n in range(60)], 0, None)
    for answer in range(60):
        logits = torch.nn.functional.one_hot(torch.full((60,), answer), 60).float()
        tally.add(torch.zeros(60, 3, 1, 1), torch.arange(60), logits)
    told = tally.answers()
    assert told.weakest.startswith("top-1 by class (weakest of 60): 0: 2 %, 1: 2 %, 10: 2 %, ")
    assert len(told.confused) == 1000 and told.num_left_out == 60 * 59 - 1000


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"classes": None},
        {"num_images": [1, 2]},
        {"num_right": [10**30] * 10},
        {"num_right": [5000] * 10},
        {"confused": [[0, 99, 1]]},
        {"confused": [[0, 1]]},
        {"confused": 3},
        {"examples": [{}]},
        {"num_left_out": True},
    ],
)
def test_answers_that_contradict_themselves_are_refused(change, trained):
    content = answers_of(trained[1])
    Answers.from_json(content)
    with pytest.raises(ValueError, match="these are no nastk answers"):
        Answers.from_json(content | change)


@pytest.mark.parametrize(
    "change", [{"picture": "<b>"}, {"type": "svg"}, {"picture": "PHN2Zz4="}, {"probability": 1.5}]
)
def test_examples_that_are_no_pictures_are_refused(change, trained):
    content = answers_of(trained[1])
    content["examples"][0] |= change
    with pytest.raises(ValueError):
        Answers.from_json(content)
