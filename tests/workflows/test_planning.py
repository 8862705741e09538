"""How long a search is, and what is said about it before and after."""

from types import SimpleNamespace

import asking
import numpy as np
import pytest
from nastk.commands.endings import entropy_in_words
from nastk.core.budget import Budget, extremes
from nastk.core.files import read_json
from nastk.core.run import Run, write_json
from nastk.records.reading import problem_of
from nastk.search_spaces import SPACES, Toy
from nastk.strategies import STRATEGIES
from nastk.strategies.length import (
    LONG_STEPS,
    plain_flops,
    supernet_flops,
)
from nastk.tasks.named import make_task
from nastk.training.strategy import Problem
from nastk.workflows import planning
from nastk.workflows.planning import left_of, told, updates_for, what_was_read


@pytest.fixture
def pictures(tmp_path):
    """A file of 400 grey images of four classes."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 255, (400, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(400) % 4)
    return f"npz:{tmp_path / 'a.npz'}"


def problem(name="sandglass-micro", share=0.36):
    space = SPACES[name]()
    top = int(share * extremes(space, space.cost.flops)[1])
    return Problem(space=space, proxy=space, task=make_task("digits", 28), budget=Budget(None, top))


@pytest.mark.parametrize("name", ["sandglass-micro", "toy"])
def test_a_supernet_costs_what_torch_dispatches(name):
    asked = problem(name, 1.0)
    largest = extremes(asked.space, asked.space.cost.flops)[1]
    folded = supernet_flops(asked, features=False)  # what folds kernels comes on top
    assert largest == plain_flops(asked) <= folded < 1.002 * largest
    assert supernet_flops(asked, features=True) > 1.05 * largest


@pytest.mark.parametrize(
    "strategy, options, share",
    [
        ("logits", {"level": "single"}, 0.36),
        ("logits", {"level": "bilevel"}, 0.36 / 1.9),
        ("single_path", {}, 1.0),
        ("single_path", {"sampling": "space"}, 0.72),
    ],
)
def test_a_supernet_trains_for_the_price_of_one_training(strategy, options, share):
    """Its steps are of the size of the largest arch, or of archs at the budget."""
    images = 64 * 100_000
    updates = updates_for(STRATEGIES[strategy](**options), problem(), images)
    assert updates == pytest.approx(share * 100_000, rel=0.01)


def test_summed_features_and_larger_batches_leave_fewer_updates():
    images = 64 * 100_000
    kinds = [STRATEGIES["meta_kernel"](), STRATEGIES["multi_feature"]()]
    folded, summed = (updates_for(kind, problem(), images) for kind in kinds)
    assert summed < 0.8 * folded
    assert updates_for(STRATEGIES["meta_kernel"](batch_size=128), problem(), images) == folded // 2


@pytest.mark.parametrize("images, updates", [(64, 1000), (64 * 20_000, LONG_STEPS)])
def test_few_images_leave_a_thousand_updates_and_none_fall_between_two_ways(images, updates):
    assert updates_for(STRATEGIES["logits"](), problem(), images) == updates


def test_inputs_without_sides_come_in_batches_of_the_usual_size():
    proxy = SimpleNamespace(input_shape=(128,))
    assert STRATEGIES["logits"]().images_a_step(proxy) == 64


def test_a_longer_way_counts_its_passes():
    strategy = STRATEGIES["logits"](level="bilevel", warmup=0.25)
    assert [strategy.work_left(step, 100) for step in (0, 25, 60, 100)] == [175, 150, 80, 0]
    assert STRATEGIES["logits"]().work_left(0, LONG_STEPS) == 1.9 * LONG_STEPS
    assert STRATEGIES["logits"]().work_left(0, LONG_STEPS - 1) == LONG_STEPS - 1


def begun(folder, until, **options):
    """Begin a search, stop it after so many steps, and return what it said and its length."""
    said = []

    def stop(event):
        said.extend([event["say"]] if "say" in event else [])
        if event["step"] >= until:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "90%", out=folder, report=stop, **options)
    return said, read_json(folder / "manifest.json")["length"]


def test_a_search_on_images_of_ones_own_says_in_a_few_lines_what_it_does(
    pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(planning, "_SECONDS_TIMED", 0)
    lines, length = begun(tmp_path / "run", until=3, data=pictures)
    assert lines[0].endswith("a.npz: 320 images to train on, 80 to test, 4 classes, grey")
    assert lines[1] == (
        "meta_kernel trains a supernet for 1,784 updates of 64 images, tests 150 archs with its "
        "weights and looks at 120 untrained ones; one training of the found network is 2,000 "
        "updates of 64 (recipe small, 400 epochs)"
    )
    assert lines.pop(2) == "looking in 49,032 to 52,624 FLOPs: 2 archs, all that there are"
    assert lines[2].startswith("expected to take ") and lines[2].endswith("shorten it")
    assert len(lines) == 3 and length == {"steps": 1784}
    with pytest.raises(KeyboardInterrupt):  # the length is not decided again
        asking.resume(tmp_path / "run", report=stopping_at(5, total=1784 + 150 + 120))


def test_what_stands_behind_the_updates_is_announced():
    several = STRATEGIES["meta_kernel"](supernets=2, untrained=0)
    assert several.work_in_words(40, 64) == (
        "trains 2 supernets one after the other, each for 40 updates of 64 images and tests 10 "
        "archs with the weights of each"
    )
    alone = STRATEGIES["meta_kernel"](archs=0, untrained=0)
    words = "trains a supernet for 1,000 updates of 64 images"
    assert alone.work_in_words(1000, 64) == words
    assert STRATEGIES["logits"]().work_in_words(1000, 64) == words
    tested = f"{words} and tests 150 archs with its weights"
    assert STRATEGIES["single_path"]().work_in_words(1000, 64) == tested


def stopping_at(step, total):
    """A report that sees how long the search is and stops it."""

    def stop(event):
        if event["step"] >= step:
            assert event["total"] == total
            raise KeyboardInterrupt

    return stop


def test_steps_and_embedded_data_keep_a_search_short(pictures, tmp_path):
    options = {"data": pictures, "strategy": "logits"}
    found = asking.search("toy", "90%", **options, steps=2, out=tmp_path / "run")
    assert read_json(tmp_path / "run/manifest.json")["length"] == {}
    assert 0 < found["entropy"] <= 1
    _, length = begun(tmp_path / "demo", until=1)
    assert length == {"steps": Toy.search_steps}
    least = {"recipe": ":least_steps=2000"}
    assert begun(tmp_path / "long", until=1, **least)[1] == {"steps": 2000}
    assert begun(tmp_path / "both", until=1, epochs=2, **least)[1] == {"steps": 2000}


def test_a_run_of_version_0_1_keeps_the_length_that_it_was_begun_with(tmp_path, monkeypatch):
    asking.search("toy", "90%", strategy="logits", steps=2, data="digits", out=tmp_path / "run")
    file = tmp_path / "run/manifest.json"
    old = {k: v for k, v in read_json(file).items() if k != "length"}
    old["strategy_options"] = {}
    old["versions"]["nastk"] = "0.1.0"
    write_json(file, old)
    run = Run.open(tmp_path / "run")
    problem = problem_of(run)
    monkeypatch.setattr(Toy, "search_steps", 770)
    assert planning.planned(run, problem).steps == 770
    write_json(file, old)
    monkeypatch.setitem(planning._STEPS_OF_0_1, "toy", 300)
    assert planning.planned(Run.open(tmp_path / "run"), problem).steps == 300


def test_a_black_box_search_says_how_many_trainings_of_which_length(pictures, tmp_path):
    said = []
    options = {"data": pictures, "strategy": "halving", "evaluations": 3, "processes": 1}
    asking.search("toy", "90%", **options, steps=4, out=tmp_path / "run", report=said.append)
    lines = [event["say"] for event in said if "say" in event]
    assert lines[1] == (
        "halving trains 7 archs, most for a part of its updates, each by itself: 4 updates of 64 "
        "(recipe small)"
    )


def test_what_lies_with_the_images_and_is_not_used_is_said(tmp_path, folder_of_images):
    folder_of_images(tmp_path)
    (tmp_path / "train/cat/notes.txt").write_text("no image")
    line = what_was_read(make_task(f"imagefolder:{tmp_path}", 12))
    assert line.endswith(
        "16 images to train on, 16 to test, 2 classes, in colour; left out: 1 .txt"
    )


def test_entropy_is_judged_by_how_much_is_open():
    words = [entropy_in_words(entropy).partition("logits have ")[2] for entropy in (1, 0.5, 0.2, 0)]
    starts = ("hardly decided", "decided in part", "all but decided", "decided")
    assert all(word.startswith(start) for word, start in zip(words, starts, strict=True))


def test_time_before_the_first_progress_is_not_taken_for_work(monkeypatch):
    """Workers import and read for a while; then a hundredth takes a second."""
    said, clock = [], iter([0.0, 30.0, 40.0, 41.0, 42.0, 43.0])
    monkeypatch.setattr(planning.time, "monotonic", lambda: next(clock))
    tell = told(said.append, [], left_of, "hint")
    for done in (0, 0, 0.01, 0.02, 0.03, 0.04):
        tell({"phase": "train", "step": 0, "total": 1, "done": done})
    lines = [event["say"] for event in said if "say" in event]
    assert lines == ["expected to take 2 min from here on; hint"]


def test_workers_that_start_are_not_taken_for_work_where_something_else_was_told_before(
    monkeypatch,
):
    """A line about the band counts one; then 4 trainings of 150 s, whose workers start for 80 s."""
    said, clock = [], iter([20.0, 100.0, 101.0, 102.0, 103.0])
    monkeypatch.setattr(planning.time, "monotonic", lambda: next(clock))
    tell = told(said.append, [], left_of, "hint")
    tell({"phase": "band", "step": 0, "total": 1, "say": "looking in 1 to 2 FLOPs"})
    for second in (0, 1, 2, 3, 4):
        tell({"phase": "evaluate", "step": 0, "total": 4, "done": second / 150})
    lines = [event["say"] for event in said if "say" in event]
    assert lines == ["looking in 1 to 2 FLOPs", "expected to take 10 min from here on; hint"]
