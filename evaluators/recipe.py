"""Training recipes, frozen and complete; each space names its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

from ..core.lookup import lookup
from ..core.space import Space
from ..training.task import Task

_AMOUNTS = ("label_smoothing", "mixup", "cutmix", "rand_augment", "erasing")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: under which it is asked for.
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        lr: peak learning rate; warm-up, then a cosine...
        final_lr: ...to this.
        weight_decay: of all parameters.
        batch_size: images a step.
        epochs: passes over the training split, unless steps are given.
        warmup: share of the steps spent warming up.
        label_smoothing: of the cross-entropy.
        ema_decay: of the averaged weights that are evaluated; 0 evaluates the last ones.
        drop_path: rate at which the last block's residual branches are dropped, see
            `nastk.ops.residual.set_drop_path`.
        mixup: parameter of the Beta distribution of mixup, see `nastk.tasks.images.mixing.mix`.
        cutmix: the same of cutmix.
        rand_augment: strength of RandAugment, up to 10, see `nastk.tasks.images.augment`.
        erasing: share of the images in which a rectangle is erased.
        least_steps: updates at least, in more epochs where there are few images.
    """

    name: str
    optimizer: str
    lr: float
    weight_decay: float
    batch_size: int
    epochs: int
    warmup: float
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    final_lr: float = 0.0
    drop_path: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    rand_augment: float = 0.0
    erasing: float = 0.0
    least_steps: int = 0

    def __post_init__(self) -> None:
        lookup("optimizer", self.optimizer, dict.fromkeys(("adamw", "sgd")))

    @property
    def amounts(self) -> dict[str, float]:
        """How strongly objective and data are changed, by name: a kind of task takes what it knows.

        `label_smoothing mixup cutmix rand_augment erasing`.
        """
        return {name: getattr(self, name) for name in _AMOUNTS}

    def num_steps(self, num_items: int) -> int:
        """Return the number of updates on a training split of so many items."""
        return max(self.least_steps, self.epochs * self.steps_an_epoch(num_items))

    def num_images(self, num_items: int) -> int:
        """Return the number of images that are processed, of so many different ones."""
        return self.num_steps(num_items) * min(self.batch_size, num_items)

    def steps_an_epoch(self, num_items: int) -> int:
        """Return the number of updates of one pass over so many items."""
        return num_items // min(self.batch_size, num_items)


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

# What a user may change by options of their own, in their types.
CHANGEABLE: Mapping[str, Callable[[float | str], int | float]] = {
    "epochs": int,
    "batch_size": int,
    "lr": float,
}
_MOST = 10**6
"""More epochs, images an update, or a higher rate nobody means."""

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
    """Return a recipe by its name, changed where the name says so.

    Raises:
        ValueError: if there is none of that name, or it has no such setting.

    Example:
        >>> find_recipe("small:epochs=2,lr=0.01").epochs
        2
    """
    name, colon, changes = text.partition(":")
    recipe = lookup("recipe", name, RECIPES)
    given: dict[str, int | float] = {}
    for change in changes.split(",") if colon else ():
        key, _, value = change.partition("=")
        lookup("setting of a recipe", key, dict.fromkeys(CHANGEABLE))
        try:
            given[key] = CHANGEABLE[key](value)
        except ValueError:
            raise ValueError(f"recipe {text!r}: {key} takes a number, got {value!r:.60}") from None
    return with_changes(recipe, **given)


def asked_changes(recipe: str | Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Return the name of a recipe that is asked for, if any, and what is other than in it.

    Raises:
        ValueError: if it has no such setting, or a number means nothing.

    Example:
        >>> asked_changes({"name": "small", "lr": 0.01}), asked_changes("small")
        (('small', {'lr': 0.01}), ('small', {}))
    """
    changes = {"name": recipe} if isinstance(recipe, str) else dict(recipe or {})
    for key in changes:
        lookup("setting of a recipe", key, dict.fromkeys(("name", *CHANGEABLE)))
    name = changes.pop("name", None)
    changes = {key: value for key, value in changes.items() if value is not None}
    check_changes(**changes)
    return name, changes


def with_changes(
    recipe: Recipe,
    *,
    epochs: int | float | None = None,
    batch_size: int | float | None = None,
    lr: float | None = None,
) -> Recipe:
    """Return a recipe of other length, batch size or rate, which its name then says.

    So many epochs are no more, however few updates they are.

    Raises:
        ValueError: if a number means nothing.
    """
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    check_changes(**given)
    changes = {key: CHANGEABLE[key](v) for key, v in given.items() if v is not None}
    is_freed = recipe.least_steps > 0 and epochs is not None
    usual = {key for key, value in changes.items() if getattr(recipe, key) == value}
    changes = {k: v for k, v in changes.items() if k not in usual or (k == "epochs" and is_freed)}
    if not changes:
        return recipe
    text = ",".join(f"{key}={value!r}" for key, value in changes.items())
    if is_freed:
        recipe = dataclasses.replace(recipe, least_steps=0)
    joint = "," if ":" in recipe.name else ":"
    return dataclasses.replace(recipe, **changes, name=f"{recipe.name}{joint}{text}")


def check_changes(
    *, epochs: float | None = None, batch_size: float | None = None, lr: float | None = None
) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        ValueError: naming the option.
    """
    for name, value in (("--epochs", epochs), ("--batch-size", batch_size)):
        if value is None or (_is_number(value) and 1 <= value <= _MOST and value == int(value)):
            continue
        raise ValueError(
            f"{name} takes a whole number of at least 1 and at most {_MOST:,}, got {value!r:.60}"
        )
    if lr is not None and not (_is_number(lr) and 0 < lr <= _MOST):
        raise ValueError(f"--lr takes a rate above 0 and at most {_MOST:,}, got {lr!r:.60}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of all settings of a recipe."""
    text = json.dumps(asdict(recipe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
