"""Tasks by the name that people type behind --data; real data by path, digits embedded."""

from collections.abc import Callable

from ...core.lookup import lookup
from ...core.task import Task
from .arrays import ArrayTask, Source
from .digits import digits, digits_photo, mnist5k, mnist5k_photo
from .files import cifar10, idx, npz
from .imagefolder import ImageFolder

EMBEDDED: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "digits-photo": digits_photo,
    "mnist5k": mnist5k,
    "mnist5k-photo": mnist5k_photo,
}
FILES: dict[str, Callable[[str], Source]] = {"cifar10": cifar10, "idx": idx, "npz": npz}


def make_task(data: str, resolution: int, *, workers: int = 0, strict: bool = False) -> Task:
    """Return the task of `--data`, drawn at a resolution.

    Raises:
        ValueError: if the name is unknown, or the path holds no such data.
    """
    kind, colon, path = data.partition(":")
    if not colon:
        known = dict.fromkeys([*EMBEDDED, *(f"{name}:PATH" for name in (*FILES, "imagefolder"))])
        if kind not in EMBEDDED:
            lookup("data", data, known)
        return ArrayTask(source=EMBEDDED[kind](), resolution=resolution)
    if kind == "imagefolder":
        return ImageFolder(path, resolution=resolution, workers=workers, strict=strict)
    return ArrayTask(source=lookup("data", kind, FILES)(path), resolution=resolution)
