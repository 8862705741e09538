"""How well maps of probabilities find objects: curves of precision and recall, and structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# H height, W width, T thresholds

THRESHOLDS = 256
BETA_SQUARED = 0.3  # weighs precision more, Achanta et al. 2009
_ALPHA = 0.5  # of the object-aware part of the structure measure
_TINY = 1e-12

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def precision_recall(probs_HW: Map, mask_HW: Mask) -> tuple[Map, Map]:
    """Return precision and recall [T] of the pixels above each of 256 thresholds 0, 1/255, ... 1.

    A pixel is found if 255 times its probability, rounded, is at least 255 times the threshold.
    Where nothing is found precision is 1 if there is no object, else 0; recall of no object is 1.
    """
    levels = np.rint(255 * np.nan_to_num(probs_HW)).astype(np.int64)  # of a lost network too
    found = _at_least(levels[mask_HW])
    all_found = found + _at_least(levels[~mask_HW])
    total = int(mask_HW.sum())
    precision = np.where(all_found > 0, found / np.maximum(all_found, 1), float(total == 0))
    recall = found / total if total else np.ones(THRESHOLDS)
    return precision, recall


def _at_least(levels: NDArray[np.int64]) -> Map:
    """Return [T] how many levels are at least each threshold."""
    counts = np.bincount(levels.reshape(-1), minlength=THRESHOLDS)
    return counts[::-1].cumsum()[::-1].astype(np.float64)


def f_measure(precision: Map, recall: Map) -> Map:
    """Return the weighted harmonic mean (1 + b) P R / (b P + R), b = 0.3; 0 where both are 0."""
    below = BETA_SQUARED * precision + recall
    return (1 + BETA_SQUARED) * precision * recall / np.maximum(below, _TINY)


def s_measure(probs_HW: Map, mask_HW: Mask) -> float:
    """Return the structure measure of Fan et al. 2017 (arXiv:1708.00786), 1 for a perfect map.

    Half of it compares object and background as wholes, half four regions around the centre of the
    object. Of an image without objects it is 1 - the mean probability, of one that is all object
    the mean probability.
    """
    share = float(mask_HW.mean())
    if share in (0.0, 1.0):
        mean = float(probs_HW.mean())
        return mean if share else 1 - mean
    score = _ALPHA * _of_objects(probs_HW, mask_HW) + (1 - _ALPHA) * _of_regions(probs_HW, mask_HW)
    return max(score, 0.0)


def _of_objects(probs_HW: Map, mask_HW: Mask) -> float:
    """Return S_o: both sides have to be even, and far from each other (equations 4 to 8)."""
    share = float(mask_HW.mean())
    return share * _evenness(probs_HW[mask_HW]) + (1 - share) * _evenness(1 - probs_HW[~mask_HW])


def _evenness(values: Map) -> float:
    """Return 2 m / (m^2 + 1 + s) of mean m and deviation s, the paper's lambda being 0.5."""
    mean, deviation = float(values.mean()), float(values.std())
    return 2 * mean / (mean**2 + 1 + deviation)


def _of_regions(probs_HW: Map, mask_HW: Mask) -> float:
    """Return S_r: similarity in four regions that meet at the object's centre, by their area."""
    height, width = mask_HW.shape
    rows, columns = np.nonzero(mask_HW)
    y, x = (round(float(axis.mean())) + 1 for axis in (rows, columns))
    total = 0.0
    for vertical in (slice(0, y), slice(y, height)):
        for horizontal in (slice(0, x), slice(x, width)):
            part = mask_HW[vertical, horizontal]
            if part.size:  # a centre on the edge leaves some regions without pixels
                similarity = _similarity(probs_HW[vertical, horizontal], part.astype(np.float64))
                total += part.size / mask_HW.size * similarity
    return total


def _similarity(x: Map, y: Map) -> float:
    """Return the structural similarity of two regions as a whole, without its constants.

        4 mx my cxy / ((mx^2 + my^2) (vx + vy))

    Two even regions are alike (1), an even and an uneven one are not (0), as the authors have it.
    """
    mean_x, mean_y = float(x.mean()), float(y.mean())
    covariance = float(((x - mean_x) * (y - mean_y)).mean())
    above = 4 * mean_x * mean_y * covariance
    below = (mean_x**2 + mean_y**2) * (float(x.var()) + float(y.var()))
    if abs(above) > _TINY:
        return above / below
    return 1.0 if below <= _TINY else 0.0


def max_f(precision: Map, recall: Map) -> float:
    """Return the largest F-measure over thresholds of mean precision and mean recall, each [T]."""
    return float(f_measure(precision, recall).max())
