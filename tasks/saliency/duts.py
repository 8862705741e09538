"""Salient objects in files: folders of images, and of masks with the same names, as DUTS has them.

DUTS (Wang et al., CVPR 2017) comes as `DUTS-TR/DUTS-TR-Image/*.jpg`, `DUTS-TR-Mask/*.png` and the
same with TE, which tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...core.files import sha256_of_files
from ...core.pool import Helpers
from ...core.resolution import Resolution, sides_of
from ..images.arrays import check_size
from ..images.decode import orientation
from .decoding import decode_pair
from .saliency import Pairs, Saliency

_TEST_SHARE = 5  # every fifth image tests where no part of the data is for that
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its mask."""

    image: Path
    mask: Path


class Duts(Saliency):
    """Images and masks of a user's folder, resized to squares; every file is looked at first.

    Masks are grey images of the size of theirs, white within objects. What is measured is measured
    at the resolution of the network.

    Args:
        path: of the folder.
        resolution: side of the images in pixels, or height and width.
        workers: processes that decode images; 0 decodes in this one.
        strict: whether files that cannot be read are refused, which they are in any case.

    Raises:
        ValueError: if a folder is missing or empty, an image has no mask or one of another size,
            or a file is no image.
    """

    def __init__(
        self, path: str, *, resolution: Resolution, workers: int = 0, strict: bool = False
    ) -> None:
        self.path, self.resolution = Path(path), resolution
        train, test = _parts(self.path)
        self.has_own_test = bool(test)
        if not test:
            test, train = train[::_TEST_SHARE], [p for n, p in enumerate(train) if n % _TEST_SHARE]
        check_size(f"duts:{path}", len(train))
        order = np.random.default_rng(0).permutation(len(train))
        cut = len(train) * 3 // 4
        self._splits = {
            "weights": [train[i] for i in sorted(order[:cut])],
            "architecture": [train[i] for i in sorted(order[cut:])],
            "train": train,
            "test": test,
        }
        self._helpers = Helpers(workers, "--workers") if workers else None

    def size(self, split: str) -> int:
        """Return the number of images of a split."""
        return len(self._splits[split])

    def pairs(self, split: str, items: Sequence[int]) -> Pairs:
        """Return images and masks of a split, decoded and resized."""
        chosen = [self._splits[split][int(item)] for item in items]
        sides = sides_of(self.resolution)
        jobs = [(str(pair.image), str(pair.mask), sides) for pair in chosen]
        many = self._helpers.map(decode_pair, jobs) if self._helpers else map(decode_pair, jobs)
        decoded = []
        for one in many:
            if isinstance(one, str):
                raise ValueError(f"cannot read image {one}; replace it")
            decoded.append(one)
        images, masks = zip(*decoded, strict=True)
        return np.stack(images), np.stack(masks)

    def describe(self) -> dict[str, Any]:
        """Return what goes into the run record; the hash is of the names and sizes of files."""
        return {
            "name": f"duts:{self.path}",
            "origin": "files of the user",
            "licence": "the user's",
            **self.described(),
            "has_own_test": self.has_own_test,
            "train_sha256": self._sha256,
        }

    def test_sha256(self) -> str:
        """Return a hash of the names and sizes of the files of the test."""
        return self._hash_of("test")

    @cached_property
    def _sha256(self) -> str:
        return self._hash_of("train")

    def _hash_of(self, split: str) -> str:
        files = (file for pair in self._splits[split] for file in (pair.image, pair.mask))
        return sha256_of_files(files, self.path)


def find_duts(path: Path) -> None:
    """Look whether a folder has images and masks, without reading any.

    Raises:
        ValueError: if it has not.
    """
    _folders(path)


def _folders(path: Path) -> list[tuple[Path, Path]]:
    """Return the folders of images and masks, those that train first.

    Raises:
        ValueError: if there are none to train on.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is no folder; duts: takes one with DUTS-TR-Image, DUTS-TR-Mask")
    found = []
    for part in ("TR", "TE"):
        for folder in (path, path / f"DUTS-{part}"):
            images, masks = folder / f"DUTS-{part}-Image", folder / f"DUTS-{part}-Mask"
            if images.is_dir() or masks.is_dir():
                if lacking := [one.name for one in (images, masks) if not one.is_dir()]:
                    raise ValueError(f"{folder} has no folder {lacking[0]}, which belongs beside")
                found.append((images, masks))
                break
        else:
            if part == "TR":
                raise ValueError(
                    f"{path} has no folders DUTS-TR-Image and DUTS-TR-Mask, neither of its own nor "
                    "in DUTS-TR; duts: takes images and masks of the same names in these"
                )
    return found


def _parts(path: Path) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to train on and those to test with, in the order of their names."""
    parts = [list(_pairs(*folders)) for folders in _folders(path)]
    return parts[0], parts[1] if len(parts) > 1 else []


def _pairs(images: Path, masks: Path) -> Iterator[Pair]:
    known = {file.stem: file for file in _images_in(masks)}
    files = _images_in(images)
    if not files:
        raise ValueError(f"{images} holds no image ({', '.join(sorted(_SUFFIXES))})")
    for file in files:
        if file.stem not in known:
            raise ValueError(
                f"{file} has no mask: expected {masks / file.stem}.png; add it, or take the image "
                "away"
            )
        looks = [_look(one) for one in (file, known[file.stem])]
        (width, height), (w, h) = (_upright(*look) for look in looks)
        if (width, height) != (w, h):
            raise ValueError(
                f"{file} has {width}x{height} pixels, its mask {known[file.stem]} {w}x{h}; a mask "
                "has the size of its image"
            )
        if looks[0] != looks[1] and looks[0][0] == looks[1][0]:
            raise ValueError(
                f"{file} and its mask {known[file.stem]} are turned differently by their EXIF; "
                "save both as they are seen"
            )
        yield Pair(image=file, mask=known[file.stem])


def _images_in(folder: Path) -> list[Path]:
    found = (file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
    return sorted(file for file in found if not file.name.startswith("."))


def _look(file: Path) -> tuple[tuple[int, int], int]:
    """Return width and height and the orientation, which stand at the beginning of a file.

    Raises:
        ValueError: if it is no image.
    """
    try:
        with Image.open(file) as image:
            return image.size, orientation(image) if "exif" in image.info else 1
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"cannot read image {file}: {error!s:.100}; replace it") from None


def _upright(size: tuple[int, int], turned: int) -> tuple[int, int]:
    """Return the size of a picture that is turned as its EXIF says."""
    return size[::-1] if turned > 4 else size  # by a quarter
