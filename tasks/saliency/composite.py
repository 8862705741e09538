"""Embedded data of salient objects: drawn shapes with the texture of another photo, exact masks.

Background and objects are cut out of photos, whose columns for weights, architectures and test
share no pixel. An object has a random outline and the texture of another photo, brought to a mean
colour that is some way from that of the background in a random direction, so that neither bright
nor dark nor a colour is the answer. Dots that are too small to be objects, a gradient of light and
noise are added. Every image is a function of its split and its number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.resolution import Resolution, sides_of
from ..images.photos import (
    PHOTO_CREDITS,
    SKIMAGE_CREDITS,
    SKIMAGE_LICENCE,
    column_of,
    read_photo,
)
from .saliency import Pairs, Saliency, sha256_of

# S side of the images, which are drawn in units of a side of 48

_SEEDS = {"weights": 40, "architecture": 41, "test": 42}
_SIZES = {"weights": 2100, "architecture": 700, "test": 300}

_SIDE = 48.0
_CROP = (48, 200)  # sides of a background, in pixels of its photo
_RADIUS = (5.0, 12.0)  # of an object
_FACTOR = (0.35, 2.0)  # bounds of an outline, times the radius
_WAVES = (2, 3, 4, 5)  # of an outline
_MARGIN = 10.0  # least distance of a centre from the edge
_CONTRAST = (0.10, 0.35)  # of mean colours, which lie between 0 and 1
_DOTS, _DOT_RADIUS = (3, 6), (1.0, 2.5)
_LIGHT, _NOISE = 0.12, 0.02

_SKLEARN = ("china.jpg", "flower.jpg")
_SKIMAGE = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
    "motorcycle_left.png",
    "rocket.jpg",
)


@dataclass(kw_only=True)
class Composite(Saliency):
    """2,800 training and 300 test images of one or two objects on the two photos of scikit-learn.

    Attributes:
        resolution: side of the images in pixels; height and width of the middle of such.
    """

    name: ClassVar[str] = "composite"
    photos: ClassVar[tuple[str, ...]] = _SKLEARN
    origin: ClassVar[str] = f"drawn on {PHOTO_CREDITS}"
    licence: ClassVar[str] = "CC-BY 2.0 (photos)"

    resolution: Resolution

    def __post_init__(self) -> None:
        self.is_demonstration = True
        self._drawn: dict[str, Pairs] = {}

    def size(self, split: str) -> int:
        """Return the number of images of a split."""
        return sum(_SIZES[column] for column in _columns(split))

    def pairs(self, split: str, items: Sequence[int]) -> Pairs:
        """Return images and masks of a split, which is drawn at once when it is first asked for."""
        images, masks = self._all(_columns(split))
        index = np.asarray(items, dtype=np.int64)
        return images[index], masks[index]

    def _all(self, columns: tuple[str, ...]) -> Pairs:
        """Return all images and masks of some columns."""
        name = " ".join(columns)
        if name not in self._drawn:
            if len(columns) > 1:
                images, masks = zip(*(self._all((column,)) for column in columns), strict=True)
                self._drawn[name] = np.concatenate(images), np.concatenate(masks)
            else:
                photos = [column_of(photo, name) for photo in self._photos]
                self._drawn[name] = _drawn(photos, name, sides_of(self.resolution))
        return self._drawn[name]

    @cached_property
    def _photos(self) -> list[Image.Image]:
        return [read_photo(name, self.name, Composite.name) for name in self.photos]

    @cached_property
    def _sha256(self) -> str:
        return sha256_of(*self._all(_columns("train")))

    def describe(self) -> dict[str, Any]:
        """Return what goes into the run record; the test part is not drawn for it."""
        return {
            "name": self.name,
            "origin": self.origin,
            "licence": self.licence,
            **self.described(),
            "train_sha256": self._sha256,
        }


@dataclass(kw_only=True)
class CompositePhotos(Composite):
    """The same on ten photos, eight of them of scikit-image."""

    name: ClassVar[str] = "composite-photos"
    photos: ClassVar[tuple[str, ...]] = (*_SKLEARN, *_SKIMAGE)
    origin: ClassVar[str] = f"drawn on {PHOTO_CREDITS}; {SKIMAGE_CREDITS}"
    licence: ClassVar[str] = SKIMAGE_LICENCE


def _columns(split: str) -> tuple[str, ...]:
    return ("weights", "architecture") if split == "train" else (split,)


def _drawn(photos: Sequence[Image.Image], column: str, sides: tuple[int, int]) -> Pairs:
    """Return [N, 3, H, W] images and [N, H, W] masks of a column, both in bytes.

    They are the middle of squares of the longer side.
    """
    count, longer = _SIZES[column], max(sides)
    images = np.empty((count, 3, *sides), dtype=np.uint8)
    masks = np.empty((count, *sides), dtype=np.uint8)
    rows, columns = (slice((longer - n) // 2, (longer - n) // 2 + n) for n in sides)
    for number in range(count):
        image, mask = composite(photos, longer, (_SEEDS[column], number))
        images[number], masks[number] = image[:, rows, columns], mask[rows, columns]
    return images, masks


def composite(
    photos: Sequence[Image.Image], side: int, seed: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image [3, S, S] and the mask [S, S] of its objects, 255 within them.

    Args:
        photos: two at least.
        side: S.
        seed: of everything random.
    """
    draw = np.random.default_rng(seed)  # no stream: the pictures are the data, and keep their hash
    unit = side / _SIDE
    ground, *others = draw.permutation(len(photos))
    image = _texture(photos[ground], side, draw)
    mean = image.mean((1, 2))
    rows, columns = np.mgrid[:side, :side] / unit  # in units of a side of 48
    for _ in range(draw.integers(_DOTS[0], _DOTS[1] + 1)):
        y, x = draw.uniform(0, _SIDE, 2)
        radius = draw.uniform(*_DOT_RADIUS)
        share = _soft((radius - np.hypot(rows - y, columns - x)) * unit)
        image += share * (draw.uniform(0, 1, (3, 1, 1)) - image)
    mask = np.zeros((side, side))
    for _ in range(draw.integers(1, 3)):
        texture = _texture(photos[int(draw.choice(others))], side, draw)
        away = draw.normal(size=3)
        colour = mean + draw.uniform(*_CONTRAST) * away / np.linalg.norm(away)
        texture += (colour - texture.mean((1, 2)))[:, None, None]
        y, x = draw.uniform(_MARGIN, _SIDE - _MARGIN, 2)
        outline = _outline(np.arctan2(rows - y, columns - x), draw)
        share = _soft((outline - np.hypot(rows - y, columns - x)) * unit)
        image += share * (texture - image)
        mask = np.maximum(mask, share)
    angle = draw.uniform(0, 2 * math.pi)
    slope = math.cos(angle) * (rows / _SIDE - 0.5) + math.sin(angle) * (columns / _SIDE - 0.5)
    image = image * (1 + _LIGHT * slope / max(np.abs(slope).max(), 1e-9))
    image += draw.normal(0, _NOISE, image.shape)
    return _bytes(image), _bytes(mask)


def _texture(photo: Image.Image, side: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return a random square of a photo, maybe mirrored, as [3, S, S] between 0 and 1."""
    width, height = photo.size
    span = int(draw.integers(_CROP[0], min(_CROP[1], width, height) + 1))
    left, top = (int(draw.integers(extent - span + 1)) for extent in (width, height))
    box = (left, top, left + span, top + span)
    square = photo.resize((side, side), Image.Resampling.BILINEAR, box)
    pixels = np.asarray(square, np.float64).transpose(2, 0, 1) / 255
    return pixels[:, :, ::-1].copy() if draw.random() < 0.5 else pixels


def _outline(angles: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
    """Return the distance of an outline from its centre in each direction."""
    radius = draw.uniform(*_RADIUS)
    factor = np.ones_like(angles)
    for wave in _WAVES:
        height, phase = draw.normal(0, 0.22 / math.sqrt(wave)), draw.uniform(0, 2 * math.pi)
        factor += height * np.cos(wave * angles + phase)
    return radius * np.clip(factor, *_FACTOR)


def _soft(inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of each pixel that is covered, from its distance to an edge in pixels."""
    return np.clip(inside + 0.5, 0, 1)


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.clip(np.rint(255 * values), 0, 255).astype(np.uint8)
    return whole
