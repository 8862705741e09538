"""What a network answered on its test split, class by class, in figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..core.answers import Answers

MOST_IN_MATRIX = 30
"""A matrix of more classes is not readable; its worst pairs are."""
_PAIRS = 20


def class_facts(answers: Answers | None) -> dict[str, Any] | None:
    """Return how good the network is on each class of the test split, the worst class first.

    Returns:
        `num_classes`, `num_images`, `guess_percent` (accuracy of who always says the most frequent
        class), `interval_percent` (bounds of the accuracy on all such images, which hold in 19 of
        20 cases), `most_given` and `most_given_percent` (the class that the
        network names most, and how often), `classes` (`name num_images top1_percent
        precision_percent most_taken_for`), `confused` (pairs `true predicted num_images percent`,
        the most frequent first) and `matrix`, by true class the images that were given each class;
        None beyond 30 classes.
    """
    if answers is None:
        return None
    names, images = answers.classes, answers.num_images
    worst: dict[int, str] = {}
    for true, predicted, _ in answers.confused:
        worst.setdefault(true, names[predicted])
    predictions = zip(answers.num_right, answers.num_predicted, strict=True)
    precisions = [100 * right / count if count else None for right, count in predictions]
    rows = [
        {
            "name": name,
            "num_images": images[number],
            "top1_percent": answers.top1_percents[number],
            "precision_percent": precisions[number],
            "most_taken_for": worst.get(number),
        }
        for number, name in enumerate(names)
    ]
    given = max(range(len(names)), key=answers.num_predicted.__getitem__, default=None)
    rows.sort(key=lambda row: math.inf if row["top1_percent"] is None else row["top1_percent"])
    pairs = [
        {
            "true": names[true],
            "predicted": names[predicted],
            "num_images": count,
            "percent": 100 * count / max(images[true], 1),
        }
        for true, predicted, count in answers.confused[:_PAIRS]
    ]
    total = sum(images)
    return {
        "num_classes": len(names),
        "num_images": total,
        "guess_percent": 100 * max(images, default=0) / total if total else None,
        "interval_percent": _interval(sum(answers.num_right), total),
        "most_given": None if given is None else names[given],
        "most_given_percent": 100 * answers.num_predicted[given] / total if total else None,
        "classes": rows,
        "confused": pairs,
        "matrix": _matrix(answers),
    }


def _interval(num_right: int, total: int) -> list[float] | None:
    """Return bounds of an accuracy in percent that hold in 19 of 20 cases (Wilson 1927)."""
    if not total:
        return None
    share, square = num_right / total, 1.96**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = 1.96 * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    half /= 1 + square / total
    return [100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0)]


def doubts(told: Mapping[str, Any] | None) -> list[str]:
    """Return in words what is wrong with a network as a whole, judged by `class_facts`."""
    if told is None or not told["num_images"] or told["num_classes"] < 2:
        return []
    right = sum(row["num_images"] * (row["top1_percent"] or 0) for row in told["classes"])
    accuracy, guess = right / told["num_images"], told["guess_percent"]
    found = []
    if guess >= told["interval_percent"][0]:
        found.append(
            f"The network is right on {accuracy:.1f} % of the test images, which is no better than "
            f"always naming the most frequent class ({guess:.1f} %): train it for longer, or look "
            "at the learning curve."
        )
    if told["most_given_percent"] > max(90, 1.5 * guess):
        share = f"{told['most_given_percent']:.0f} % of all test images"
        found.append(f"The network names the class {told['most_given']} for {share}.")
    return found


def _matrix(answers: Answers) -> dict[str, Any] | None:
    size = len(answers.classes)
    if size > MOST_IN_MATRIX:
        return None
    rows = [[0] * size for _ in range(size)]
    for number, right in enumerate(answers.num_right):
        rows[number][number] = right
    for true, predicted, count in answers.confused:
        rows[true][predicted] = count
    return {"classes": list(answers.classes), "rows": rows}
