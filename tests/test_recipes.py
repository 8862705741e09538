"""How a recipe is changed and listed, and the time that is left of trainings elsewhere."""

import dataclasses
import itertools

import nastk
import numpy as np
import pytest
from nastk.core.standing import Parts, noted_in, share_done
from nastk.evaluators.recipe import RECIPES, find_recipe
from nastk.progress import progress


@pytest.fixture
def arrays(tmp_path):
    generator = np.random.default_rng(0)
    file = tmp_path / "a.npz"
    x = generator.integers(0, 255, (400, 12, 12), dtype=np.uint8)
    np.savez(file, x=x, y=np.arange(400) % 4)
    return f"npz:{file}"


def test_a_recipe_is_changed_by_options_and_by_its_name(arrays, tmp_path):
    nastk.search("toy", "90%", strategy="random", data=arrays, out=tmp_path / "run")
    result = nastk.retrain(tmp_path / "run", epochs=1, batch_size=100, lr=0.01)
    recipe = result["record"]["recipe"]
    assert recipe == "small:epochs=1,batch_size=100,lr=0.01"
    assert find_recipe(recipe) == dataclasses.replace(
        RECIPES["small"], name=recipe, epochs=1, batch_size=100, lr=0.01
    )
    again = nastk.retrain(tmp_path / "run", recipe="small:epochs=1", batch_size=100, lr=0.01)
    assert again["weights"] == result["weights"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"epochs": 2, "steps": 5}, "--steps and --epochs"),
        ({"epochs": 0}, "--epochs takes"),
        ({"batch_size": -1}, "--batch-size takes"),
        ({"lr": float("nan")}, "--lr takes"),
        ({"recipe": "small:epochs=many"}, "epochs takes a number"),
        ({"recipe": "small:colour=3"}, "setting of a recipe"),
    ],
)
def test_changes_that_mean_nothing_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        nastk.retrain("mobilenext-1.0", **options)


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
    from nastk import recipes

    recipes.print_recipes(recipes.list_recipes())
    said = capfd.readouterr().out
    for recipe in RECIPES.values():
        assert f"{recipe.name}\n    {recipe.optimizer}, lr {recipe.lr:g}" in said
