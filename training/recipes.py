"""The recipes that there are; each space names its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.lookup import lookup
from ..core.space import Space
from .changes import asked_changes, with_changes
from .recipe import ANY, Recipe
from .task import Task

# With fewer updates a network on data of the user's has not learned what it can: 500 images are two
# batches of 256, of which 200 epochs are 400 updates.
_LEAST = 2000
# Recipes by the number of training images, for spaces that name none: up to so many, and beyond.
FEW_IMAGES = 100_000

# A few hundred steps on embedded data. The rate is the lowest of 4e-3, 8e-3, 1.2e-2, 2e-2, 3e-2,
# 5e-2 and 8e-2 at which four random archs stopped gaining, measured on the architecture split.
DEMONSTRATION = Recipe(
    name="demonstration",
    optimizer="adamw",
    lr=3e-2,
    weight_decay=0.02,
    batch_size=64,
    epochs=4,
    warmup=0.15,
)
# Three times as long at the rate of the table: small bottlenecks have 71 % right after the short
# one and 88 % after this, where params no longer say which arch is good (`benchmarks/results.md`).
DEMONSTRATION_LONG = dataclasses.replace(
    DEMONSTRATION, name="demonstration-long", lr=1e-2, epochs=12
)
# The log of the released MobileNeXt (arXiv:2007.02269): 200 epochs, SGD 0.1 with 3 epochs of
# warm-up, decay 1e-4, smoothing 0.1; the moving average is nastk's addition.
MOBILENEXT = Recipe(
    name="mobilenext",
    optimizer="sgd",
    lr=0.1,
    weight_decay=1e-4,
    batch_size=256,
    epochs=200,
    warmup=0.015,
    label_smoothing=0.1,
    ema_decay=0.9999,
    least_steps=_LEAST,
)
# The settings common in the MobileNetV2 family for SGD, as nastk uses them.
MOBILENET = Recipe(
    name="mobilenet",
    optimizer="sgd",
    lr=0.1,
    weight_decay=4e-5,
    batch_size=256,
    epochs=200,
    warmup=0.025,
    label_smoothing=0.1,
    ema_decay=0.9999,
    least_steps=_LEAST,
)
# Small networks on small images of the user's: the short recipe, ten times as long.
SMALL = Recipe(
    name="small",
    optimizer="adamw",
    lr=4e-3,
    weight_decay=0.02,
    batch_size=64,
    epochs=40,
    warmup=0.1,
    label_smoothing=0.1,
    ema_decay=0.999,
    least_steps=_LEAST,
)

# T2T-ViT, arXiv:2101.11986 and its released code, for the models of 21M params: 10 of 310 epochs of
# warm-up. The last 10 epochs of the code run at the final rate; here the cosine takes all of them.
T2T_VIT = Recipe(
    name="t2t-vit",
    optimizer="adamw",
    lr=5e-4,
    weight_decay=0.05,
    batch_size=512,
    epochs=310,
    warmup=10 / 310,
    label_smoothing=0.1,
    ema_decay=0.99996,
    final_lr=1e-5,
    drop_path=0.1,
    mixup=0.8,
    cutmix=1.0,
    rand_augment=9,
    erasing=0.25,
    least_steps=_LEAST,
)
# The same for its models of up to 7M params.
T2T_VIT_LITE = dataclasses.replace(T2T_VIT, name="t2t-vit-lite", lr=1e-3, weight_decay=0.03)
# Short recipe and recipe of small networks, at a rate for transformers, which also take longer.
# The short one's rate is the lowest of 2e-3, 3e-3 and 4e-3, which two seeds could not tell apart on
# a deep and a wide arch of t2t-micro (`benchmarks/results.md`); 1e-3 was slower.
DEMONSTRATION_TOKENS = dataclasses.replace(
    DEMONSTRATION, name="demonstration-tokens", lr=2e-3, epochs=12
)
SMALL_TOKENS = dataclasses.replace(SMALL, name="small-tokens", lr=2e-3, drop_path=0.1)

# Supernets of convolutions, in searches of a few hundred updates and in long ones.
SUPERNET = Recipe(
    name="supernet",
    optimizer="adamw",
    lr=3e-2,
    weight_decay=0.02,
    batch_size=64,
    epochs=4,
    warmup=0.15,
)
SUPERNET_LONG = dataclasses.replace(
    SUPERNET, name="supernet-long", optimizer="sgd", lr=0.1, weight_decay=4e-5
)
# The same of transformers, whose long searches have AdamW too.
SUPERNET_TOKENS = dataclasses.replace(SUPERNET, name="supernet-tokens", lr=2e-3)
SUPERNET_TOKENS_SGD = dataclasses.replace(SUPERNET_LONG, name="supernet-tokens-sgd", lr=0.05)

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        DEMONSTRATION,
        DEMONSTRATION_LONG,
        DEMONSTRATION_TOKENS,
        MOBILENET,
        MOBILENEXT,
        SMALL,
        SMALL_TOKENS,
        SUPERNET,
        SUPERNET_LONG,
        SUPERNET_TOKENS,
        SUPERNET_TOKENS_SGD,
        T2T_VIT,
        T2T_VIT_LITE,
    )
}


def default_recipe(space: Space, task: Task) -> Recipe:
    """Return the short recipe of a kind or a space on embedded data, a space's own on the user's.

    A space that names none has `small` up to `FEW_IMAGES` training images, else `mobilenet`.

    Args:
        space: that is trained.
        task: on which.

    Raises:
        ValueError: if the space names a recipe that does not exist.
    """
    if task.is_demonstration:
        name = task.short_recipe or space.short_recipe
    else:
        by_size = SMALL if task.size("train") <= FEW_IMAGES else MOBILENET
        name = space.recipe or by_size.name
    return lookup(f"recipe of {space.name}", name, RECIPES)


def find_recipe(text: str) -> Recipe:
    """Return a recipe by its name, changed where the name says so, or from a TOML file.

    Raises:
        ValueError: if there is none of that name, or it has no such setting.

    Example:
        >>> find_recipe("small:epochs=2,lr=0.01").epochs
        2
    """
    name, changes = asked_changes(text)
    if name is None:
        raise ValueError(f"{text} names no recipe to which it would be a change, as small:epochs=2")
    return with_changes(lookup("recipe", name, RECIPES), **changes)


def asked_recipe(asked: str | Mapping[str, Any] | None, usual: Recipe) -> Recipe:
    """Return the recipe that was asked for.

    Args:
        asked: see `nastk.training.changes.asked_changes`.
        usual: what is changed where no recipe is named.
    """
    name, changes = asked_changes(asked)
    return with_changes(usual if name is None else find_recipe(name), **changes)


def check_amounts(asked: str | Mapping[str, Any] | None, family: type[Task]) -> None:
    """Refuse settings that a kind of task does not follow; a recipe may have them by its name.

    Args:
        asked: as of `asked_recipe`.
        family: the class of the task.

    Raises:
        ValueError: naming one.
    """
    _, changes = asked_changes(asked)
    for name in ANY.amounts:
        if changes.get(name) and name not in family.amounts:
            raise ValueError(
                f"a task of {family.kind} follows no {name}: leave it out of the recipe, or take "
                "it into `amounts` of a task of your own"
            )


def supernet_recipe(names: Sequence[str], *, is_long: bool, optimizer: str | None = None) -> Recipe:
    """Return the recipe of a supernet among those that its space names.

    Args:
        names: the one for long searches first.
        is_long: whether the search is one.
        optimizer: of the weights; that of the search's length, AdamW in a short one, if None.

    Raises:
        ValueError: if there is none of that name.
    """
    found = [lookup("recipe", name, RECIPES) for name in names]
    wanted = optimizer or (found[0].optimizer if is_long else "adamw")
    return next((recipe for recipe in found if recipe.optimizer == wanted), found[0])
