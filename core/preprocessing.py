"""How the pixels of a picture become the input of a network, as data that go with its weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# B batch, R resolution, H height, W width

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
"""Pillow's filters, which widen when they shrink a picture."""

Three = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to a picture of any size before a network sees it, without augmentation.

    A box is cut out, brought to R x R bytes, and standardised: (bytes * scale - mean) / deviation.

    Attributes:
        resolution: side R of the network's input, in pixels.
        crop: side of the square in the middle that is kept, as a share of the shorter side; None
            keeps the whole picture and changes its aspect where it is no square.
        resize: filter of the change of size, in `FILTERS`.
        scale: by which bytes are multiplied.
        mean: of each channel, after scaling.
        deviation: of each channel, after scaling.
        channels: their order; grey pictures are repeated three times.

    Raises:
        ValueError: if an entry is none that can be computed with.

    Example:
        >>> folder = Preprocessing(resolution=4, crop=0.5, mean=(0.5,) * 3, deviation=(0.25,) * 3)
        >>> Preprocessing.from_json(folder.to_json()) == folder
        True
        >>> pixels = folder.pixels(Image.new("RGB", (16, 8), "white"))
        >>> pixels.shape, folder.standardised(pixels.transpose(2, 0, 1)[None]).max()
        ((4, 4, 3), np.float32(2.0))
    """

    resolution: int
    crop: float | None = None
    resize: str = "bilinear"
    scale: float = 1 / 255
    mean: Three
    deviation: Three
    channels: str = "RGB"

    def __post_init__(self) -> None:
        shares = [self.scale, *self.deviation, *([] if self.crop is None else [self.crop])]
        is_sound = (
            _is_number(self.resolution)
            and self.resolution == int(self.resolution) > 0
            and isinstance(self.resize, str)
            and self.resize in FILTERS
            and self.channels == "RGB"
            and len(self.mean) == len(self.deviation) == 3
            and all(map(_is_number, (*shares, *self.mean)))
            and min(shares) > 0
            and (self.crop is None or self.crop <= 1)
        )
        if not is_sound:
            raise ValueError(
                "preprocessing needs a whole resolution, a crop of at most 1 or none, the resize "
                f"{' or '.join(FILTERS)}, a scale, three means, three deviations above 0 and the "
                f"channels RGB; got {self.to_json()}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Return it from what `to_json` gave.

        Raises:
            ValueError: if an entry is missing, unknown, or of a wrong kind.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(content, Mapping) or set(content) != set(names):
            raise ValueError(f"preprocessing holds {', '.join(names)}; got {content!r}")
        lists = [content[name] for name in ("mean", "deviation")]
        if not all(isinstance(value, list | tuple) for value in lists):
            raise ValueError(f"mean and deviation are lists of three numbers; got {lists}")
        mean, deviation = map(tuple, lists)
        return cls(**{**content, "mean": mean, "deviation": deviation})

    def __str__(self) -> str:
        """Say it in words."""
        part = "the whole picture"
        if self.crop is not None:
            part = f"the middle square of {self.crop:.4g} of the shorter side"
        mean, deviation = (
            " ".join(f"{number:.4f}" for number in values) for values in (self.mean, self.deviation)
        )
        return (
            f"{part}, {self.resize} to {self.resolution} x {self.resolution}, {self.channels}, "
            f"bytes times {self.scale:.6f}, less {mean}, divided by {deviation}"
        )

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of what is kept of a picture of width and height."""
        if self.crop is None:
            return (0.0, 0.0, float(size[0]), float(size[1]))
        side = min(size) * self.crop
        left, top = (size[0] - side) / 2, (size[1] - side) / 2
        return (left, top, left + side, top + side)

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return [R, R, 3] bytes of an RGB picture, brought to its width before its height.

        Each pass rounds to bytes. In one call Pillow chooses their order, by rules of its version.
        """
        side, height = self.resolution, image.size[1]
        left, top, right, bottom = self.box(image.size)
        method = FILTERS[self.resize]
        wide = image.resize((side, height), method, box=(left, 0, right, height))
        return np.asarray(wide.resize((side, side), method, box=(0, top, side, bottom)))

    def standardised(self, pixels_B3RR: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return [B, 3, R, R] numbers as the network wants them."""
        shape = (1, 3, 1, 1)
        mean = np.array(self.mean, np.float64) / self.scale
        deviation = np.array(self.deviation, np.float64) / self.scale
        x = pixels_B3RR.astype(np.float32)
        x -= mean.astype(np.float32).reshape(shape)
        x /= deviation.astype(np.float32).reshape(shape)
        return x


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
