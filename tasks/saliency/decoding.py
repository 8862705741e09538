"""Decoding of images with their masks; apart from tasks, so that workers import no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.decode import read_image

# H height, W width

Job = tuple[str, str, tuple[int, int]]
"""Files of an image and of its mask, height and width."""


def decode_pair(job: Job) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | str:
    """Return [3, H, W] and [H, W] bytes, or the file that cannot be read and its trouble."""
    image_file, mask_file, (height, width) = job
    try:
        image, mask = read_image(image_file), read_image(mask_file).convert("L")
    except ValueError as error:
        return str(error)
    if 0 < (top := mask.getextrema()[1]) < 128:  # classes or a palette, which would be no object
        return f"{mask_file} (its brightest pixel is {top}; masks are 255 within objects)"
    if image.size != mask.size:
        (width, height), (w, h) = image.size, mask.size
        return f"{image_file} (upright {width}x{height} pixels, its mask {w}x{h})"
    pixels, grey = (
        np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in (image, mask)
    )
    return pixels.transpose(2, 0, 1), grey
