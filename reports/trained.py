"""What a run tells of its trained network: how good it is, and by which training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..core.files import with_nan
from ..tasks.named import metrics_of
from .story import Story
from .wording import in_front

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
    measured = metrics_of((made or {}).get("data") or story.manifest.data)
    return {
        "is_finished": made is not None,
        **{f"test_{m.name}": metrics.get(f"test_{m.name}") for m in in_front(measured)},
        "num_updates": total,
        "num_updates_done": None if curve is None else curve.steps[-1] if curve.steps else 0,
        "epochs": None if curve is None else curve.total / curve.steps_an_epoch,
        "seconds": metrics.get("train_seconds"),
        "cpu_seconds": metrics.get("train_cpu_seconds"),
        "weight_bytes": metrics.get("weight_bytes"),
        **{key: record.get(key) for key in ("recipe", "seed", "start", "device", "date")},
        "data": (made or {}).get("data"),
        "resolution": ((made or {}).get("network") or {}).get("resolution"),
        "has_diverged": not math.isfinite(metrics.get(f"test_{measured[0].name}", 0.0)),
    }


def curve_facts(story: Story) -> dict[str, list[Any]] | None:
    """Return the learning curve as lists of equal length, losses that are lost as nan."""
    curve = story.curve
    if curve is None:
        return None
    return {key: list(values) for key, values in curve.lists.items()}


def loss_facts(story: Story) -> list[dict[str, Any]]:
    """Return every loss of the found network, and by which training it has it.

    Returns:
        Rows of `training` (in words), `measured_on`, `data`, the metrics by name, `num_trainings`.
    """
    rows = []
    if (made := training_facts(story)) is not None and made["is_finished"]:
        seed = None if made["seed"] is None else f"seed {made['seed']}"
        start = STARTS.get(str(made["start"]))
        words = _words("retraining", made["recipe"], made["num_updates"], seed, start)
        rows.append(
            _row(words, made["data"], {k.removeprefix("test_"): v for k, v in made.items()}, 1)
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
        rows.append(_row(words, content["data"], row, count))
    return rows


def _words(kind: str, recipe: str | None, num_updates: int | None, *details: str | None) -> str:
    length = None if num_updates is None else f"{num_updates:,} updates"
    way = None if recipe is None else f"recipe {recipe}"
    known = [detail for detail in (way, length, *details) if detail is not None]
    return f"{kind}: {', '.join(known)}" if known else kind


def _row(words: str, data: str | None, values: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {
        "training": words,
        "measured_on": None if data is None else f"test images of {data}",
        "data": data,
        **{metric.name: values[metric.name] for metric in metrics_of(data)},
        "num_trainings": count,
    }


def training_seconds(story: Story) -> float | None:
    """Return the seconds of the retraining: of the CPU, or wall on a GPU; None if not known."""
    facts = training_facts(story)
    if facts is None or facts["device"] != story.manifest.get("device", "cpu"):
        return None
    seconds: float | None = facts["cpu_seconds" if facts["device"] == "cpu" else "seconds"]
    return seconds
