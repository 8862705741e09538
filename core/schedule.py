"""Learning-rate schedules as functions of the share of steps done."""

import math


def warmup_cosine(share: float, warmup: float) -> float:
    """Return the factor on the learning rate: linear up from 1/25 to 1, then a cosine to 0.

    Args:
        share: of the steps done, in [0, 1].
        warmup: share of the steps spent going up.
    """
    if share < warmup:
        return 0.04 + 0.96 * share / warmup
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def geometric(share: float, start: float, end: float) -> float:
    """Return what falls or grows by equal factors from `start` at share 0 to `end` at share 1.

    Example:
        >>> geometric(0.5, 4.0, 1.0)
        2.0
    """
    return float(start * (end / start) ** share)
