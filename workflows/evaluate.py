"""Testing trained weights on the test split of their own data, or of others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..core.answers import Answers
from ..core.arguments import typed_arguments
from ..core.run import write_json
from ..records.data import chosen_data
from ..records.naming import check_numbers, family_of, find_device
from ..records.weights import check_owner, last_weights, load_weights, metadata_of
from ..training.task import Metrics, Task, measure
from .guarding import guarded_call
from .matching import task_of
from .pictures import drawn, save

_log = logging.getLogger(__name__)


def test_answers(
    network: nn.Module, task: Task, device: torch.device
) -> tuple[Metrics, Answers | None]:
    """Return the metrics of a network on the test split, and what it answered, if that is kept."""
    meter = task.meter("test")
    return measure(network, task, "test", device, meter), meter.answers()


test_answers.__test__ = False  # type: ignore[attr-defined]  # a library function, not a test


def test_baselines(task: Task) -> dict[str, Metrics]:
    """Return what predictors that know hardly anything reach on the test split, by their names."""
    return {
        name: {f"test_{key}": value for key, value in metrics.items()}
        for name, metrics in task.baselines().items()
    }


test_baselines.__test__ = False  # type: ignore[attr-defined]


def by_class(answers: Answers | None) -> dict[str, Any]:
    """Return what results say of single classes: nothing where a kind keeps no answers."""
    return {
        "class_top1_percents": answers and answers.top1_percents,
        "weakest_classes": answers.weakest if answers else "",
    }


def answers_file(weights: Path) -> Path:
    """Return where the answers of trained weights stand, for the report."""
    return weights.with_name(f"{weights.stem}-answers.json")


def write_answers(file: Path, answers: Answers, data: str, metrics: Metrics) -> None:
    """Write the answers on data, and what they amount to."""
    write_json(file, answers.to_json() | {"data": data, "metrics": metrics})


@typed_arguments
@guarded_call()
def evaluate(
    what: str | Path,
    *,
    weights: str | Path | None = None,
    data: Any = None,
    task: Any = None,
    device: str = "cpu",
    workers: int = 0,
    strict: bool = False,
    allow_mismatch: bool = False,
    save_images: int | None = None,
) -> dict[str, Any]:
    """Test trained weights on the test split.

    On the data of the training, the answers are written beside the weights, for the report.
    Pictures are prepared as in training, and classes matched by their names: data whose labels are
    numbers without names have the numbers as names.

    Args:
        what: run folder, arch.json or published name.
        weights: a .safetensors file of `retrain`; the last one of its folder if None, which is
            `runs/NAME` of a file or a name.
        data: as for search; the data that the weights were trained on if None.
        task: as for search.
        device: `cpu` or `cuda`.
        workers: processes that decode images.
        strict: refuse unreadable images instead of skipping them.
        allow_mismatch: take labels by their numbers where the weights were trained on other
            classes.
        save_images: of so many items of the test split, evenly spread, write a picture of what was
            given, wanted and answered, where a task draws any.

    Returns:
        `weights`, `data`, `num_skipped`, `metrics`, as `baselines` by name the metrics of
        predictors that know hardly anything (classification has none), `classes` and in their
        order `class_top1_percents` (None without images), as `weakest_classes` a line about these,
        as `pictures` the folder of those that were asked for, and as `changes` what was done to
        make data fit that are prepared or labelled otherwise than those of the training.

    Raises:
        ValueError: if the weights belong to another network, or were trained on other classes.
    """
    check_numbers(workers=workers, save_images=save_images)
    place = find_device(device)
    path = Path(weights) if weights else last_weights(what)
    check_owner(path, what)
    metadata = metadata_of(path)
    given, _alive = chosen_data(data, task, metadata["data"])
    name = str(given)
    network = load_weights(path, family_of(what))
    tested, changes = task_of(
        path, name, workers=workers, strict=strict, allow_mismatch=allow_mismatch
    )
    folder = None
    if save_images is not None:
        folder = _saved(drawn(network, tested, save_images, place), tested, path)
    metrics, answers = test_answers(network, tested, place)
    if answers is not None and name == metadata["data"] and not changes:
        _keep(answers_file(path), answers, name, metrics)
    return {
        "weights": str(path),
        "data": name,
        "num_skipped": tested.num_skipped,
        "metrics": metrics,
        "baselines": test_baselines(tested),
        "classes": list(answers.classes if answers else tested.class_names),
        **by_class(answers),
        "pictures": folder,
        "changes": changes,
    }


def _saved(images: list[Image.Image], task: Task, weights: Path) -> str:
    """Write pictures beside the weights and return their folder.

    Raises:
        ValueError: if the task draws none.
    """
    if not images:
        raise ValueError(f"a task of {task.kind} draws no pictures: leave out --save-images")
    folder = weights.with_name(f"{weights.stem}-pictures")
    save(folder, images)
    return str(folder)


def _keep(file: Path, answers: Answers, data: str, metrics: Metrics) -> None:
    """Write the answers, unless the weights lie where nothing can be written."""
    try:
        write_answers(file, answers, data, metrics)
    except OSError as error:
        _log.warning(
            "warning: %s cannot be written, the report lacks it (%s)", file, error.strerror
        )
