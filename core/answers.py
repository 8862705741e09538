"""What a network answers on a split, class by class, with a few of the pictures it was shown."""

from __future__ import annotations

import base64
import heapq
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .preprocessing import Preprocessing

# B batch, R resolution, K classes

KIND = "nastk answers"
MAX_CONFUSED = 1000
"""So many pairs of classes are written, the most frequent ones: all of them up to 32 classes."""
_EACH = 6  # examples drawn, and of mistakes
_SIDE = 80  # pixels of an example at most; twelve of these are about 100 KB at the very worst
_TYPES = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff"}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture, and what a network took it for.

    Attributes:
        kind: `drawn`, evenly over the split; or `mistake`, one of the most confident ones.
        true: number of its class.
        predicted: number of the class that the network gave it.
        probability: that the network gave this class; None where it is not finite.
        type: of the picture, `png` or `jpeg`.
        picture: the file.
    """

    kind: str
    true: int
    predicted: int
    probability: float | None
    type: str
    picture: bytes

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return vars(self) | {"picture": base64.b64encode(self.picture).decode()}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How often a network was right on a split, and what it took for what.

    Attributes:
        classes: their names.
        num_images: [K] of each class.
        num_right: [K] of these that the network gave their class.
        num_predicted: [K] to which the network gave each class, rightly or not.
        confused: (true, predicted, number of images), the most frequent first.
        num_left_out: images of mistakes that are too rare for this list.
        examples: a few pictures.
    """

    classes: tuple[str, ...]
    num_images: tuple[int, ...]
    num_right: tuple[int, ...]
    num_predicted: tuple[int, ...]
    confused: tuple[tuple[int, int, int], ...]
    num_left_out: int
    examples: tuple[Example, ...]

    @property
    def top1_percents(self) -> list[float | None]:
        """Share of the images of each class that the network gave it; None where there are none."""
        pairs = zip(self.num_right, self.num_images, strict=True)
        return [100 * right / count if count else None for right, count in pairs]

    @property
    def weakest(self) -> str:
        """The classes and their shares, the lowest first; the five lowest where they are many."""
        pairs = zip(self.top1_percents, self.classes, strict=True)
        known = sorted((share, name) for share, name in pairs if share is not None)
        shown = known if len(known) <= 10 else known[:5]
        which = "" if shown is known else f" (weakest of {len(known)})"
        return f"top-1 by class{which}: " + ", ".join(f"{n}: {share:.0f} %" for share, n in shown)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        examples = [example.to_json() for example in self.examples]
        return {"kind": KIND} | vars(self) | {"examples": examples}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Answers:
        """Return it from what `to_json` gave, whoever may have written that.

        Raises:
            ValueError: if an entry is missing, of a wrong kind, or contradicts another.
        """
        try:
            return _checked(content)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            detail = f"{type(error).__name__} {str(error)[:60]}"
            raise ValueError(f"these are no {KIND}: {detail}") from None


def _checked(content: Mapping[str, Any]) -> Answers:
    classes = tuple(str(name) for name in content["classes"])
    counts = [
        tuple(_whole(v) for v in content[key])
        for key in ("num_images", "num_right", "num_predicted")
    ]
    confused = [tuple(map(_whole, row)) for row in content["confused"]]
    examples = [_example(entry, len(classes)) for entry in content["examples"]]
    images, right, _ = counts
    is_sound = (
        content["kind"] == KIND
        and all(len(count) == len(classes) for count in counts)
        and all(r <= n for r, n in zip(right, images, strict=True))
        and all(len(row) == 3 and max(row[:2]) < len(classes) for row in confused)
        and len(confused) <= MAX_CONFUSED
        and len(examples) <= 4 * _EACH
    )
    if not is_sound:
        raise ValueError(f"these are no {KIND}: counts and classes contradict each other")
    return Answers(
        classes=classes,
        num_images=images,
        num_right=right,
        num_predicted=counts[2],
        confused=tuple((row[0], row[1], row[2]) for row in confused),
        num_left_out=_whole(content["num_left_out"]),
        examples=tuple(examples),
    )


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"these are no {KIND}: {value!r:.40} is no count")
    return value


def _example(entry: Mapping[str, Any], num_classes: int) -> Example:
    probability = entry["probability"]
    is_share = isinstance(probability, float | int) and 0 <= probability <= 1
    picture = base64.b64decode(entry["picture"], validate=True)
    true, predicted = _whole(entry["true"]), _whole(entry["predicted"])
    is_sound = (
        entry["kind"] in ("drawn", "mistake")
        and (probability is None or is_share)
        and max(true, predicted) < num_classes
        and picture.startswith(_TYPES[entry["type"]])
        and len(picture) < 100_000
    )
    if not is_sound:
        raise ValueError(f"these are no {KIND}: an example is damaged")
    return Example(
        kind=entry["kind"],
        true=true,
        predicted=predicted,
        probability=probability,
        type=entry["type"],
        picture=picture,
    )


