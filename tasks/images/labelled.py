"""A user's images and labels, in the shapes and types that people have, as a source."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.printable import printable
from .arrays import Source, check_size

# N images, H height, W width, K classes

Given = tuple[NDArray[Any], NDArray[Any]]
"""Images and their labels as a user has them."""

# A larger label is a mistake, and its classifier would hardly fit in memory.
_MAX_CLASSES = 100_000

# So many images are converted at a time.
_CHUNK = 256


def labelled_source(
    name: str,
    train: Given,
    test: Given | None = None,
    *,
    classes: Sequence[str] | None = None,
    left_out: Mapping[str, int] | None = None,
    flip: bool = False,
) -> Source:
    """Return the source of images with labels; without a test part the last fifth is one.

    Images are [N, H, W], [N, H, W, 1], [N, 1, H, W], [N, H, W, 3] or [N, 3, H, W]. Bytes are taken
    as they are, and so are other whole numbers and floats up to 255; floats within [0, 1] are
    scaled by 255, 16-bit numbers beyond 255 divided by 257, true and false are white and black.

    Labels are [N] or [N, 1] whole numbers or text, or [N, K] with a single 1 in each row. Text
    becomes class names, sorted. Numbers 0, 1, 2... are the classes; where some of them have no
    training image, the numbers that have one are the classes in their order, named by their number.

    The fifth is cut from a fixed order; of a class that only it would hold, the images train.

    Args:
        name: as typed behind `--data`.
        train: images and labels.
        test: the same of the test part.
        classes: names of the labels 0, 1, 2... where they are known.
        left_out: reason to number of what lay with the data and is not used.
        flip: whether a mirrored image keeps its label.

    Raises:
        ValueError: if they are anything else, with what was found and what is expected.
    """
    parts = [train] if test is None else [train, test]
    for images, labels in parts:
        _check_images(name, images)
        num_labels = len(labels) if labels.ndim else 0
        if len(images) == 0 or len(images) != num_labels:
            raise ValueError(f"{name} has {len(images)} images and {num_labels} labels")
    check_size(name, len(train[1]))
    pixels = _as_bytes(name, [_one_layout(images) for images, _ in parts])
    values = [_flat_labels(name, labels) for _, labels in parts]
    if test is None:
        cut = _cut(name, values[0])
        pixels, values = [pixels[0][part] for part in cut], [values[0][part] for part in cut]
    check_size(name, len(values[0]))
    named = _numbered(name, values, classes)
    train_part, test_part = zip(pixels, named.numbers, strict=True)
    return Source(
        name=name,
        origin="files of the user",
        licence="the user's",
        num_classes=named.num_classes,
        train=lambda resolution: train_part,
        test=lambda resolution: test_part,
        num_test=len(test_part[1]),
        classes=named.classes,
        left_out={**(left_out or {}), **named.left_out},
        num_test_in_train=_num_repeated(*pixels),
        flip=flip,
        is_demonstration=False,
    )


class _Labels(NamedTuple):
    """Labels 0, 1, 2... of training and test part, and what they were called."""

    numbers: list[NDArray[np.int64]]
    num_classes: int
    classes: Sequence[str] | None = None
    left_out: Mapping[str, int] = {}


def _check_images(name: str, images: NDArray[Any]) -> None:
    is_stack = images.ndim == 4 and {1, 3} & {images.shape[1], images.shape[-1]}
    if (images.ndim != 3 and not is_stack) or 0 in images.shape[1:]:
        raise ValueError(
            f"{name} holds images of shape {images.shape}; expected [N, H, W], [N, H, W, 1], "
            "[N, 1, H, W], [N, H, W, 3] or [N, 3, H, W]"
        )
    if images.dtype.kind not in "buif":
        raise ValueError(
            f"{name} holds {images.dtype} images; expected bytes (uint8), whole numbers or floats"
        )


def _one_layout(images: NDArray[Any]) -> NDArray[Any]:
    """Return [N, H, W] of grey images; colour as it is."""
    if images.ndim == 3 or 3 in (images.shape[1], images.shape[-1]):
        return images
    return images[..., 0] if images.shape[-1] == 1 else images[:, 0]


def _as_bytes(name: str, parts: Sequence[NDArray[Any]]) -> list[NDArray[np.uint8]]:
    """Return bytes of the training images and of the test images."""
    ranges = [_range(images) for images in parts]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if not (low >= 0 and high <= 65535):  # written so that nan is refused
        raise ValueError(
            f"{name} holds images with pixels from {low:g} to {high:g}; expected bytes, 0 to 255, "
            "or floats from 0 to 1"
        )
    floats = [top for images, (_, top) in zip(parts, ranges, strict=True) if _is_float(images)]
    if floats and min(floats) <= 1 < max(floats):
        raise ValueError(
            f"{name} holds training and test images in two ranges, up to {min(floats):g} and up to "
            f"{max(floats):g}; scale both alike"
        )
    whole = [top for images, (_, top) in zip(parts, ranges, strict=True) if not _is_float(images)]
    return [
        _converted(name, images, max(floats if _is_float(images) else whole)) for images in parts
    ]


def _range(images: NDArray[Any]) -> tuple[float, float]:
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(images.min()), float(images.max())


def _is_float(images: NDArray[Any]) -> bool:
    return images.dtype.kind == "f"


def _converted(name: str, images: NDArray[Any], top: float) -> NDArray[np.uint8]:
    kind = images.dtype
    if kind == np.uint8:
        return images
    if top > 255 and (kind.kind == "f" or kind.itemsize != 2):
        raise ValueError(
            f"{name} holds {kind} images with pixels up to {top:g}; expected bytes, 0 to "
            "255, floats from 0 to 1, or uint16"
        )
    if kind.kind == "b" or (kind.kind == "f" and top <= 1):
        factor = 255.0
    else:
        factor = 1 / 257 if top > 255 else 1.0
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].astype(np.float64)
        result[start : start + _CHUNK] = np.rint(chunk * factor).astype(np.uint8)
    return result


def _flat_labels(name: str, labels: NDArray[Any]) -> NDArray[Any]:
    """Return [N] whole numbers or text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    kind = labels.dtype.kind
    if kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    is_one_hot = labels.ndim == 2 and kind in "buif" and labels.shape[1] > 1
    if is_one_hot and np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all():
        return np.asarray(labels.argmax(1))
    is_whole = kind == "f" and bool((np.isfinite(labels) & (labels == np.rint(labels))).all())
    if labels.ndim != 1 or not (kind in "buiUS" or is_whole):
        raise ValueError(
            f"{name} holds labels of shape {labels.shape} and type {labels.dtype}; expected one "
            "whole number or text for each image, or [N, K] with a single 1 in each row"
        )
    if labels.dtype.kind == "U":
        return labels
    for label in (labels.min(), labels.max()):
        if not 0 <= int(label) < _MAX_CLASSES:
            raise ValueError(
                f"{name} has the label {label}; expected classes 0, 1, 2... below {_MAX_CLASSES:,}"
            )
    return labels.astype(np.int64)


