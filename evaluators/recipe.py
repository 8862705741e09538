"""Training recipes, frozen and complete."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        lr: peak learning rate; warm-up, then a cosine to zero.
        weight_decay: of all parameters.
        batch_size: images a step.
        epochs: passes over the training split, unless steps are given.
        warmup: share of the steps spent warming up.
        label_smoothing: of the cross-entropy.
        ema_decay: of the averaged weights that are evaluated; 0 evaluates the last ones.
    """

    optimizer: str
    lr: float
    weight_decay: float
    batch_size: int
    epochs: int
    warmup: float
    label_smoothing: float = 0.0
    ema_decay: float = 0.0


# A few hundred steps on embedded data (measured settings of nastk).
ADAMW = Recipe(
    optimizer="adamw", lr=1.2e-2, weight_decay=0.02, batch_size=64, epochs=4, warmup=0.15
)
# The log of the released MobileNeXt (arXiv:2007.02269): 200 epochs, SGD 0.1, smoothing 0.1; the
# moving average is nastk's addition.
SGD = Recipe(
    optimizer="sgd",
    lr=0.1,
    weight_decay=1e-4,
    batch_size=256,
    epochs=200,
    warmup=0.015,
    label_smoothing=0.1,
    ema_decay=0.9999,
)

RECIPES: dict[str, Recipe] = {"adamw": ADAMW, "sgd": SGD}


def default_recipe(is_demonstration: bool) -> Recipe:
    """Return the short recipe for embedded data, the long one for the user's."""
    return ADAMW if is_demonstration else SGD
