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

from .resolution import Resolution, resolution_of, sides_of

# B batch, H height, W width

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
"""Pillow's filters, which widen when they shrink a picture."""

Three = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to a picture of any size before a network sees it, without augmentation.

    A box is cut out, brought to H x W bytes, and standardised: (bytes * scale - mean) / deviation.

    Attributes:
        resolution: of the network's input: its side, or height H and width W.
        crop: how much of the largest box in the middle that has the aspect of the input is kept,
            as a share of its sides; None keeps the whole picture and changes its aspect.
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

    resolution: Resolution
    crop: float | None = None
    resize: str = "bilinear"
    scale: float = 1 / 255
    mean: Three
    deviation: Three
    channels: str = "RGB"

    def __post_init__(self) -> None:
        shares = [self.scale, *self.deviation, *([] if self.crop is None else [self.crop])]
        is_sound = (
            isinstance(self.resize, str)
            and self.resize in FILTERS
            and self.channels == "RGB"
            and len(self.mean) == len(self.deviation) == 3
            and all(map(_is_number, (*shares, *self.mean)))
            and min(shares) > 0
            and (self.crop is None or self.crop <= 1)
        )
        object.__setattr__(self, "resolution", resolution_of(self.resolution, "preprocessing"))
        if not is_sound:
            raise ValueError(
                "preprocessing needs a resolution, a crop of at most 1 or none, the resize "
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
        part, (height, width) = "the whole picture", sides_of(self.resolution)
        if self.crop is not None:
            shape = "square" if height == width else f"{height} x {width}"
            part = f"the middle {shape} of {self.crop:.4g} of the shorter side"
        mean, deviation = (
            " ".join(f"{number:.4f}" for number in values) for values in (self.mean, self.deviation)
        )
        return (
            f"{part}, {self.resize} to {height} x {width}, {self.channels}, "
            f"bytes times {self.scale:.6f}, less {mean}, divided by {deviation}"
        )

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of what is kept of a picture of width and height."""
        if self.crop is None:
            return (0.0, 0.0, float(size[0]), float(size[1]))
        across, down = self.aspect
        side = min(size[0] / across, size[1] / down) * self.crop
        width, height = side * across, side * down
        left, top = (size[0] - width) / 2, (size[1] - height) / 2
        return (left, top, left + width, top + height)

    @property
    def aspect(self) -> tuple[float, float]:
        """Width and height of the input, each as a share of the longer one."""
        height, width = sides_of(self.resolution)
        longer = max(height, width)
        return width / longer, height / longer

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return [H, W, 3] bytes of an RGB picture, brought to its width before its height.

        Each pass rounds to bytes. In one call Pillow chooses their order, by rules of its version.
        """
        (height, width), before = sides_of(self.resolution), image.size[1]
        left, top, right, bottom = self.box(image.size)
        method = FILTERS[self.resize]
        wide = image.resize((width, before), method, box=(left, 0, right, before))
        return np.asarray(wide.resize((width, height), method, box=(0, top, width, bottom)))

    def standardised(self, pixels_B3HW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return [B, 3, H, W] numbers as the network wants them."""
        shape = (1, 3, 1, 1)
        mean = np.array(self.mean, np.float64) / self.scale
        deviation = np.array(self.deviation, np.float64) / self.scale
        x = pixels_B3HW.astype(np.float32)
        x -= mean.astype(np.float32).reshape(shape)
        x /= deviation.astype(np.float32).reshape(shape)
        return x


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
