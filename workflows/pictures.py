"""What a network made of items of the test split, drawn by their task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils._pytree import tree_map

from ..core.pictures import Pictures
from ..core.run import write_json
from ..training.task import Task

IN_REPORT = 6
_AT_A_TIME = 32


@torch.no_grad()
def drawn(network: nn.Module, task: Task, count: int, device: torch.device) -> list[Image.Image]:
    """Return pictures of so many items, evenly spread over the test split; none if none are drawn.

    Args:
        network: is put on the device and into evaluation mode.
        task: whose `pictures` are taken.
        count: of items, fewer where there are fewer.
        device: on which the network computes.
    """
    if type(task).pictures is Task.pictures:
        return []
    network, size = network.to(device).eval(), task.size("test")
    count = min(count, size)
    chosen, found = [(2 * n + 1) * size // (2 * count) for n in range(count)], []
    for start in range(0, count, _AT_A_TIME):
        batch = task.read("test", chosen[start : start + _AT_A_TIME], None)
        outputs = network(*batch.to(device).inputs)
        found += task.pictures(batch, tree_map(lambda y: y.float().cpu(), outputs))
    return found


def pictures_file(weights: Path) -> Path:
    """Return where pictures of what trained weights answer stand, for the report."""
    return weights.with_name(f"{weights.stem}-pictures.json")


def keep(weights: Path, images: Sequence[Image.Image]) -> None:
    """Keep pictures beside the weights, where there are any."""
    if images:
        write_json(pictures_file(weights), Pictures.of(images).to_json())


def save(folder: Path, images: Sequence[Image.Image]) -> None:
    """Write pictures as numbered PNG files, in place of those that were there."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9][0-9][0-9][0-9].png"):
        old.unlink()
    for number, image in enumerate(images, 1):
        image.save(folder / f"{number:05}.png")
