"""What a run tells of its trained network: how good it is, on which classes, by which training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..core.answers import Answers
from ..core.files import with_nan
from .story import Story

MOST_IN_MATRIX = 30
"""A matrix of more classes is not readable; its worst pairs are."""
_PAIRS = 20

STARTS = {
    "scratch": "from scratch",
    "inherit": "from the supernet's weights",
    "held-out": "from scratch on three quarters of the training images",
}


def training_facts(story: Story) -> dict[str, Any] | None:
    """Return what is known of the last training of the network, done or under way."""
    made, curve = story.files.get("retrain"), story.curve
    if made is None and curve is None:
        return None
    record = (made or {}).get("record") or {}
    metrics = with_nan((made or {}).get("metrics") or {})
    total = record.get("steps") if curve is None else curve.total
    return {
        "is_finished": made is not None,
        "test_top1_percent": metrics.get("test_top1_percent"),
        "test_loss_nats": metrics.get("test_loss_nats"),
        "num_updates": total,
        "num_updates_done": None if curve is None else curve.steps[-1] if curve.steps else 0,
        "epochs": None if curve is None else curve.total / curve.steps_an_epoch,
        "seconds": metrics.get("train_seconds"),
        "cpu_seconds": metrics.get("train_cpu_seconds"),
        "weight_bytes": metrics.get("weight_bytes"),
        **{key: record.get(key) for key in ("recipe", "seed", "start", "device", "date")},
        "data": (made or {}).get("data"),
        "resolution": ((made or {}).get("network") or {}).get("resolution"),
        "has_diverged": "test_loss_nats" in metrics
        and not math.isfinite(metrics["test_loss_nats"]),
    }


def curve_facts(story: Story) -> dict[str, list[Any]] | None:
    """Return the learning curve as lists of equal length, losses that are lost as nan."""
    curve = story.curve
    if curve is None:
        return None
    return {key: list(values) for key, values in curve.lists.items()}


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


def loss_facts(story: Story) -> list[dict[str, Any]]:
    """Return every loss of the found network, and by which training it has it.

    Returns:
        Rows of `training` (in words), `measured_on`, `loss_nats`, `top1_percent`, `num_trainings`.
    """
    rows = []
    if (made := training_facts(story)) is not None and made["is_finished"]:
        seed = None if made["seed"] is None else f"seed {made['seed']}"
        start = STARTS.get(str(made["start"]))
        words = _words("retraining", made["recipe"], made["num_updates"], seed, start)
        rows.append(
            _loss(words, made["data"], made["test_loss_nats"], made["test_top1_percent"], 1)
        )
    for name, title in (("compare", "comparison"), ("evidence", "evidence of the search")):
        content = story.files.get(name, {})
        row = next((r for r in content.get("rows", []) if r["kind"] == "found"), None)
        if row is None:
            continue
        count = row["seeds"]
        seeds = "one seed" if count == 1 else f"mean of {count} seeds"
        steps, whole = content.get("steps"), content.get("steps_of_the_recipe")
        share = f"{100 * steps / whole:.0f}% of the recipe" if steps and whole else None
        words = _words(title, content["recipe"], steps or whole, seeds, share)
        rows.append(_loss(words, content["data"], row["loss_nats"], row["top1_percent"], count))
    return rows


def _words(kind: str, recipe: str | None, num_updates: int | None, *details: str | None) -> str:
    length = None if num_updates is None else f"{num_updates:,} updates"
    way = None if recipe is None else f"recipe {recipe}"
    known = [detail for detail in (way, length, *details) if detail is not None]
    return f"{kind}: {', '.join(known)}" if known else kind


def _loss(
    words: str, data: str | None, loss: float | None, percent: float | None, count: int
) -> dict[str, Any]:
    return {
        "training": words,
        "measured_on": None if data is None else f"test images of {data}",
        "loss_nats": loss,
        "top1_percent": percent,
        "num_trainings": count,
    }


def training_seconds(story: Story) -> float | None:
    """Return the seconds of the retraining: of the CPU, or wall on a GPU; None if not known."""
    facts = training_facts(story)
    if facts is None or facts["device"] != story.manifest.get("device", "cpu"):
        return None
    seconds: float | None = facts["cpu_seconds" if facts["device"] == "cpu" else "seconds"]
    return seconds
