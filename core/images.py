"""Decoding and cropping of image files; apart from tasks, so that workers import no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .augment import rand_augment

Job = tuple[str, int, tuple[int, int, int] | None, float]
"""File, side R in pixels, seed of the augmentation (None for none), strength of RandAugment."""


def decode(job: Job) -> NDArray[np.uint8] | str:
    """Return [R, R, 3] bytes, or the file's name and trouble if it cannot be read."""
    file, side, seed, magnitude = job
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{file} ({error})"
    box = _centre_box(image.size) if seed is None else _random_box(image.size, seed)
    image = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    if seed is not None and magnitude:
        image = rand_augment(image, magnitude, np.random.default_rng((*seed, 2)))
    pixels = np.asarray(image)
    if seed is not None and np.random.default_rng((*seed, 1)).random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _centre_box(size: tuple[int, int]) -> tuple[float, float, float, float]:
    side = min(size) * 7 / 8
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return (left, top, left + side, top + side)


def _random_box(
    size: tuple[int, int], seed: tuple[int, int, int]
) -> tuple[float, float, float, float]:
    generator = np.random.default_rng(seed)
    for _ in range(10):
        area = size[0] * size[1] * generator.uniform(0.08, 1.0)
        aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
        if width <= size[0] and height <= size[1]:
            left = generator.uniform(0, size[0] - width)
            top = generator.uniform(0, size[1] - height)
            return (left, top, left + width, top + height)
    return _centre_box(size)