class Tally:
    """Counts the answers of a network, batch after batch.

    Args:
        classes: names of its outputs.
        size: number of items of the split.
        preprocessing: how the pictures became inputs, to show them; None if nobody can say.
    """

    def __init__(
        self, classes: Sequence[str], size: int, preprocessing: Preprocessing | None
    ) -> None:
        self.classes, self.preprocessing = tuple(classes), preprocessing
        self._pairs: Counter[tuple[int, int]] = Counter()
        self._wanted = {(2 * n + 1) * size // (2 * _EACH) for n in range(min(_EACH, size))}
        self._seen = 0
        self._drawn: list[tuple[int, int, float, NDArray[np.uint8]]] = []
        # The least confident mistake of those that are kept comes first.
        self._mistakes: list[tuple[float, int, int, int, NDArray[np.uint8]]] = []

    def add(self, x_B3RR: Tensor, labels_B: Tensor, logits_BK: Tensor) -> None:
        """Count a batch: inputs, true classes and what the network answered."""
        answers_B = logits_BK.argmax(1)  # as accuracy takes it, also where a number is not finite
        probs_B = logits_BK.softmax(1).gather(1, answers_B[:, None])[:, 0]
        rows = zip(labels_B.tolist(), answers_B.tolist(), probs_B.tolist(), strict=True)
        for place, (true, answer, prob) in enumerate(rows):
            self._pairs[true, answer] += 1
            number = self._seen + place
            if number in self._wanted:
                self._drawn.append((true, answer, prob, self._bytes(x_B3RR[place])))
            rank = (prob, -number)
            is_kept = len(self._mistakes) < _EACH or rank > self._mistakes[0][:2]
            if true != answer and math.isfinite(prob) and is_kept:
                entry = (*rank, true, answer, self._bytes(x_B3RR[place]))
                heapq.heappush(self._mistakes, entry)
                if len(self._mistakes) > _EACH:
                    heapq.heappop(self._mistakes)
        self._seen += len(labels_B)

    def answers(self) -> Answers:
        """Return what has been counted."""
        # A network of more outputs than the data have classes may answer with any of them.
        size = max([len(self.classes), *(answer + 1 for _, answer in self._pairs)])
        unnamed = tuple(f"output {number}" for number in range(len(self.classes), size))
        wrong = [(pair, n) for pair, n in self._pairs.items() if pair[0] != pair[1]]
        wrong.sort(key=lambda entry: (-entry[1], entry[0]))
        images, predicted = [0] * size, [0] * size
        for (true, answer), count in self._pairs.items():
            images[true] += count
            predicted[answer] += count
        mistakes = [
            (true, answer, prob, pixels)
            for prob, _, true, answer, pixels in sorted(self._mistakes, reverse=True)
        ]
        kinds = (("drawn", self._drawn), ("mistake", mistakes))
        return Answers(
            classes=self.classes + unnamed,
            num_images=tuple(images),
            num_right=tuple(self._pairs[k, k] for k in range(size)),
            num_predicted=tuple(predicted),
            confused=tuple((*pair, count) for pair, count in wrong[:MAX_CONFUSED]),
            num_left_out=sum(count for _, count in wrong[MAX_CONFUSED:]),
            examples=tuple(_shown(kind, *entry) for kind, entries in kinds for entry in entries),
        )

    def _bytes(self, x_3RR: Tensor) -> NDArray[np.uint8]:
        """Return [R, R, 3] bytes as they were; stretched to all greys where nobody can say."""
        x_RR3 = x_3RR.permute(1, 2, 0).double().numpy()
        if (way := self.preprocessing) is not None:
            bytes_RR3 = (x_RR3 * np.array(way.deviation) + np.array(way.mean)) / way.scale
        else:
            low, high = float(x_RR3.min()), float(x_RR3.max())
            bytes_RR3 = (x_RR3 - low) * (255 / ((high - low) or 1.0))
        whole_RR3: NDArray[np.uint8] = np.nan_to_num(bytes_RR3).round().clip(0, 255).astype("uint8")
        return whole_RR3


def _shown(
    kind: str, true: int, predicted: int, prob: float, pixels_RR3: NDArray[np.uint8]
) -> Example:
    """Return an example with its picture: exact where it is small, else of 80 pixels a side."""
    image = Image.fromarray(pixels_RR3)
    is_small = max(image.size) <= _SIDE // 2
    file = io.BytesIO()
    if is_small:
        image.save(file, "png", optimize=True)
    else:
        image.thumbnail((_SIDE, _SIDE))
        image.save(file, "jpeg", quality=80)
    return Example(
        kind=kind,
        true=true,
        predicted=predicted,
        probability=prob if math.isfinite(prob) else None,
        type="png" if is_small else "jpeg",
        picture=file.getvalue(),
    )
