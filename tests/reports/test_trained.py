"""What a report says of a trained network: accuracy first, class by class, by which training."""

import json
import shutil

import asking
import nastk
import pytest
from nastk.core.answers import Answers, Example
from nastk.reports.class_facts import class_facts, doubts
from nastk.workflows.report import report
from scipy.stats import binomtest

from .test_report import EVIL, compared, read


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    asking.search("toy", "55K", steps=3, data="digits", strategy="logits", out=folder)
    asking.retrain(folder, steps=30, data="digits", hold_out=True)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def the(pattern, run):
    (file,) = run.glob(pattern)
    return file


def change(file, **entries):
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_accuracy_comes_first_then_classes_pictures_and_the_curve(run):
    result = report([run])
    found, (facts,) = read(result), result["runs"]
    percent = f"{facts['training']['test_top1_percent']:.1f} %"
    assert found.text.index(percent) < found.text.index("test accuracy") < 200
    assert found.headings == [
        *("Class by class", "Test images and answers", "The training of the network"),
        *("The network", "The search", "The choices", "Cost", "How to make it again"),
        "What is not made yet",
    ]
    assert len(found.pictures) == 5  # curve, arch, loss, FLOPs, entropy
    assert found.tags.count("img") == 12 and "images held out" in found.text
    assert facts["training"]["epochs"] == pytest.approx(30 / (900 // 64))
    assert facts["learning_curve"]["held_out_steps"] == [7, 14, 21, 28, 30]
    told = facts["by_class"]
    assert sum(map(sum, told["matrix"]["rows"])) == told["num_images"] == 597
    right = sum(row[n] for n, row in enumerate(told["matrix"]["rows"]))
    assert 100 * right / 597 == pytest.approx(facts["training"]["test_top1_percent"])
    worst = [row["top1_percent"] for row in told["classes"]]
    assert worst == sorted(worst)


def test_two_losses_of_one_network_say_by_which_training(run):
    assert "loss for each way" not in read(report([run])).text
    compared(run, 0.2, 0.4, 2.5, 0.5, steps_of_the_recipe=660)
    result = report([run])
    text = read(result).text
    assert "comparison: recipe demonstration, 660 updates, mean of 2 seeds" in text
    assert "retraining: recipe demonstration, 30 updates, seed 0, from scratch on three" in text
    first, second = result["runs"][0]["losses"]
    assert second["loss_nats"] == 0.2 != first["loss_nats"]


def test_a_run_from_before_answers_and_curves_says_what_makes_them(run):
    the("*-answers.json", run).unlink()
    the("*-curve.json", run).unlink()
    result = report([run])
    text, (facts,) = read(result).text, result["runs"]
    commands = [gap["command"] for gap in facts["missing"]]
    assert commands[:2] == [f"nastk evaluate {run}", f"nastk retrain {run} --seed 1"]
    assert all(command in text for command in commands)
    assert facts["by_class"] is None and facts["learning_curve"] is None
    nastk.evaluate(run)
    assert "Class by class" in read(report([run])).text


def test_names_of_classes_are_escaped_wherever_they_stand(run):
    change(the("*-answers.json", run), classes=[f"{EVIL}{n}" for n in range(10)])
    found = read(report([run]))
    assert found.text.count(EVIL) > 40


@pytest.mark.parametrize("kind", ["answers", "curve"])
@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"steps": 3, "classes": 3}'])
def test_damaged_records_are_a_note(kind, content, run):
    file = the(f"*-{kind}.json", run)
    file.write_text(content)
    result = report([run])
    (note,) = result["runs"][0]["notes"]
    assert f"{file} is damaged" in note and note in read(result).text


@pytest.mark.parametrize(
    "entries",
    [
        {"steps": [1, 1]},
        {"steps": [1, 9**99]},
        {"total": 0},
        {"train_loss_nats": ["<b>"]},
        {"held_out_steps": [31]},
        {"train_loss_nats": [True] * 30},
    ],
)
def test_a_curve_that_contradicts_itself_is_a_note(entries, run):
    change(the("*-curve.json", run), **entries)
    (note,) = report([run])["runs"][0]["notes"]
    assert "-curve.json is damaged" in note


def test_a_training_that_diverged_is_said_and_drawn_as_far_as_it_was_finite(run):
    file = run / "retrain.json"
    metrics = json.loads(file.read_text())["metrics"]
    change(file, metrics=metrics | {"test_loss_nats": None})
    change(the("*-curve.json", run), train_loss_nats=[2.0, *[None] * 29])
    result = report([run])
    text = read(result).text
    assert "The training diverged" in text and "not finite" in text
    change(the("*-curve.json", run), train_loss_nats=[None] * 30, held_out_steps=[])
    change(the("*-curve.json", run), held_out_loss_nats=[], held_out_top1_percent=[])
    assert "No loss of this training was a finite number" in read(report([run])).text


def test_a_training_under_way_shows_how_far_it_is(run):
    (run / "retrain.json").unlink()
    file = the("*-curve.json", run)
    change(file, steps=list(range(1, 21)), train_loss_nats=[2.0] * 20)
    result = report([run])
    assert "in training: 20 of 30 updates" in read(result).text
    assert result["runs"][0]["training"]["is_finished"] is False


def test_many_classes_show_the_weakest_and_the_worst_pairs_alone(run):
    size = 40
    told = Answers(
        classes=tuple(f"class-{n}" for n in range(size)),
        num_images=(10,) * size,
        num_right=tuple(n % 11 for n in range(size)),
        num_predicted=(10,) * size,
        confused=((3, 4, 9), (1, 2, 5)),
        num_left_out=0,
        examples=(),
    )
    assert class_facts(told)["matrix"] is None
    the("*-answers.json", run).write_text(json.dumps(told.to_json()))
    found = read(report([run]))
    assert "All 40 classes (above: the 20 weakest)" in found.text
    assert "What was taken for what" not in found.text
    assert "class-3" in found.text and "9 images, 90 % of the class" in found.text


def test_a_network_that_has_learned_nothing_is_said(run):
    names, images = ("a", "b", "c"), (50, 30, 20)

    def doubts_about(right, given):
        pairs = tuple((n, 0, images[n] - right[n]) for n in (1, 2) if images[n] > right[n])
        told = Answers(
            classes=names,
            num_images=images,
            num_right=right,
            num_predicted=given,
            confused=pairs,
            num_left_out=0,
            examples=(),
        )
        return doubts(class_facts(told))

    useless, constant = doubts_about((50, 0, 0), (100, 0, 0))
    assert "no better than always naming the most frequent class (50.0 %)" in useless
    assert constant.startswith("The network names the class a for 100 %")
    assert len(doubts_about((50, 8, 0), (92, 8, 0))) == 2  # within the margin of 50 %
    assert doubts_about((50, 30, 10), (60, 30, 10)) == []


@pytest.mark.parametrize("right", [0, 50, 81, 100])
def test_the_interval_of_an_accuracy_is_wilsons(right):
    outside = binomtest(right, 100).proportion_ci(method="wilson")
    low, high = 100 * outside.low, 100 * outside.high
    told = Answers(
        classes=("a", "b"),
        num_images=(100, 0),
        num_right=(right, 0),
        num_predicted=(right, 100 - right),
        confused=((0, 1, 100 - right),),
        num_left_out=0,
        examples=(),
    )
    assert class_facts(told)["interval_percent"] == pytest.approx([low, high], abs=2e-3)


def test_where_the_search_looked_is_said(run):
    for archs, is_exact, words in (
        (1234, True, "archs of 321,000,000 to 357,000,000 FLOPs, 1,234 of them"),
        (2.2e11, False, "FLOPs, about 10^11 of them"),
    ):
        change(
            run / "result.json",
            bands=[{"metric": "flops", "low": 321_000_000, "high": 357_000_000}],
            band_archs=archs,
            band_is_exact=is_exact,
        )
        result = report([run])
        assert words in read(result).text
        assert result["runs"][0]["band"]["num_archs"] == archs


def test_times_are_seconds_and_trainings(run):
    text = read(report([run])).text
    assert "device hours" not in text and "of CPU time" in text and "trainings" in text


def test_examples_of_any_type_are_pictures_of_the_page(run):
    file = the("*-answers.json", run)
    picture = b"\xff\xd8\xff" + bytes(40)
    example = Example(
        kind="drawn", true=0, predicted=1, probability=None, type="jpeg", picture=picture
    )
    change(file, examples=[example.to_json()])
    found = read(report([run]))
    assert found.tags.count("img") == 1 and "wrong" in found.text
