"""Photos that installed packages carry, and columns of them that share no pixel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from PIL import Image

PHOTO_CREDITS = (
    "photos china.jpg (danielbuechele) and flower.jpg (vultilion) carried by scikit-learn"
)
SKIMAGE_CREDITS = (
    "photos carried by scikit-image: astronaut (NASA), brick and gravel (CC0Textures), "
    "grass (linolafett), chelsea (Stefan van der Walt), coffee (Rachel Michetti), motorcycle "
    "(Middlebury 2014 stereo benchmark, Scharstein et al., GCPR 2014), rocket (SpaceX)"
)
SKIMAGE_LICENCE = (
    "CC-BY 2.0 (china, flower), CC0 or public domain (the others but motorcycle, whose authors ask "
    "to be cited)"
)

COLUMNS = {"weights": (0.0, 0.5), "architecture": (0.5, 0.72), "test": (0.72, 1.0)}
"""Who sees which columns, as shares of the width."""


def column_of(
    image: Image.Image, split: str, box: tuple[int, int, int, int] | None = None
) -> Image.Image:
    """Return the pixels of one column of an image, and no others.

    Args:
        image: a photo.
        split: a key of `COLUMNS`.
        box: left, top, right and bottom of the part that is divided; all of it if None.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    start, stop = (left + round((right - left) * share) for share in COLUMNS[split])
    return image.crop((start, top, stop, bottom))


def read_photo(name: str, needed_by: str, instead: str) -> Image.Image:
    """Return a photo that scikit-learn or scikit-image carries, grey ones in three channels.

    Args:
        name: of its file.
        needed_by: name of the data, for the message.
        instead: name of data that need no such package.

    Raises:
        ValueError: if scikit-image carries it and is not installed.
    """
    if name in ("china.jpg", "flower.jpg"):
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(name))
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"data {needed_by} needs the package scikit-image: pip install 'nastk[data]', or take "
            f"--data {instead}"
        )
    folder = Path(next(iter(spec.submodule_search_locations)), "data")
    with Image.open(folder / name) as image:
        return image.convert("RGB")
