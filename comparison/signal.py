"""Can these data, this recipe and these seeds rank archs at all? Statistics that say so."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .ranking import ceiling, tau

# A archs, S seeds

Values = NDArray[np.float64]


def intraclass_correlation(values_AS: Values) -> float:
    r"""Return the share of the variance of one training that is due to its arch.

    ICC(1,1): one-way random effects, single measurement, estimated by the analysis of variance
    (Shrout and Fleiss 1979, Psychological Bulletin 86(2), 420-428, case 1):

        BMS = S sum_a (m_a - m)^2 / (A - 1)
        WMS = sum_as (x_as - m_a)^2 / (A (S - 1))
        ICC = (BMS - WMS) / (BMS + (S - 1) WMS)

    An estimate may be below zero; then archs differ less than their seeds make them differ.

    Args:
        values_AS: [A, S] a figure of A archs, each trained with S seeds.

    Returns:
        1 where only the arch matters, about 0 where only the seed does; nan if all are equal.

    Raises:
        ValueError: if there are less than two archs or seeds.

    Example:
        >>> round(intraclass_correlation(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])), 4)
        0.8824
    """
    num_archs, num_seeds = values_AS.shape
    if num_archs < 2 or num_seeds < 2:
        raise ValueError(f"needs at least 2 archs and 2 seeds, got {num_archs} and {num_seeds}")
    mean_A = values_AS.mean(1)
    between = num_seeds * float(mean_A.var(ddof=1))
    within = float(values_AS.var(1, ddof=1).mean())
    total = between + (num_seeds - 1) * within
    return (between - within) / total if total > 0 else float("nan")


def signal(
    losses_AS: Values, accuracies_AS: Values, params_A: Sequence[float]
) -> dict[str, float | None]:
    """Return `icc_loss icc_accuracy ceiling_tau params_tau` of trainings.

    `params_tau` is that of more params and lower mean loss. What is undefined is None.
    """
    iccs = [intraclass_correlation(values_AS) for values_AS in (losses_AS, accuracies_AS)]
    icc_loss, icc_accuracy = (icc if math.isfinite(icc) else None for icc in iccs)
    return {
        "icc_loss": icc_loss,
        "icc_accuracy": icc_accuracy,
        "ceiling_tau": ceiling(losses_AS.tolist()),
        "params_tau": tau(params_A, losses_AS.mean(1).tolist()),
    }
