"""Image folders in the ImageNet layout: PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.files import sha256_of_files
from ...core.pool import Helpers
from ...core.preprocessing import Preprocessing
from ...core.resolution import Resolution, sides_of
from ...core.streams import Stream, of_item
from ...training.batch import Draw
from .arrays import check_size
from .classification import Classification
from .decode import Job, decode
from .folders import Item, Scan, check_apart, find_folders, scan
from .repeated import num_repeated

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels

# So many images, evenly spread, say whether a folder is grey.
_LOOKS = 16

Seed = tuple[int, int, int]


class ImageFolder(Classification):
    """Images decoded by Pillow, in worker processes where asked for; these go with the task.

    Training images are random-resized crops (area 8 to 100 %, aspect 3/4 to 4/3 of the input's)
    with random flips, each a function of (seed, epoch, item); evaluation takes the centre of 8/7 of
    the side.
    What `nastk.tasks.images.decode` cannot read is counted, or refused with `strict`: evaluation
    leaves it out, and in a training batch another image, which follows from (seed, epoch, item)
    too, takes its place. What `scan` leaves out is no item of any split.
    """

    def __init__(
        self, path: str, *, resolution: Resolution, workers: int = 0, strict: bool = False
    ) -> None:
        self.path, self.resolution, self.strict = Path(path), resolution, strict
        self.preprocessing: Preprocessing = Preprocessing(
            resolution=resolution, crop=7 / 8, mean=_MEAN, deviation=_DEVIATION
        )
        find_folders(self.path)
        found, held_out = scan(self.path / "train"), scan(self.path / "val")
        check_apart(found, held_out)
        if len(found.classes) < 2:
            raise ValueError(
                f"{path}/train has one class folder alone, {found.classes[0]!r}; expected two or "
                f"more, {path}/train/CLASS/*.jpg"
            )
        self.classes, train = found.classes, found.items
        labels = [self._label(name, found.classes) for name in held_out.classes]
        self._test = [(file, labels[label]) for file, label in held_out.items]
        self.num_classes = len(self.classes)
        self.left_out = _together(found, held_out)
        order = np.random.default_rng(0).permutation(len(train))
        cut = len(train) * 3 // 4
        self._splits = {
            "weights": [train[i] for i in sorted(order[:cut])],
            "architecture": [train[i] for i in sorted(order[cut:])],
            "train": train,
        }
        check_size(f"imagefolder:{path}", len(train))
        self._helpers = Helpers(workers, "--workers") if workers else None

    def _label(self, name: str, classes: Sequence[str]) -> int:
        """Return the label of a class of the test part."""
        if name in classes:
            return classes.index(name)
        near = difflib.get_close_matches(name, classes, 1) or [
            known for known in classes if known.casefold() == name.casefold()
        ]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{self.path}/val has class {name!r}, which train has not{hint}")

    def size(self, split: str) -> int:
        """Return the number of image files of a split."""
        return len(self._items(split))

    def _items(self, split: str) -> list[Item]:
        return self._test if split == "test" else self._splits[split]

    def images(self, split: str, items: Sequence[int], draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Return images of a split, the unreadable ones left out, or replaced in a training."""
        everything = self._items(split)
        drawn = [everything[i] for i in items]
        if draw is None:
            return self._standardised(self._decoded(split, drawn, [None] * len(drawn)), drawn)
        strength = draw.amounts.get("rand_augment", 0.0)
        seeds = [(draw.seed, draw.epoch, int(i)) for i in items]
        loaded = self._decoded(split, drawn, seeds, strength)
        while missing := [n for n, image in enumerate(loaded) if image is None]:
            for n in missing:
                drawn[n] = self._replacement(everything, seeds[n])
            again = ([drawn[n] for n in missing], [seeds[n] for n in missing])
            for n, image in zip(missing, self._decoded(split, *again, strength), strict=True):
                loaded[n] = image
        return self._standardised(loaded, drawn)

    def _decoded(
        self, split: str, items: list[Item], seeds: Sequence[Seed | None], magnitude: float = 0
    ) -> list[NDArray[np.uint8] | None]:
        """Return the pixels of items of a split, and None for those that cannot be read."""
        jobs: list[Job] = [
            (file, self.preprocessing, seed, magnitude)
            for (file, _), seed in zip(items, seeds, strict=True)
        ]
        loaded = self._helpers.map(decode, jobs) if self._helpers else list(map(decode, jobs))
        broken = [image for image in loaded if isinstance(image, str)]
        if broken and self.strict:
            raise ValueError(f"cannot read image {broken[0]}; remove it, or run without --strict")
        self.skipped |= {
            file for image, (file, _) in zip(loaded, items, strict=True) if isinstance(image, str)
        }
        if broken and all(file in self.skipped for file, _ in self._items(split)):
            raise ValueError(
                f"cannot read any of the {self.size(split)} images of split {split!r}, for example "
                f"{broken[0]}; replace them"
            )
        return [None if isinstance(image, str) else image for image in loaded]

    def _replacement(self, items: list[Item], seed: Seed) -> Item:
        """Return what stands in for an unreadable item: the first of its draws that is readable."""
        generator = of_item(Stream.REPLACEMENT, *seed)
        while True:
            item = items[int(generator.integers(len(items)))]
            if item[0] not in self.skipped:
                return item

    def _standardised(
        self, loaded: Sequence[NDArray[np.uint8] | None], items: Sequence[Item]
    ) -> tuple[Tensor, Tensor]:
        good = [
            (image, label)
            for image, (_, label) in zip(loaded, items, strict=True)
            if image is not None
        ]
        shape = (-1, *sides_of(self.resolution), 3)
        pixels = np.array([image for image, _ in good], np.uint8).reshape(shape)
        x = torch.from_numpy(self.preprocessing.standardised(pixels.transpose(0, 3, 1, 2)))
        labels = torch.tensor([label for _, label in good], dtype=torch.int64)
        return x, labels

    def describe(self) -> dict[str, Any]:
        """Return what goes into the run record; the hash is of file names and sizes."""
        return {
            "name": f"imagefolder:{self.path}",
            "origin": "files of the user",
            "licence": "the user's",
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "classes": self.class_names,
            "preprocessing": self.preprocessing.to_json(),
            "split_sizes": {
                **{split: len(items) for split, items in self._splits.items()},
                "test": len(self._test),
            },
            "is_grey": self.is_grey,
            "left_out": dict(self.left_out),
            "num_test_in_train": self._repeated[0],
            "num_test_looked_at": self._repeated[1],
            "train_sha256": self._sha256,
        }

    @cached_property
    def is_grey(self) -> bool | None:
        """Whether some training images, evenly spread, are all grey; None if none can be read."""
        files = [file for file, _ in self._splits["train"]]
        looked = [
            decode((file, self.preprocessing, None, 0))
            for file in files[:: -(-len(files) // _LOOKS)]
        ]
        pixels = [image for image in looked if not isinstance(image, str)]
        return all((image == image[..., :1]).all() for image in pixels) if pixels else None

    @cached_property
    def _repeated(self) -> tuple[int, int]:
        train, test = ([file for file, _ in items] for items in (self._splits["train"], self._test))
        return num_repeated(train, test)

    def test_sha256(self) -> str:
        """Return a hash of the names and sizes of the files of the test."""
        return self._hash_of(self._test)

    @cached_property
    def _sha256(self) -> str:
        return self._hash_of(self._splits["train"])

    def _hash_of(self, items: Sequence[Item]) -> str:
        return sha256_of_files((Path(file) for file, _ in items), self.path)


def _together(train: Scan, test: Scan) -> Mapping[str, int]:
    missing = len(set(train.classes) - set(test.classes))
    without = {"class without test images": missing} if missing else {}
    return Counter(train.left_out) + Counter(test.left_out) + Counter(without)
