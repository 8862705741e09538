"""Image classification: one class an image, its cross-entropy, its accuracy."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.answers import Answers, Tally
from ...core.streams import Stream
from ...training.batch import Batch, Draw
from ...training.recipe import ANY
from ...training.task import (
    Meter,
    Metric,
    Metrics,
    Network,
    Objective,
    Task,
    training_batch,
)
from .mixing import erase, mix

# B batch, R resolution, K classes


class Classification(Task):
    """Images of classes in disjoint splits.

    Batches have one input, images [B, 3, R, R], and as `labels` the classes [B] of these, or where
    images are mixed the share [B, K] of each class.

    Attributes:
        num_classes: K.
        classes: names of the classes in the order of their labels, None where they have no names.
    """

    kind: ClassVar[str] = "classification"
    amounts: ClassVar[tuple[str, ...]] = tuple(ANY.amounts)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            name="loss_nats",
            title="test loss",
            note="cross-entropy, lower is better",
            each="losses_nats",
        ),
        Metric(
            name="top1_percent",
            title="top-1 %",
            maximises=True,
            digits=1,
            long="test accuracy (top-1)",
        ),
    )

    readable_name: ClassVar[str] = "probabilities"

    num_classes: int
    classes: Sequence[str] | None = None

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        """Names of the classes in the order of their labels: their numbers where none are given."""
        return [str(name) for name in self.classes or range(self.num_classes)]

    @property
    def sizes(self) -> Mapping[str, int]:  # type: ignore[override]
        """What the data decide of a space: the number of classes."""
        return {"num_classes": self.num_classes}

    @classmethod
    def loss_of_guessing(cls, sizes: Mapping[str, Any]) -> float | None:
        """Return the loss of one who gives all classes the same probability."""
        classes = sizes.get("num_classes")
        return math.log(classes) if type(classes) is int and classes > 1 else None

    @classmethod
    def readable(cls, outputs: Tensor) -> Tensor:
        """Return the probability of each class."""
        return torch.softmax(outputs, 1)

    @abstractmethod
    def images(self, split: str, items: Sequence[int], draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Return items as `read` does: images [B, 3, R, R] and their classes [B].

        A `draw` augments each image, with RandAugment of the strength `rand_augment` on top.
        """

    def read(self, split: str, items: Sequence[int], draw: Draw | None) -> Batch:
        """Return images of a split, those of a training batch augmented, erased and mixed."""
        x, labels = self.images(split, items, draw)
        if draw is not None:
            x, labels = self._mixed(x, labels, draw)
        return Batch(inputs=(x,), targets={"labels": labels})

    def _mixed(self, x: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        generator = draw.of_batch(Stream.MIXING)
        erasing, mixup, cutmix = (
            draw.amounts.get(name, 0.0) for name in ("erasing", "mixup", "cutmix")
        )
        if erasing:
            x = erase(x, erasing, generator)
        if mixup or cutmix:
            classes = self.num_classes
            return mix(x, labels, classes, mixup=mixup, cutmix=cutmix, generator=generator)
        return x, labels

    def batch(
        self, split: str, *, seed: int, step: int, batch_size: int, rand_augment: float = 0
    ) -> tuple[Tensor, Tensor]:
        """Return images [B, 3, R, R] and classes [B] of a training step, see `training_batch`."""
        amounts = {"rand_augment": rand_augment}
        found = training_batch(
            self, split, seed=seed, step=step, batch_size=batch_size, amounts=amounts
        )
        return found.inputs[0], found.targets["labels"]

    def ordered(self, split: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return images and classes of the items `start` to `stop` of a split as they are."""
        return self.images(split, range(start, min(stop, self.size(split))), None)

    def objective(self, amounts: Mapping[str, float] = {}) -> Objective:
        """Return the cross-entropy, with `label_smoothing`."""
        return CrossEntropy(amounts.get("label_smoothing", 0.0))

    def meter(self, split: str | None = None) -> Meter:
        """Return what measures loss and accuracy, and keeps the answers on a split."""
        if split is None:
            return Accuracy()
        return Accuracy(Tally(self.class_names, self.size(split), self.preprocessing))


class CrossEntropy(Objective):
    """The mean cross-entropy of the classes, or of their shares, in nats."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, network: Network, batch: Batch, step: Tensor) -> Tensor:
        """Return the loss of `labels`, [B] classes or [B, K] shares."""
        logits = network(*batch.inputs)
        wide = torch.promote_types(logits.dtype, torch.float32)
        labels = batch.targets["labels"]
        return F.cross_entropy(logits.to(wide), labels, label_smoothing=self.label_smoothing)


class Accuracy(Meter):
    """Mean cross-entropy in nats, and the share of images whose class is the likeliest."""

    def __init__(self, tally: Tally | None = None) -> None:
        self.tally = tally
        self.loss = self.right = self.seen = 0.0

    def update(self, outputs: Tensor, batch: Batch) -> None:
        """Take in logits [B, K] of images and their classes."""
        labels = batch.targets["labels"]
        self.loss += float(F.cross_entropy(outputs, labels, reduction="sum"))
        self.right += float((outputs.argmax(1) == labels).sum())
        self.seen += len(labels)
        if self.tally is not None:
            self.tally.add(batch.inputs[0], labels, outputs)

    def compute(self) -> Metrics:
        """Return `loss_nats` and `top1_percent`."""
        return {
            "loss_nats": self.loss / self.seen,
            "top1_percent": 100 * self.right / self.seen,
        }

    def answers(self) -> Answers | None:
        """Return what the network took each image for, None where that is not kept."""
        return None if self.tally is None else self.tally.answers()
