"""Embedded data of textures: patches of natural photos, the class is where a patch was cut out.

Each place is cut into three columns that share no pixel: the left half trains weights, the next
22 % choose architectures, the right 28 % test. A patch is a square of a random side at a random
position of a column, brought to the resolution, its channels brightened or darkened one by one, and
standardised as a whole, so that neither brightness nor colour tells the class alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .arrays import Arrays, Source
from .photos import (
    PHOTO_CREDITS,
    SKIMAGE_CREDITS,
    SKIMAGE_LICENCE,
    column_of,
    read_photo,
)

# S side of the patches brought to the resolution

_SEEDS = {"weights": 30, "architecture": 31, "test": 32}

_PER_CLASS = 400  # of the training part, every fourth of which chooses architectures
_TEST_PER_CLASS = 150

_GAINS = (0.7, 1.3)  # of a channel
_FLOOR = 4.0  # least deviation of a patch, in bytes: less is noise
_SPREAD = 48.0  # bytes that a deviation becomes


@dataclass(frozen=True)
class Place:
    """A class: a rectangle of a photo, or the whole photo where no box is given.

    Attributes:
        name: of the class.
        photo: name of the file.
        box: left, top, right and bottom in pixels.
    """

    name: str
    photo: str
    box: tuple[int, int, int, int] | None = None


REGIONS = (
    Place("roofs", "china.jpg", (85, 60, 325, 175)),
    Place("windows", "china.jpg", (85, 183, 330, 243)),
    Place("eaves", "china.jpg", (75, 245, 345, 345)),
    Place("trees", "china.jpg", (0, 350, 210, 427)),
    Place("bushes", "china.jpg", (375, 310, 640, 427)),
    Place("lake", "china.jpg", (350, 195, 550, 280)),
    Place("sky", "china.jpg", (330, 0, 640, 130)),
    Place("petals-above", "flower.jpg", (190, 95, 430, 215)),
    Place("petals-below", "flower.jpg", (190, 225, 430, 345)),
    Place("leaf", "flower.jpg", (0, 60, 180, 350)),
)
"""Ten parts of scikit-learn's two photos that look different to a person."""

PHOTOS = (
    Place("astronaut", "astronaut.png"),
    Place("brick", "brick.png"),
    Place("chelsea", "chelsea.png"),
    Place("china", "china.jpg"),
    Place("coffee", "coffee.png"),
    Place("flower", "flower.jpg"),
    Place("grass", "grass.png"),
    Place("gravel", "gravel.png"),
    Place("motorcycle", "motorcycle_left.png"),
    Place("rocket", "rocket.jpg"),
)
"""Ten photos, eight of scikit-image's wheel and scikit-learn's two."""


def textures() -> Source:
    """Return patches of 16 to 40 px of ten regions of two photos, 4000 for training."""
    return _source("textures", REGIONS, (16, 40), PHOTO_CREDITS, "CC-BY 2.0 (photos)")


def textures_photos() -> Source:
    """Return patches of 20 to 100 px of ten photos, 4000 for training."""
    credits = f"{PHOTO_CREDITS}; {SKIMAGE_CREDITS}"
    return _source("textures-photos", PHOTOS, (20, 100), credits, SKIMAGE_LICENCE)


def _source(
    name: str, places: Sequence[Place], sides: tuple[int, int], origin: str, licence: str
) -> Source:
    is_held = np.arange(_PER_CLASS * len(places)) // len(places) % 4 == 3
    return Source(
        name=name,
        origin=origin,
        licence=licence,
        num_classes=len(places),
        classes=[place.name for place in places],
        train=partial(_training_arrays, places, sides, is_held),
        test=partial(_test_arrays, places, sides),
        num_test=_TEST_PER_CLASS * len(places),
        chooses=is_held,
        flip=True,
    )


def _training_arrays(
    places: Sequence[Place], sides: tuple[int, int], chooses: NDArray[np.bool_], side: int
) -> Arrays:
    columns = ["architecture" if held else "weights" for held in chooses]
    return _patches(places, sides, columns, side)


def _test_arrays(places: Sequence[Place], sides: tuple[int, int], side: int) -> Arrays:
    return _patches(places, sides, ["test"] * (_TEST_PER_CLASS * len(places)), side)


def _patches(
    places: Sequence[Place], sides: tuple[int, int], columns: Sequence[str], side: int
) -> Arrays:
    """Return [N, 3, S, S] patches of the named columns and [N] labels, which take turns."""
    parts = {
        (number, column): _part(place, column)
        for number, place in enumerate(places)
        for column in set(columns)
    }
    labels = np.arange(len(columns), dtype=np.int64) % len(places)
    images = np.empty((len(columns), 3, side, side), dtype=np.uint8)
    for index, column in enumerate(columns):
        # No stream: the patches are the data, and keep their hash.
        generator = np.random.default_rng((_SEEDS[column], index))
        images[index] = _patch(parts[int(labels[index]), column], sides, side, generator)
    return images, labels


def _part(place: Place, column: str) -> Image.Image:
    """Return the pixels of one column of a place, and no others."""
    photo = read_photo(place.photo, "textures-photos", "textures")
    return column_of(photo, column, place.box)


def _patch(
    part: Image.Image, sides: tuple[int, int], side: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Return [3, S, S], standardised over all channels and written in bytes."""
    width, height = part.size
    span = int(generator.integers(sides[0], min(sides[1], width, height) + 1))
    left = int(generator.integers(width - span + 1))
    top = int(generator.integers(height - span + 1))
    square = part.crop((left, top, left + span, top + span))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR), np.float32)
    pixels = pixels.transpose(2, 0, 1) * generator.uniform(*_GAINS, (3, 1, 1)).astype(np.float32)
    score = (pixels - pixels.mean()) / max(float(pixels.std()), _FLOOR)
    written: NDArray[np.uint8] = np.clip(np.rint(128 + _SPREAD * score), 0, 255).astype(np.uint8)
    return written
