"""Learning-rate schedules as functions of the share of steps done."""

import math
from collections.abc import Callable, Mapping


def warmup_cosine(share: float, warmup: float) -> float:
    """Return the factor on the learning rate: linear up from 1/25 to 1, then a cosine to 0.

    Args:
        share: of the steps done, in [0, 1].
        warmup: share of the steps spent going up.
    """
    if share < warmup:
        return _warming(share, warmup)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def warmup_linear(share: float, warmup: float) -> float:
    """Return the same with a straight line to 0 behind the warm-up."""
    return _warming(share, warmup) if share < warmup else (1 - share) / (1 - warmup)


def warmup_constant(share: float, warmup: float) -> float:
    """Return the same with 1 behind the warm-up."""
    return _warming(share, warmup) if share < warmup else 1.0


SCHEDULES: Mapping[str, Callable[[float, float], float]] = {
    "cosine": warmup_cosine,
    "linear": warmup_linear,
    "constant": warmup_constant,
}
"""Factors on the learning rate by name, from the share of steps done and that of the warm-up."""


def _warming(share: float, warmup: float) -> float:
    return 0.04 + 0.96 * share / warmup


def geometric(share: float, start: float, end: float) -> float:
    """Return what falls or grows by equal factors from `start` at share 0 to `end` at share 1.

    Example:
        >>> geometric(0.5, 4.0, 1.0)
        2.0
    """
    return float(start * (end / start) ** share)
