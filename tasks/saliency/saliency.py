"""Salient objects: one mask an image, its cross-entropy by pixel, and how objects are found."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...core.preprocessing import Preprocessing
from ...core.resolution import Resolution
from ...core.streams import Stream
from ...training.batch import Batch, Draw
from ...training.task import SPLITS, Meter, Metric, Metrics, Network, Objective, Task
from .baselines import baselines
from .metrics import THRESHOLDS, max_f, precision_recall, s_measure

# B batch, R resolution

Pairs = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images [N, 3, R, R] and masks [N, R, R], both in bytes, 255 within objects."""

# What bytes become is the same for all data; these are the usual figures of photos.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Saliency(Task):
    """Images whose salient pixels are to be told, in disjoint splits.

    Batches have one input, images [B, 3, R, R], and as `mask` [B, 1, R, R] the share of each pixel
    that objects cover. Networks give logits [B, 1, R, R]. To train on, images are mirrored at
    random, with their masks. A search chooses by the cross-entropy, which hears every pixel of
    every image: max-F is the best point of one curve over a whole split, and two networks that
    differ there by less than chance differ in their loss.

    Attributes:
        resolution: R, or height and width.
    """

    kind: ClassVar[str] = "saliency"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            name="loss_nats",
            title="test loss",
            note="cross-entropy of a pixel, lower is better",
            each="losses_nats",
        ),
        Metric(
            name="max_f",
            title="max-F",
            maximises=True,
            note="largest F-measure over thresholds, beta^2 0.3",
        ),
        Metric(name="mae", title="MAE", long="mean absolute error"),
        Metric(name="s_measure", title="S", maximises=True, long="structure measure"),
    )
    sizes: Mapping[str, int] = {"num_classes": 1}  # maps, not classes
    class_names: Sequence[str] = ("salient",)
    least_resolution: ClassVar[int] = 48
    short_recipe: ClassVar[str | None] = "demonstration-long"
    readable_name: ClassVar[str] = "probabilities"

    resolution: Resolution

    @cached_property
    def preprocessing(self) -> Preprocessing:  # type: ignore[override]
        """How pixels become the network's input: the whole image, standardised as photos are."""
        return Preprocessing(resolution=self.resolution, mean=_MEAN, deviation=_DEVIATION)

    @classmethod
    def loss_of_guessing(cls, sizes: Mapping[str, Any]) -> float | None:
        """Return the loss of one who gives every pixel the probability one half."""
        return math.log(2)

    @abstractmethod
    def pairs(self, split: str, items: Sequence[int]) -> Pairs:
        """Return images and masks of a split as they are."""

    def read(self, split: str, items: Sequence[int], draw: Draw | None) -> Batch:
        """Return images and masks of a split, those of a training batch mirrored at random."""
        images, masks = self.pairs(split, items)
        if draw is not None:
            flips = [draw.of_item(int(item), Stream.FLIP).random() < 0.5 for item in items]
            images, masks = images.copy(), masks.copy()
            images[flips], masks[flips] = images[flips, ..., ::-1], masks[flips, ..., ::-1]
        x = torch.from_numpy(self.preprocessing.standardised(images))
        mask = torch.from_numpy(masks[:, None].astype(np.float32) / 255)
        return Batch(inputs=(x,), targets={"mask": mask})

    def objective(self, amounts: Mapping[str, float] = {}) -> Objective:
        """Return the cross-entropy; a mask has none of the amounts of a recipe."""
        return PixelCrossEntropy()

    def meter(self, split: str | None = None) -> Meter:
        """Return what measures maps."""
        return SaliencyMeter()

    def baselines(self) -> dict[str, Metrics]:
        """Return the metrics of three predictors that know hardly anything, on the test split."""
        return baselines(self, SaliencyMeter)

    @classmethod
    def readable(cls, outputs: Tensor) -> Tensor:
        """Return the probability of each pixel to be of an object."""
        return torch.sigmoid(outputs)

    def pictures(self, batch: Batch, outputs: Tensor) -> list[Image.Image]:
        """Return image, mask and probabilities of each item side by side, [R, 3 R]."""
        scale = self.preprocessing
        x = batch.inputs[0].double().permute(0, 2, 3, 1).numpy()
        images = (x * np.array(scale.deviation) + np.array(scale.mean)) / scale.scale
        shares = (batch.targets["mask"][:, 0], torch.sigmoid(outputs[:, 0]))
        maps = [255 * np.repeat(share.double().numpy()[..., None], 3, axis=3) for share in shares]
        rows = np.concatenate([images, *maps], axis=2)
        whole = np.nan_to_num(rows).round().clip(0, 255).astype(np.uint8)
        return [Image.fromarray(row) for row in whole]

    def described(self) -> dict[str, Any]:
        """Return what all data of the kind say of themselves."""
        return {
            "resolution": self.resolution,
            "num_classes": 1,
            "preprocessing": self.preprocessing.to_json(),
            "split_sizes": {split: self.size(split) for split in SPLITS},
        }


def sha256_of(*arrays: NDArray[np.uint8]) -> str:
    """Return the hash of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    return digest.hexdigest()


class PixelCrossEntropy(Objective):
    """The mean binary cross-entropy of the pixels, in nats."""

    def forward(self, network: Network, batch: Batch, step: Tensor) -> Tensor:
        """Return the loss of `mask` [B, 1, R, R]."""
        logits = network(*batch.inputs)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return F.binary_cross_entropy_with_logits(logits.to(wide), batch.targets["mask"].to(wide))


class SaliencyMeter(Meter):
    """Means over images of loss, absolute error and structure, and the largest F-measure.

    Precision and recall are averaged over images at each of 256 thresholds before the F-measure is
    taken and its largest value found. Pixels that objects cover by half or more are theirs.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.loss = self.error = self.structure = 0.0
        self.precision, self.recall = np.zeros(THRESHOLDS), np.zeros(THRESHOLDS)

    def update(self, outputs: Tensor, batch: Batch) -> None:
        """Take in logits [B, 1, R, R] of images and their masks."""
        masks = batch.targets["mask"]
        losses = F.binary_cross_entropy_with_logits(outputs, masks, reduction="none")
        self.loss += float(losses.mean((1, 2, 3)).double().sum())
        probs = torch.sigmoid(outputs.double())
        for probs_RR, mask_RR in zip(probs[:, 0].numpy(), masks[:, 0].numpy() >= 0.5, strict=True):
            precision, recall = precision_recall(probs_RR, mask_RR)
            self.precision += precision
            self.recall += recall
            self.error += float(np.abs(probs_RR - mask_RR).mean())
            self.structure += s_measure(probs_RR, mask_RR)
        self.seen += len(batch)

    def compute(self) -> Metrics:
        """Return `loss_nats`, `max_f`, `mae` and `s_measure`."""
        return {
            "loss_nats": self.loss / self.seen,
            "max_f": max_f(self.precision / self.seen, self.recall / self.seen),
            "mae": self.error / self.seen,
            "s_measure": self.structure / self.seen,
        }
