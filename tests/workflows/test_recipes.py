"""How a recipe is changed and listed, and the time that is left of trainings elsewhere."""

import dataclasses
import itertools
from typing import ClassVar

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.core.checkpoint import load_checkpoint
from nastk.core.run import Run
from nastk.core.standing import Parts, noted_in, share_done
from nastk.records.reading import problem_of
from nastk.reports.reproduce import recipe_flags
from nastk.search_spaces import Toy
from nastk.strategies import MetaKernel
from nastk.tasks.named import make_task
from nastk.training.changes import with_changes
from nastk.training.recipes import RECIPES, default_recipe, find_recipe
from nastk.workflows.asked import method_of
from nastk.workflows.field import Asked
from nastk.workflows.planning import planned, recipe_of, what_it_does
from nastk.workflows.progress import progress


@pytest.fixture
def arrays(tmp_path):
    generator = np.random.default_rng(0)
    file = tmp_path / "a.npz"
    x = generator.integers(0, 255, (400, 12, 12), dtype=np.uint8)
    np.savez(file, x=x, y=np.arange(400) % 4)
    return f"npz:{file}"


def test_a_recipe_is_changed_by_options_and_by_its_name(arrays, tmp_path):
    asking.search("toy", "90%", strategy="random", data=arrays, out=tmp_path / "run")
    result = asking.retrain(tmp_path / "run", epochs=1, batch_size=100, lr=0.01)
    recipe = result["record"]["recipe"]
    assert recipe == "small:epochs=1,batch_size=100,lr=0.01"
    assert find_recipe(recipe) == dataclasses.replace(
        RECIPES["small"], name=recipe, epochs=1, batch_size=100, lr=0.01, least_steps=0
    )
    again = asking.retrain(tmp_path / "run", recipe="small:epochs=1", batch_size=100, lr=0.01)
    assert again["weights"] == result["weights"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"epochs": 2, "steps": 5}, "--steps and --epochs"),
        ({"epochs": 0}, "--epochs takes"),
        ({"batch_size": -1}, "--batch-size takes"),
        ({"epochs": 10**30}, "--epochs takes a whole number .* at most 1,000,000"),
        ({"epochs": float("inf")}, "--epochs takes"),
        ({"batch_size": "two"}, "--batch-size takes a whole number"),
        ({"lr": float("nan")}, "--lr takes"),
        ({"lr": "fast"}, "--lr takes a rate"),
        ({"seed": "one"}, "seed= takes a whole number"),
        ({"steps": 1.5}, "--steps takes"),
        ({"recipe": "small:epochs=many"}, "epochs takes a number"),
        ({"recipe": "small:colour=3"}, "setting of a recipe"),
        ({"recipe": "small:final_lr=0.05"}, "falls to final_lr, but 0.05 is above the lr 0.004"),
    ],
)
def test_changes_that_mean_nothing_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        asking.retrain("mobilenext-1.0", **options)


def test_the_time_left_moves_inside_a_training(tmp_path, capfd, monkeypatch):
    note = noted_in(tmp_path)
    note({"step": 1, "total": 4})
    assert share_done([tmp_path, tmp_path / "not begun"]) == 0.25
    clock = itertools.count(0.0, 31.0)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with progress(enabled=True) as report:
        parts = Parts(report)
        parts({"phase": "train", "step": 0, "total": 3})
        for share in (0.5, 1.0):
            parts.part(share)
    lines = capfd.readouterr().err.splitlines()
    assert all(line.startswith("train 0/3") for line in lines)
    assert "left" in lines[-2] and "left" in lines[-1] and lines[-2] != lines[-1]


def test_recipes_are_listed_with_their_settings(capfd):
    from nastk.commands.listings import print_recipes
    from nastk.workflows.recipes import list_recipes

    print_recipes(list_recipes())
    said = capfd.readouterr().out
    for recipe in RECIPES.values():
        assert f"{recipe.name}\n    {recipe.optimizer}, lr {recipe.lr:g}" in said


def test_epochs_are_as_few_as_they_are_asked_to_be():
    """However few updates, and also where the recipe has as many."""
    small = RECIPES["small"]
    assert small.num_steps(640) == small.least_steps > 40 * 10
    for epochs in (2, small.epochs):
        changed = with_changes(small, epochs=epochs)
        assert changed.num_steps(640) == 10 * epochs
        assert find_recipe(changed.name) == changed
    assert with_changes(small, lr=0.01).num_steps(640) == small.least_steps


def test_a_rate_of_many_digits_is_the_one_that_trains():
    changed = with_changes(RECIPES["small"], lr=0.0012345678)
    assert find_recipe(changed.name).lr == 0.0012345678


