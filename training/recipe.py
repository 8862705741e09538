"""How weights learn, of a supernet as of a plain network: one frozen and complete recipe."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..core.check import MOST_NUMBER
from ..core.lookup import lookup
from ..core.schedule import SCHEDULES

_AMOUNTS = ("label_smoothing", "mixup", "cutmix", "rand_augment", "erasing")
_LONGEST = 60  # name within that of a file
MOST = 10**6
"""More epochs, images an update, or a higher rate nobody means."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How weights learn.

    Attributes:
        name: under which it is asked for.
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        lr: peak learning rate; warm-up, then by the schedule...
        final_lr: ...to this, which is not higher.
        schedule: `cosine`, `linear` or `constant` behind the warm-up.
        warmup: share of the steps spent warming up.
        layer_decay: factor on the rate from each layer to the one before it; 1 trains all alike.
        weight_decay: of all parameters...
        decay_all: ...also of norms, biases and whatever else has one dimension.
        clip: norm to which the gradient of an update is shortened where it is longer; 0 for none.
        batch_size: images that run at a time.
        accumulation: batches an update.
        epochs: passes over the training split, unless steps are given.
        least_steps: updates at least, in more epochs where there are few images.
        label_smoothing: of the cross-entropy.
        ema_decay: of the averaged weights that are evaluated; 0 evaluates the last ones.
        drop_path: rate at which the last block's residual branches are dropped, see
            `nastk.ops.residual.set_drop_path`.
        mixup: parameter of the Beta distribution of mixup, see `nastk.tasks.images.mixing.mix`.
        cutmix: the same of cutmix.
        rand_augment: strength of RandAugment, up to 10, see `nastk.tasks.images.augment`.
        erasing: share of the images in which a rectangle is erased.

    Raises:
        ValueError: if a setting means nothing.
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
    schedule: str = "cosine"
    layer_decay: float = 1.0
    decay_all: bool = True
    clip: float = 0.0
    accumulation: int = 1

    def __post_init__(self) -> None:
        lookup("optimizer", self.optimizer, dict.fromkeys(("adamw", "sgd")))
        lookup("schedule", self.schedule, SCHEDULES)
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"a recipe takes as {name} a number of {low:g} to {high:g}, got "
                    f"{getattr(self, name)!r:.60}"
                )
        for name in ("warmup", "ema_decay", "drop_path", "erasing", "label_smoothing"):
            if getattr(self, name) == 1:
                raise ValueError(f"a recipe takes as {name} a share below 1, got 1")
        if not self.lr > 0 or not self.layer_decay > 0:
            raise ValueError("a recipe takes as lr and as layer_decay numbers above 0")

    @property
    def amounts(self) -> dict[str, float]:
        """How strongly objective and data are changed, by name: a kind of task takes what it knows.

        `label_smoothing mixup cutmix rand_augment erasing`.
        """
        return {name: getattr(self, name) for name in _AMOUNTS}

    @property
    def slug(self) -> str:
        """The name in that of a file, where long ones are shortened."""
        if len(self.name) <= _LONGEST:
            return self.name
        return f"{self.name.partition(':')[0]}:{recipe_hash(self)[:10]}"

    @property
    def items_an_update(self) -> int:
        """Items that an update has seen."""
        return self.batch_size * self.accumulation

    def rate(self, share: float) -> float:
        """Return the learning rate after a share of the updates."""
        factor = SCHEDULES[self.schedule](share, self.warmup)
        return self.final_lr + (self.lr - self.final_lr) * factor

    def num_steps(self, num_items: int) -> int:
        """Return the number of updates on a training split of so many items."""
        return max(self.least_steps, self.epochs * self.steps_an_epoch(num_items))

    def num_images(self, num_items: int) -> int:
        """Return the number of images that are processed, of so many different ones."""
        return self.num_steps(num_items) * self.accumulation * min(self.batch_size, num_items)

    def steps_an_epoch(self, num_items: int) -> int:
        """Return the number of updates of one pass over so many items, at least one."""
        return max(1, num_items // min(self.batch_size, num_items) // self.accumulation)


_RANGES: Mapping[str, tuple[float, float]] = {
    "lr": (0, MOST_NUMBER),
    "final_lr": (0, MOST_NUMBER),
    "weight_decay": (0, MOST_NUMBER),
    "layer_decay": (0, 1),
    "clip": (0, MOST_NUMBER),
    "warmup": (0, 1),
    "batch_size": (1, MOST),
    "accumulation": (1, MOST),
    "epochs": (1, MOST),
    "least_steps": (0, 10**9),
    "label_smoothing": (0, 1),
    "ema_decay": (0, 1),
    "drop_path": (0, 1),
    "mixup": (0, 100),
    "cutmix": (0, 100),
    "rand_augment": (0, 10),
    "erasing": (0, 1),
}


ANY = Recipe(
    name="any", optimizer="adamw", lr=1, weight_decay=0, batch_size=1, epochs=1, warmup=0.0
)
"""A recipe whose settings change nothing that need not be."""
# Settings that recipes of before did not have; left out of their hash where they change nothing.
_SINCE = ("schedule", "layer_decay", "decay_all", "clip", "accumulation")


def of_supernet(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe for the weights of a supernet, without what named ones say of networks.

    Args:
        recipe: changed already.
        changes: those of a user, who may want averaged weights.
    """
    decay = recipe.ema_decay if "ema_decay" in changes else 0.0
    return dataclasses.replace(recipe, ema_decay=decay, drop_path=0.0)


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of all settings of a recipe."""
    usual = {name: getattr(ANY, name) for name in _SINCE}
    told = {k: v for k, v in asdict(recipe).items() if k not in usual or v != usual[k]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
