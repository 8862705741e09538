"""Decoding of images with their masks; apart from tasks, so that workers import no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.decode import read_image

# R resolution

Job = tuple[str, str, int]
"""Files of an image and of its mask, and the resolution."""


def decode_pair(job: Job) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | str:
    """Return [3, R, R] and [R, R] bytes, or the file that cannot be read and its trouble."""
    image_file, mask_file, side = job
    try:
        image, mask = read_image(image_file), read_image(mask_file).convert("L")
    except ValueError as error:
        return str(error)
    pixels, grey = (
        np.asarray(one.resize((side, side), Image.Resampling.BILINEAR)) for one in (image, mask)
    )
    return pixels.transpose(2, 0, 1), grey
