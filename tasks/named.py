"""Tasks by the name that people type behind --data: real data by path, or embedded ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..core.lookup import lookup
from ..core.resolution import ResolutionLike, resolution_of
from ..training.task import Metric, Task
from .images.arrays import ArrayTask, Source
from .images.classification import Classification
from .images.digits import digits, digits_photo, mnist5k, mnist5k_photo
from .images.files import cifar10, idx, npz
from .images.folders import find_folders
from .images.held import KIND as HELD_KIND
from .images.held import find_held, held
from .images.imagefolder import ImageFolder
from .images.patches import textures, textures_photos
from .own import is_own, own_family, own_task
from .saliency.composite import Composite, CompositePhotos
from .saliency.duts import Duts, find_duts

EMBEDDED: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "digits-photo": digits_photo,
    "mnist5k": mnist5k,
    "mnist5k-photo": mnist5k_photo,
    "textures": textures,
    "textures-photos": textures_photos,
}
FILES: dict[str, Callable[[str], Source]] = {"cifar10": cifar10, "idx": idx, "npz": npz}
TASKS: dict[str, type[Task]] = {
    Composite.name: Composite,
    CompositePhotos.name: CompositePhotos,
}
"""Embedded data of other kinds by name: classes that are called with `resolution=`."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Data of a user's in a folder.

    Attributes:
        family: is called with a path, `resolution=`, `workers=` and `strict=`.
        find: raises a ValueError if there are no such data at a path, without reading any.
    """

    family: Callable[..., Task]
    find: Callable[[Path], object]


FOLDERS: dict[str, Folder] = {
    "duts": Folder(family=Duts, find=find_duts),
    "imagefolder": Folder(family=ImageFolder, find=find_folders),
}


KINDS: dict[str, str] = {"classification": "digits-photo", "saliency": "composite"}
"""Embedded data by kind of task, which are taken where nobody says which."""

DATA = KINDS["classification"]
"""What is taken where neither data nor a kind are given."""


@dataclass(frozen=True)
class Added:
    """A kind of task that a program has added to `TASKS`; who unpickles it has it there too."""

    data: str
    family: type[Task]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what adds it."""
        return _add, (self.data, self.family)


def added(data: str) -> Added | None:
    """Return the kind of data where a program has added it, None where nastk knows it."""
    family = TASKS.get(data)
    is_own = family is None or family.__module__.startswith(f"{__name__.partition('.')[0]}.")
    return None if family is None or is_own else Added(data, family)


def _add(data: str, family: type[Task]) -> Added:
    TASKS.setdefault(data, family)
    return Added(data, family)


def metrics_of(data: str | None) -> tuple[Metric, ...]:
    """Return what is measured on data, the first being what is chosen by."""
    return family_of(data or "").metrics


def family_of(data: str) -> type[Task]:
    """Return the class of tasks that data are of: it says kind and metrics, and reads nothing."""
    if data in TASKS:
        return TASKS[data]
    if is_own(data):
        return own_family(data)
    form, colon, _ = data.partition(":")
    folder = FOLDERS.get(form) if colon else None
    return cast(type[Task], folder.family) if folder else Classification


def make_task(
    data: str, resolution: ResolutionLike, *, workers: int = 0, strict: bool = False
) -> Task:
    """Return the task of `--data`, drawn at a resolution.

    Raises:
        ValueError: if the name is unknown, the path holds no such data, or it may not be read; or
            if the resolution is none.
    """
    find_data(data)
    resolution = resolution_of(resolution, data)
    if is_own(data):
        return own_task(data, resolution)
    if data in TASKS:
        return TASKS[data](resolution=resolution)  # type: ignore[call-arg]
    kind, colon, path = data.partition(":")
    if colon and kind == HELD_KIND:
        return ArrayTask(source=held(data), resolution=resolution)
    if not colon:
        return ArrayTask(source=EMBEDDED[kind](), resolution=resolution)
    try:
        if kind in FOLDERS:
            family = FOLDERS[kind].family
            return family(path, resolution=resolution, workers=workers, strict=strict)
        return ArrayTask(source=FILES[kind](path), resolution=resolution)
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise ValueError(f"cannot read {data}: {error.strerror}: {error.filename}") from None


def form_of(data: str) -> str:
    """Return how data of a user's are given that are of the kind of some embedded ones."""
    kind = family_of(data).kind
    return next(f"{name}:PATH" for name, f in FOLDERS.items() if family_of(f"{name}:").kind == kind)


def is_embedded(data: str) -> bool:
    """Whether data of that name come with nastk; else they are the user's."""
    return ":" not in data


def find_data(data: str) -> None:
    """Look whether data of that name can be there, without reading any.

    Raises:
        ValueError: if the name is unknown, or there is nothing at the path.
    """
    kind, colon, path = data.partition(":")
    if colon and kind == HELD_KIND:
        find_held(data)
        return
    if is_own(data):  # its class was found, or will be; what that reads it knows alone
        return
    forms = (*FILES, *FOLDERS)
    known = [*EMBEDDED, *TASKS, *(f"{name}:PATH" for name in forms)]
    if not colon:
        if data not in EMBEDDED and data not in TASKS:
            lookup("data", data, dict.fromkeys(known))
        return
    lookup("data", kind, dict.fromkeys(forms))
    if not path:
        raise ValueError(f"{data!r} misses its path; write {kind}:PATH")
    try:
        if kind in FOLDERS:
            FOLDERS[kind].find(Path(path))
        is_there = Path(path).exists()
    except OSError as error:  # a name that is too long, or below a folder that is closed to us
        short = path if len(path) < 200 else f"{path[:200]}..."
        raise ValueError(f"cannot look for {kind}:{short}: {error.strerror}") from None
    if not is_there:
        raise ValueError(f"there is nothing at {path}; {kind}: takes the path of existing data")