def test_the_rate_of_a_supernet_is_not_that_of_its_finalists(arrays, tmp_path):
    options = {"data": arrays, "batch_size": 50, "lr": 0.25, "quiet": True}
    options["recipe"] = "mobilenet:clip=1,final_lr=0.1"
    asking.search("toy", "90%", steps=2, **options, out=tmp_path / "run")
    run = Run.open(tmp_path / "run")
    supernet, alone = planned(run, problem_of(run)), problem_of(run)
    recipe = recipe_of(run, alone.space, alone.task)
    assert (supernet.weights_lr, supernet.batch_size) == (0.25, 50)
    assert recipe == with_changes(RECIPES["small"], batch_size=50)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"lr": 0.1, "strategy_options": {"weights_lr": 0.1}}, "--lr and --set weights_lr are one"),
        ({"lr": 0.1, "strategy": "random"}, "random draws a single arch and trains none"),
        (
            {"epochs": 2, "strategy": "local", "evaluator": "params"},
            "evaluator 'params' follows no recipe; leave out --epochs",
        ),
    ],
)
def test_changes_that_nothing_follows_are_refused(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        asking.search("toy", "90%", **options)
    assert not list(tmp_path.iterdir())


def test_a_retraining_says_what_it_trains_on_and_by_which_recipe(arrays, tmp_path, capfd):
    asking.search("toy", "90%", strategy="random", data=arrays, out=tmp_path / "run", quiet=True)
    capfd.readouterr()
    asking.retrain(tmp_path / "run", epochs=1)
    first, second = capfd.readouterr().err.splitlines()[:2]
    assert first.endswith("a.npz: 320 images to train on, 80 to test, 4 classes, grey")
    assert second == ("training a network of toy: 5 updates of 64 (recipe small:epochs=1, 1 epoch)")


def test_a_changed_search_is_made_again_by_its_commands(arrays, tmp_path):
    options = {"data": arrays, "epochs": 1, "batch_size": 160, "lr": 0.01, "quiet": True}
    options |= {"strategy": "logits", "strategy_options": {"warmup": 0.2}}
    options |= {"recipe": ":warmup=0.05"}
    asking.search("toy", "90%", **options, out=tmp_path / "run")
    nastk.report([tmp_path / "run"], out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "--epochs 1 --batch-size 160" in page and "weights_lr=0.01" in page
    assert "--set batch_size" not in page
    assert "--recipe :warmup=0.05" in page and "--set warmup=0.2" in page
    updates = [event for event in Run.open(tmp_path / "run").events() if "loss" in event]
    assert len(updates) == 2  # 320 images in batches of 160


@pytest.mark.slow
def test_a_supernet_that_learns_by_a_recipe_goes_on_as_it_was_begun(tmp_path, monkeypatch):
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    (tmp_path / "mine.toml").write_text(
        "clip = 0.5\naccumulation = 2\ndecay_all = false\nlayer_decay = 0.8\n"
        'schedule = "linear"\nbatch_size = 8\nlabel_smoothing = 0.1\nema_decay = 0.9\n'
    )
    options = {"strategy": MetaKernel(steps=4, archs=2, untrained=0), "data": "digits"}
    options["recipe"] = str(tmp_path / "mine.toml")
    whole = nastk.search("toy", "90%", **options, out=tmp_path / "whole", progress=False)

    def stop(event):
        if event["phase"] == "supernet" and event["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nastk.search("toy", "90%", **options, out=tmp_path / "run", progress=stop)
    (tmp_path / "mine.toml").unlink()  # the run knows what it said
    found = nastk.resume(tmp_path / "run", progress=False)
    logs = [(folder.run / "metrics.jsonl").read_bytes() for folder in (whole, found)]
    states = [load_checkpoint(folder.run / "checkpoints", "last")[0] for folder in (whole, found)]
    assert any(key.startswith("average.") for key in states[0])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert logs[0] == logs[1] and found["arch_id"] == whole["arch_id"]
    manifest = Run.open(found.run).manifest
    assert manifest.strategy_options["batch_size"] == 8
    assert manifest.recipe_changes.given["accumulation"] == 2
    plain = {**options, "recipe": {"batch_size": 8}}
    other = nastk.search("toy", "90%", **plain, out=tmp_path / "plain", progress=False)
    assert (other.run / "metrics.jsonl").read_bytes() != logs[0]


@pytest.mark.parametrize(
    "strategy, recipe, words",
    [
        ("meta_kernel", ":drop_path=0.1", "a supernet drops no paths"),
        ("logits", ":accumulation=2", "logits learns by one batch an update"),
        ("random", ":clip=1", "trains none; leave out --recipe"),
        (MetaKernel(optimizer="sgd"), ":optimizer=adamw", "--recipe and --set optimizer are one"),
        ("meta_kernel", "smal", "did you mean 'small'"),
        ("meta_kernel", {"epochs": 2, "steps": 3}, "unknown setting of a recipe 'steps'"),
    ],
)
def test_a_recipe_that_a_search_cannot_follow_is_one_line(strategy, recipe, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        nastk.search("toy", "90%", strategy=strategy, recipe=recipe, out=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_named_recipe_decides_how_the_weights_of_a_supernet_learn():
    told = method_of("meta_kernel", None, "mobilenet:clip=1,lr=0.05").entries
    weights = {"batch_size": 256, "weights_lr": 0.05, "optimizer": "sgd", "weight_decay": 4e-5}
    assert told["strategy_options"] == weights
    assert told["recipe_changes"] == {"name": "mobilenet", "clip": 1.0}
    own = method_of(MetaKernel(weights_lr=0.2), None, "mobilenet").entries
    assert own["strategy_options"]["weights_lr"] == 0.2


def test_a_setting_of_the_same_name_may_be_another():
    """The warm-up of a rate, and the updates before a search looks at its logits."""
    told = method_of(nastk.Named("logits", {"warmup": 0.2}), None, ":warmup=0.05").entries
    assert told["strategy_options"] == {"warmup": 0.2}
    assert told["recipe_changes"] == {"warmup": 0.05}


def test_the_path_of_a_recipe_may_be_an_object(tmp_path):
    (tmp_path / "mine.toml").write_text("epochs = 0\n")
    for work in (nastk.search, nastk.retrain):
        with pytest.raises(ValueError, match="--epochs takes a whole number"):
            work("toy", recipe=tmp_path / "mine.toml")


def test_a_comparison_takes_changes_of_the_usual_recipe(tmp_path):
    (tmp_path / "mine.toml").write_text("clip = 1\n")
    given = {"data": None, "changes": {"lr": 0.01}, "execution": None, "out": None}
    task = make_task("digits", 28)
    for recipe in (":clip=1", str(tmp_path / "mine.toml")):
        chosen = Asked(recipe=recipe, split="train", **given).recipe_of([Toy()], task)
        usual = with_changes(default_recipe(Toy(), task), clip=1)
        assert chosen == with_changes(usual, lr=0.01)
    words = Asked(recipe="small:clip=1", split="train", **given).recipe_of([Toy()], task).name
    assert words == "small:clip=1.0,lr=0.01"


def test_a_comparison_refuses_two_lengths_as_a_retraining_does():
    for work in (nastk.compare, nastk.retrain):
        with pytest.raises(ValueError, match="--steps and --epochs both say how long to train"):
            work("mobilenext-1.0", recipe="small:epochs=2", steps=5)


def test_an_update_of_several_batches_is_told_by_its_images():
    recipe = with_changes(RECIPES["small"], accumulation=4)
    assert what_it_does(recipe, 6400, 10).startswith("10 updates of 256 (")
    assert " updates of 256 (" in what_it_does(recipe, 6400)


@pytest.mark.parametrize("recipe", [":mixup=0.8", "small:label_smoothing=0.2"])
def test_what_a_kind_of_task_does_not_follow_is_refused(recipe, tmp_path):
    words = "a task of saliency follows no (mixup|label_smoothing): leave it out of the recipe"
    with pytest.raises(ValueError, match=words):
        nastk.search("toy", "90%", task="saliency", recipe=recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    given = {"data": None, "changes": {}, "execution": None, "out": None, "split": "train"}
    task = make_task("composite", 48)
    with pytest.raises(ValueError, match=words):
        Asked(recipe=recipe, **given).recipe_of([Toy()], task)
    assert Asked(recipe="small", **given).recipe_of([Toy()], task) == RECIPES["small"]


def test_the_page_says_the_recipe_by_which_a_search_is_made_again():
    words = recipe_flags({"name": "small", "epochs": 3, "clip": 1.0, "decay_all": False})
    assert words == ["--recipe", "small:clip=1.0,decay_all=false"]
    assert find_recipe(words[1]).decay_all is False and recipe_flags({"lr": 0.1}) == []
    assert recipe_flags({"clip": 2.0}) == ["--recipe", ":clip=2.0"]


def test_a_space_of_version_01_is_told_what_its_rates_became():
    words = r"space Old says learning_rates, as of version 0\.1.*: open such a run with nastk 0\.1"
    with pytest.raises(ValueError, match=words):

        class Old(Toy):
            learning_rates: ClassVar = {"sgd": 0.1}
