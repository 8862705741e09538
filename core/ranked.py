"""How losses rank, wherever archs, trainings or weights are compared by them."""

import math


def as_ranked(loss: float | None) -> float:
    """Return a loss as it ranks: one that is not finite, or that JSON holds as null, is last.

    Example:
        >>> as_ranked(0.5), as_ranked(float("nan")), as_ranked(None)
        (0.5, inf, inf)
    """
    return loss if loss is not None and math.isfinite(loss) else math.inf
