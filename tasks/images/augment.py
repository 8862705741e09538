"""RandAugment on images (arXiv:1909.13719), drawn by a generator of the caller's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

# The strengths and the two operations an image, each applied half of the time, are those of the
# setting "rand-m9-mstd0.5-inc1" with which T2T-ViT (arXiv:2101.11986) was trained.
_SPREAD = 0.5
_NUM_OPERATIONS = 2
_FILL = (124, 116, 104)  # mean of ImageNet's pixels

Operation = Callable[[Image.Image, float, int], Image.Image]
"""Takes an image, a strength in [0, 1] and a random sign."""


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_FILL
    )


def _solarize_add(image: Image.Image, strength: float, sign: int) -> Image.Image:
    table = [min(v + int(110 * strength), 255) if v < 128 else v for v in range(256)]
    return image.point(table * 3)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    def enhance(image: Image.Image, strength: float, sign: int) -> Image.Image:
        return kind(image).enhance(max(0.1, 1 + sign * 0.9 * strength))

    return enhance


OPERATIONS: dict[str, Operation] = {
    "autocontrast": lambda image, s, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, s, sign: ImageOps.equalize(image),
    "invert": lambda image, s, sign: ImageOps.invert(image),
    "rotate": lambda image, s, sign: image.rotate(
        sign * 30 * s, Image.Resampling.BILINEAR, fillcolor=_FILL
    ),
    "posterize": lambda image, s, sign: ImageOps.posterize(image, max(1, 4 - int(4 * s))),
    "solarize": lambda image, s, sign: ImageOps.solarize(image, 256 - min(256, int(256 * s))),
    "solarize_add": _solarize_add,
    "colour": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": lambda image, s, sign: _affine(image, (1, sign * 0.3 * s, 0, 0, 1, 0)),
    "shear_y": lambda image, s, sign: _affine(image, (1, 0, 0, sign * 0.3 * s, 1, 0)),
    "translate_x": lambda image, s, sign: _affine(
        image, (1, 0, sign * 0.45 * s * image.width, 0, 1, 0)
    ),
    "translate_y": lambda image, s, sign: _affine(
        image, (1, 0, 0, 0, 1, sign * 0.45 * s * image.height)
    ),
}


def rand_augment(
    image: Image.Image, magnitude: float, generator: np.random.Generator
) -> Image.Image:
    """Return an RGB image changed by up to two random operations.

    Args:
        image: RGB.
        magnitude: mean strength, of at most 10; single strengths are normal around it.
        generator: the only source of randomness.
    """
    for name in generator.choice(list(OPERATIONS), _NUM_OPERATIONS):
        is_applied, sign = generator.random() < 0.5, int(generator.choice((-1, 1)))
        strength = float(np.clip(generator.normal(magnitude, _SPREAD), 0, 10)) / 10
        if is_applied:
            image = OPERATIONS[str(name)](image, strength, sign)
    return image
