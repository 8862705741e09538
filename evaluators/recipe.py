"""Training recipes, frozen and complete; each space has one for its own data and length."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.lookup import lookup


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: under which it is asked for.
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        lr: peak learning rate; warm-up, then a cosine to zero.
        weight_decay: of all parameters.
        batch_size: images a step.
        epochs: passes over the training split, unless steps are given.
        warmup: share of the steps spent warming up.
        label_smoothing: of the cross-entropy.
        ema_decay: of the averaged weights that are evaluated; 0 evaluates the last ones.
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

    def __post_init__(self) -> None:
        lookup("optimizer", self.optimizer, dict.fromkeys(("adamw", "sgd")))

    def num_steps(self, num_items: int) -> int:
        """Return the number of updates on a training split of so many items."""
        return self.epochs * (num_items // min(self.batch_size, num_items))


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
)

RECIPES: dict[str, Recipe] = {r.name: r for r in (DEMONSTRATION, MOBILENET, MOBILENEXT, SMALL)}

_OF_SPACE = {
    "sandglass": MOBILENEXT,
    "sandglass-micro": SMALL,
    "sandglass-micro-tab": SMALL,
    "toy": SMALL,
}


def default_recipe(space: str, *, is_demonstration: bool) -> Recipe:
    """Return the short recipe on embedded data, the space's own on the user's.

    A space without a recipe of its own gets MobileNet's.
    """
    return DEMONSTRATION if is_demonstration else _OF_SPACE.get(space, MOBILENET)
