"""Image classification on arrays in memory: embedded digits, npz, idx and CIFAR-10 files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...core.preprocessing import Preprocessing
from ...core.resolution import Resolution, sides_of
from ...core.streams import Stream
from ...training.batch import Draw
from .augment import rand_augment
from .classification import Classification

# B batch, R resolution

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


# Fewer leave a part of the training split without a batch to take BatchNorm statistics of.
_MIN_TRAIN = 5

# So many images are unpacked to float32 at a time.
_CHUNK = 256


def check_size(name: str, num_train: int) -> None:
    """Refuse data whose training split cannot be cut in two.

    Raises:
        ValueError: if there are too few training images.
    """
    if num_train < _MIN_TRAIN:
        raise ValueError(
            f"{name} holds {num_train} training images, which is too few to split them into "
            f"weights and architecture; give at least {_MIN_TRAIN}"
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """Arrays of a data set, made only when they are asked for.

    Attributes:
        name: as typed behind `--data`.
        origin: where the data come from, and whom to credit.
        licence: under which terms.
        num_classes: number of labels.
        train: makes [N, 3, S, S] bytes and [N] labels for a resolution; images of another size,
            [N, H, W] or [N, H, W, 3] are made to fit batch by batch.
        test: the same for the test part; never called by a search.
        num_test: images of the test part, known without touching it.
        classes: names of the labels, where they have names.
        left_out: reason to number of what lay with the data and is not used.
        num_test_in_train: images of the test part that train too, None where nobody has counted.
        copies: so many neighbouring items show one source item and stay in one split.
        chooses: [N] which training images choose architectures, the others train weights; a quarter
            of the source items, drawn once, if None.
    """

    name: str
    origin: str
    licence: str
    num_classes: int
    train: Callable[[int], Arrays]
    test: Callable[[int], Arrays]
    num_test: int
    classes: Sequence[str] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    num_test_in_train: int | None = None
    copies: int = 1
    chooses: NDArray[np.bool_] | None = None
    flip: bool = False
    is_demonstration: bool = True


@dataclass(kw_only=True)
class ArrayTask(Classification):
    """Classification of images held in memory as the source has them.

    Batches are brought to the resolution and standardised by the statistics of the training images.

    Augmentation is one random shift of the whole batch (up to 2 px in 28), and a flip where the
    source says that it keeps the label.
    """

    source: Source
    resolution: Resolution
    _cache: dict[str, Arrays] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.num_classes, self.classes = self.source.num_classes, self.source.classes
        self.is_demonstration = self.source.is_demonstration

    @cached_property
    def _splits(self) -> dict[str, NDArray[np.int64]]:
        """Indices of each training split, cut as the source says, or by source item, 3 to 1."""
        count = len(self._arrays("train")[1])
        everything = np.arange(count)
        inside = self._trains_weights(count)
        return {
            "weights": everything[inside],
            "architecture": everything[~inside],
            "train": everything,
        }

    def _trains_weights(self, count: int) -> NDArray[np.bool_]:
        if self.source.chooses is not None:
            return ~self.source.chooses
        items = np.arange(count) // self.source.copies
        order = np.random.default_rng(0).permutation(items.max() + 1)
        cut = len(order) * 3 // 4
        return np.isin(items, order[:cut])

    def _arrays(self, part: str) -> Arrays:
        if part not in self._cache:
            make = self.source.test if part == "test" else self.source.train
            self._cache[part] = make(max(sides_of(self.resolution)))
        return self._cache[part]

    @cached_property
    def preprocessing(self) -> Preprocessing:  # type: ignore[override]
        """How pixels become the network's input: the whole image, by the filter bicubic."""
        mean, deviation = ((float(v) / 255 for v in values) for values in self._statistics)
        return Preprocessing(
            resolution=self.resolution,
            resize="bicubic",
            mean=(next(mean), next(mean), next(mean)),
            deviation=(next(deviation), next(deviation), next(deviation)),
        )

    @cached_property
    def _statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of the channels over the training images at the size of the source."""
        images = self._arrays("train")[0]

        def mean_over_all(change: Callable[[NDArray[np.float32]], Any]) -> NDArray[np.float32]:
            sums = []
            for start in range(0, len(images), _CHUNK):
                chunk = _channels_first(images[start : start + _CHUNK])
                sums.append(change(chunk.astype(np.float32, order="C")).sum((2, 3)))
            # Image after image, which is how numpy sums over an array that holds all of them.
            total = np.concatenate(sums).sum(0)
            return cast(NDArray[np.float32], total / np.float32(pixels))

        pixels = len(images) * np.prod(_channels_first(images[:1]).shape[2:])
        mean = mean_over_all(lambda chunk: chunk)
        variance = mean_over_all(lambda chunk: (chunk - mean.reshape(1, 3, 1, 1)) ** 2)
        deviation = np.maximum(np.sqrt(variance), np.float32(1e-3))
        return mean, deviation

    def size(self, split: str) -> int:
        """Return the number of images of a split."""
        return self.source.num_test if split == "test" else len(self._splits[split])

    def images(self, split: str, items: Sequence[int], draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Return images of a split, shifted and flipped together where they are to train on."""
        chosen = np.asarray(items, dtype=np.int64)
        if draw is None:
            return self._take(split, chosen)
        images, labels = self._take(split, chosen, draw)
        generator = draw.of_batch(Stream.SHIFT)
        reaches = [round(2 * side / 28) for side in sides_of(self.resolution)]
        shifts = tuple(int(generator.integers(-reach, reach + 1)) for reach in reaches)
        images = torch.roll(images, shifts, (2, 3))
        if self.source.flip and generator.random() < 0.5:
            images = images.flip(3)
        return images, labels

    def _take(
        self, split: str, chosen: NDArray[np.int64], draw: Draw | None = None
    ) -> tuple[Tensor, Tensor]:
        images, labels = self._arrays("test" if split == "test" else "train")
        index = chosen if split == "test" else self._splits[split][chosen]
        taken = _to_side(images[index], self.preprocessing)
        if draw is not None and (magnitude := draw.amounts.get("rand_augment", 0.0)):
            taken = np.stack(
                [
                    _augmented(image, magnitude, draw.of_item(int(item), Stream.RAND_AUGMENT))
                    for image, item in zip(taken, chosen, strict=True)
                ]
            )
        x = torch.from_numpy(self.preprocessing.standardised(taken))
        return x, torch.from_numpy(labels[index])

    def describe(self) -> dict[str, Any]:
        """Return what goes into the run record; the test part is not touched."""
        return {
            "name": self.source.name,
            "origin": self.source.origin,
            "licence": self.source.licence,
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "classes": self.class_names,
            "preprocessing": self.preprocessing.to_json(),
            "split_sizes": {
                **{split: len(index) for split, index in self._splits.items()},
                "test": self.source.num_test,
            },
            "is_grey": self.is_grey,
            "left_out": dict(self.source.left_out),
            "num_test_in_train": self.source.num_test_in_train,
            "train_sha256": self._sha256,
        }

    @cached_property
    def is_grey(self) -> bool:
        """Whether the three channels of every training image are the same."""
        images = self._arrays("train")[0]
        chunks = (images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
        return images.ndim == 3 or all(
            (chunk == chunk[:, :1]).all() for chunk in map(_channels_first, chunks)
        )

    def test_sha256(self) -> str:
        """Return a hash of the images and labels of the test."""
        return _hash_of(self._arrays("test"))

    @cached_property
    def _sha256(self) -> str:
        return _hash_of(self._arrays("train"))


def _augmented(
    image_CHW: NDArray[np.uint8], magnitude: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    image = Image.fromarray(np.ascontiguousarray(image_CHW.transpose(1, 2, 0)))
    return np.asarray(rand_augment(image, magnitude, generator)).transpose(2, 0, 1)


def _hash_of(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    return digest.hexdigest()


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return [N, 3, H, W] of [N, H, W], [N, H, W, 3] or [N, 3, H, W]."""
    if images.ndim == 3:
        return np.repeat(images[:, None], 3, axis=1)
    if images.shape[-1] == 3 and images.shape[1] != 3:
        return images.transpose(0, 3, 1, 2)
    return images


def _to_side(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return [N, 3, H, W] whatever the layout of the channels."""
    images = _channels_first(images)
    if images.shape[2:] == sides_of(preprocessing.resolution) and preprocessing.crop in (None, 1):
        return np.ascontiguousarray(images)
    resized = [
        preprocessing.pixels(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))))
        for image in images
    ]
    return np.stack(resized).transpose(0, 3, 1, 2)
