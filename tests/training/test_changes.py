"""What is asked for of a recipe: by name, in a text, in a file, in a dict."""

import pytest
from nastk.training.changes import asked_changes, with_changes
from nastk.training.recipe import recipe_hash
from nastk.training.recipes import RECIPES, asked_recipe, find_recipe


def test_a_file_says_the_fields_of_a_recipe(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "small"\nlr = 1\nclip = 1.5\ndecay_all = false\nschedule = "linear"\nepochs = 3\n'
    )
    recipe = find_recipe(str(file))
    assert recipe.name == "small:epochs=3,lr=1.0,schedule=linear,decay_all=false,clip=1.5"
    assert (recipe.clip, recipe.decay_all, recipe.schedule, recipe.lr) == (1.5, False, "linear", 1)
    assert recipe.least_steps == 0  # so many epochs are no more
    assert find_recipe(recipe.name) == recipe  # a name says all that there is to know


def test_changes_without_a_name_are_of_the_usual_recipe():
    assert asked_changes(":clip=1,accumulation=2") == (None, {"clip": 1.0, "accumulation": 2})
    usual = RECIPES["mobilenet"]
    assert asked_recipe(":clip=1", usual).name == "mobilenet:clip=1.0"
    assert asked_recipe(None, usual) is usual
    assert asked_recipe({"name": "small:lr=0.1", "epochs": 2}, usual).name.startswith("small:epoch")
    with pytest.raises(ValueError, match="names no recipe"):
        find_recipe(":clip=1")


@pytest.mark.parametrize(
    "text, words",
    [
        ("lr = 0.1\nepoch = 3\n", "unknown setting of a recipe 'epoch'; did you mean 'epochs'"),
        ('clip = "much"\n', "option clip of Recipe has the wrong type: it takes a number"),
        ("clip = -1\n", "takes as clip a number of 0 to"),
        ("layer_decay = 0\n", "layer_decay numbers above 0"),
        ("ema_decay = 1\n", "ema_decay a share below 1"),
        ('schedule = "cosin"\n', "unknown schedule 'cosin'; did you mean 'cosine'"),
        ('name = "smal"\n', "unknown recipe 'smal'; did you mean 'small'"),
        ("name = 3\n", "takes as name the name of another"),
        ("accumulation = 0\n", "takes as accumulation a number of 1 to"),
        ("lr = \n", "is not TOML"),
        ("lr = nan\n", "--lr takes a rate above 0"),
        ("warmup = nan\n", "warmup of Recipe has the wrong type"),
    ],
)
def test_a_file_that_says_something_else_is_one_line(tmp_path, text, words):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        asked_recipe(str(tmp_path / "mine.toml"), RECIPES["small"])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the recipe .*none\.toml: No such file"):
        asked_changes(str(tmp_path / "none.toml"))


def test_settings_that_recipes_of_before_had_not_leave_their_hash_as_it_was():
    assert recipe_hash(RECIPES["small"]).startswith("d54f3a3e7bef")
    assert recipe_hash(with_changes(RECIPES["small"], clip=1)) != recipe_hash(RECIPES["small"])


def test_a_long_name_is_short_in_that_of_a_file():
    changes = {"clip": 1, "accumulation": 2, "mixup": 0.1, "erasing": 0.15, "lr": 0.1}
    recipe = with_changes(RECIPES["t2t-vit"], **changes)
    assert len(recipe.name) > 60 > len(recipe.slug) and recipe.slug.startswith("t2t-vit:")
    assert RECIPES["small"].slug == "small"
