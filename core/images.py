"""Decoding and cropping of image files; apart from tasks, so that workers import no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .augment import rand_augment
from .preprocessing import FILTERS, Preprocessing

Job = tuple[str, Preprocessing, tuple[int, int, int] | None, float]
"""File, preprocessing, seed of the augmentation (None for none), strength of RandAugment."""


def decode(job: Job) -> NDArray[np.uint8] | str:
    """Return [R, R, 3] bytes, or the file's name and trouble if it cannot be read."""
    file, preprocessing, seed, magnitude = job
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{file} ({error})"
    if seed is None:
        return preprocessing.pixels(image)
    side = (preprocessing.resolution, preprocessing.resolution)
    box = _random_box(image.size, seed) or preprocessing.box(image.size)
    image = image.resize(side, FILTERS[preprocessing.resize], box=box)
    if magnitude:
        image = rand_augment(image, magnitude, np.random.default_rng((*seed, 2)))
    pixels = np.asarray(image)
    if np.random.default_rng((*seed, 1)).random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _random_box(
    size: tuple[int, int], seed: tuple[int, int, int]
) -> tuple[float, float, float, float] | None:
    """Return a box within a picture, None if ten draws were too wide or too high for it."""
    generator = np.random.default_rng(seed)
    for _ in range(10):
        area = size[0] * size[1] * generator.uniform(0.08, 1.0)
        aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
        if width <= size[0] and height <= size[1]:
            left = generator.uniform(0, size[0] - width)
            top = generator.uniform(0, size[1] - height)
            return (left, top, left + width, top + height)
    return None
