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
