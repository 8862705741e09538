"""Decoding and cropping of image files; apart from tasks, so that workers import no torch."""

from __future__ import annotations

import os
import stat
import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ...core.preprocessing import FILTERS, Preprocessing
from ...core.printable import printable
from ...core.resolution import sides_of
from ...core.streams import Stream, of_item
from .augment import rand_augment

# H height, W width

Job = tuple[str, Preprocessing, tuple[int, int, int] | None, float]
"""File, preprocessing, seed of the augmentation (None for none), strength of RandAugment."""

# What decodes within this process: no EPS or WMF, which start other programs.
_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI"),
    *("SGI", "TGA", "TIFF", "WEBP"),
)

# Twice what Pillow calls suspicious; 700 MB once it is decoded.
_MAX_PIXELS = 178_956_970

# Tag of EXIF to what turns the picture upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Tags of TIFF.
_BITS, _PHOTOMETRIC = 258, 262


def decode(job: Job) -> NDArray[np.uint8] | str:
    """Return [H, W, 3] bytes, or the file's name and trouble if it cannot be read."""
    file, preprocessing, seed, magnitude = job
    try:
        image = read_image(file)
    except ValueError as error:
        return str(error)
    if seed is None:
        return preprocessing.pixels(image)
    height, width = sides_of(preprocessing.resolution)
    box = _random_box(image.size, width / height, seed) or preprocessing.box(image.size)
    image = image.resize((width, height), FILTERS[preprocessing.resize], box=box)
    if magnitude:
        image = rand_augment(image, magnitude, of_item(Stream.RAND_AUGMENT, *seed))
    pixels = np.asarray(image)
    if of_item(Stream.FLIP, *seed).random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def read_image(file: str) -> Image.Image:
    """Return the picture of a file as a viewer shows it: upright, RGB bytes, laid on white.

    Of several frames it is the first. See `as_rgb` for what becomes of other pixels.

    Raises:
        ValueError: with the file and the reason if it cannot be read: no regular file, none of
            the formats that decode within this process, damaged, or too many pixels.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would wait for its writer
            raise ValueError("not a regular file")
        with warnings.catch_warnings(), open(file, "rb") as content:
            warnings.simplefilter("ignore")  # of odd metadata; the pixels decide
            with Image.open(content, formats=_formats()) as opened:
                if opened.width * opened.height > _MAX_PIXELS:
                    raise ValueError(f"more than {_MAX_PIXELS:,} pixels")
                return as_rgb(opened)
    # What decoders raise on damaged files is without bound: struct.error, IndexError, KeyError...
    except Exception as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no image in a format that is read" if unknown else _first_line(error)
        raise ValueError(printable(f"{file} ({reason})")) from None


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an opened picture upright as RGB bytes, its transparent parts laid on white.

    Grey of 16 bits is scaled by its depth, 65535 to 255; a camera's 12 bits in 16 cannot be told
    from a dark picture and stay dark. Floats are taken where all lie in [0, 1].

    Raises:
        ValueError: if the range of the pixels is unknown, as of 32-bit whole numbers.
        Exception: whatever the decoder raises on a damaged file.
    """
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        rgb = _bytes_of_deep_grey(image)
    elif "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        rgb = Image.alpha_composite(white, colour).convert("RGB")
    else:
        rgb = image.convert("RGB")
    turn = _UPRIGHT.get(orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def orientation(image: Image.Image) -> int:
    """Return the number that EXIF has for how the picture was taken, 1 where it has none."""
    try:
        number = int(image.getexif().get(_ORIENTATION, 1))
        return number if number in _UPRIGHT else 1
    # A camera's damaged EXIF is no damage of the picture, and raises whatever it likes.
    except Exception:
        return 1


@cache
def suffixes() -> frozenset[str]:
    """Return the endings of the files that are taken for images, lower case with their dot."""
    known = {ending for ending, name in Image.registered_extensions().items() if name in _formats()}
    return frozenset(known | {".mpo"})  # several JPEG pictures in one file


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [type(error).__name__])[0]


def _bytes_of_deep_grey(image: Image.Image) -> Image.Image:
    levels_HW = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        if not ((levels_HW >= 0) & (levels_HW <= 1)).all():
            raise ValueError("float pixels outside [0, 1]")
        levels_HW, top = np.rint(levels_HW.astype(np.float64) * 65535).astype(np.int64), 65535
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):  # which hold 16 bits in it
        raise ValueError("32-bit or signed whole numbers, whose range is unknown")
    else:
        levels_HW, top = levels_HW.astype(np.int64), 2 ** min(16, *tags.get(_BITS, (16,))) - 1
        if tags.get(_PHOTOMETRIC) == 0:  # white is zero
            levels_HW = top - levels_HW
    bytes_HW = (levels_HW * 255 + top // 2) // top
    bytes_HW[levels_HW == image.info.get("transparency", -1)] = 255
    return Image.fromarray(bytes_HW.astype(np.uint8)).convert("RGB")


def _random_box(
    size: tuple[int, int], usual: float, seed: tuple[int, int, int]
) -> tuple[float, float, float, float] | None:
    """Return a box within a picture, None if ten draws were too wide or too high for it."""
    generator = of_item(Stream.CROP, *seed)
    for _ in range(10):
        area = size[0] * size[1] * generator.uniform(0.08, 1.0)
        aspect = usual * np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
        if width <= size[0] and height <= size[1]:
            left = generator.uniform(0, size[0] - width)
            top = generator.uniform(0, size[1] - height)
            return (left, top, left + width, top + height)
    return None
