"""Testing trained weights on the test split of their own data, or of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .core.metrics import test_metrics
from .manifests import absolute_data
from .matching import task_of
from .naming import check_numbers, family_of, find_device
from .weights import check_owner, last_weights, load_weights, metadata_of


def evaluate(
    what: str | Path,
    *,
    weights: str | Path | None = None,
    data: str | None = None,
    device: str = "cpu",
    workers: int = 0,
    strict: bool = False,
    allow_mismatch: bool = False,
) -> dict[str, Any]:
    """Test trained weights on the test split.

    Pictures are prepared as in training, and classes matched by their names: data whose labels are
    numbers without names have the numbers as names.

    Args:
        what: run folder, arch.json or published name.
        weights: a .safetensors file of `retrain`; the last one of its folder if None, which is
            `runs/NAME` of a file or a name.
        data: as for search; the data that the weights were trained on if None.
        device: `cpu` or `cuda`.
        workers: processes that decode images.
        strict: refuse unreadable images instead of skipping them.
        allow_mismatch: take labels by their numbers where the weights were trained on other
            classes.

    Returns:
        `weights`, `data`, `num_skipped`, `metrics`, and as `changes` what was done to make data
        fit that are prepared or labelled otherwise than those of the training.

    Raises:
        ValueError: if the weights belong to another network, or were trained on other classes.
    """
    check_numbers(workers=workers)
    place = find_device(device)
    path = Path(weights) if weights else last_weights(what)
    check_owner(path, what)
    metadata = metadata_of(path)
    name = absolute_data(data) if data else metadata["data"]
    network = load_weights(path, family_of(what))
    task, changes = task_of(
        path, name, workers=workers, strict=strict, allow_mismatch=allow_mismatch
    )
    metrics = test_metrics(network, task, device=place)
    skipped = {"num_skipped": task.num_skipped}
    return {"weights": str(path), "data": name, **skipped, "metrics": metrics, "changes": changes}