def _num_repeated(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> int:
    """Return how many test images are training images to the last byte."""
    if train.shape[1:] != test.shape[1:]:
        return 0
    known = {hash(image.tobytes()) for image in train}
    return sum(hash(image.tobytes()) in known for image in test)


def _cut(name: str, labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the items that train and those that test."""
    order = np.random.default_rng(0).permutation(len(labels))
    cut = len(labels) * 4 // 5
    is_known = np.isin(labels[order[cut:]], labels[order[:cut]])
    test = order[cut:][is_known]
    if len(test) == 0:
        raise ValueError(
            f"{name} has no test part, and no class with enough images to cut one: give x_test "
            "and y_test, or more images a class"
        )
    return np.concatenate([order[:cut], order[cut:][~is_known]]), test


def _numbered(name: str, values: Sequence[NDArray[Any]], classes: Sequence[str] | None) -> _Labels:
    if len({part.dtype.kind for part in values}) > 1:
        raise ValueError(f"{name} has text and numbers as labels of its parts; label both alike")
    found, numbers = np.unique(values[0], return_inverse=True)
    strange = np.setdiff1d(values[1], found)
    if len(strange):
        near = difflib.get_close_matches(str(strange[0]), [str(label) for label in found], 1)
        hint = f"; did you mean {near[0]!r}?" if near and found.dtype.kind == "U" else ""
        raise ValueError(
            f"{name} has the label {strange[0].item()!r} in its test part, which no training image "
            f"has{hint}"
        )
    if classes is None and len(found) < 2:
        raise ValueError(f"{name} has one class alone, {found[0].item()!r}; expected two or more")
    numbered = [numbers.astype(np.int64), np.searchsorted(found, values[1]).astype(np.int64)]
    if found.dtype.kind == "U":
        return _Labels(numbered, len(found), [printable(label) for label in found.tolist()])
    largest = int(found[-1])
    if classes is not None:
        if largest >= len(classes):
            raise ValueError(f"{name} has the label {largest}, but names {len(classes)} classes")
        return _Labels(list(values), len(classes), list(classes))
    if largest == len(found) - 1:
        return _Labels(numbered, len(found))
    return _Labels(numbered, len(found), [str(label) for label in found.tolist()], _gaps(found))


def _gaps(found: NDArray[Any]) -> dict[str, int]:
    missing = np.setdiff1d(np.arange(int(found[-1])), found)
    some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
    return {f"label without a training image ({some})": len(missing)}
