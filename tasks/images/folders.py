"""Finding the images below class folders: which are read, and what is left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core.printable import printable
from .decode import suffixes

Item = tuple[str, int]
"""An image file and its label."""

Folder = tuple[int, int]
"""Device and inode: which folder it is in truth, whatever path leads to it."""

# What systems and programs put among the data; names that begin with a dot are left out too.
_NOT_DATA = frozenset(
    {
        *("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"),
        *("__MACOSX", "__pycache__", "lost+found"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What lies in PATH/train or PATH/val.

    Attributes:
        items: the images in the order of their classes, each with its label.
        classes: names of the class folders, sorted, as they can be printed.
        left_out: reason to number, for files of no known kind by their ending.
        folders: those that images were taken from, with a path to each.
    """

    items: list[Item]
    classes: list[str]
    left_out: Mapping[str, int]
    folders: Mapping[Folder, Path]


def find_folders(path: Path) -> None:
    """Refuse a folder without train and val.

    Raises:
        ValueError: if one is missing.
    """
    for folder in (path / "train", path / "val"):
        if not folder.is_dir():
            raise ValueError(
                f"no folder {folder}; expected {path}/train/CLASS/... and {path}/val/CLASS/..."
            )


def scan(folder: Path) -> Scan:
    """Find the images of every class; links are followed, each folder once.

    Raises:
        ValueError: if a class has no image, there are no classes, or two classes share a folder.
        OSError: if a folder may not be read.
    """
    left_out: Counter[str] = Counter()
    above = {_identity(place): place for place in (folder, folder.resolve(), *folder.parents)}
    above |= {_identity(place): place for place in folder.resolve().parents}
    taken: dict[Folder, Path] = {}
    classes: list[Path] = []
    items: list[Item] = []
    for entry, kind in _entries(folder):
        if kind == "file":
            left_out[_reason(entry, "beside the class folders")] += 1
        elif _is_hidden(entry):
            left_out[f"folder {printable(entry.name)}"] += 1
        else:
            ours: dict[Folder, Path] = {}
            files = _images_below(entry, above, taken, ours, left_out)
            taken |= ours
            items += [(str(file), len(classes)) for file in files]
            classes.append(entry)
    if not items:
        ends = _list(left_out)
        raise ValueError(f"{folder} holds no images{ends}; expected {folder}/CLASS/*.jpg")
    return Scan(
        items=items,
        classes=[printable(entry.name) for entry in classes],
        left_out=dict(sorted(left_out.items())),
        folders=taken,
    )


def check_apart(train: Scan, test: Scan) -> None:
    """Refuse a test on images that are trained on.

    Raises:
        ValueError: if both take images from one folder, by links.
    """
    for identity, place in test.folders.items():
        if other := train.folders.get(identity):
            raise ValueError(
                f"{place} and {other} are the same folder, so that the test would be on training "
                "images; give val images of its own"
            )


def _images_below(
    entry: Path,
    above: Mapping[Folder, Path],
    taken: Mapping[Folder, Path],
    ours: dict[Folder, Path],
    left_out: Counter[str],
) -> list[Path]:
    """Return the images of a class folder in order, adding the folders to `ours`."""
    files: list[Path] = []
    ignored: Counter[str] = Counter()
    waiting, links = [entry], list[Path]()  # links last, so that a folder keeps its own path
    while waiting or links:
        place = (waiting or links).pop(0)
        identity = _identity(place)
        if identity in above or identity in ours:
            ignored["folder linked a second time"] += 1
            continue
        if other := taken.get(identity):
            raise ValueError(
                f"{place} and {other} are the same folder, but belong to two classes; let each "
                "class have images of its own"
            )
        ours[identity] = place
        for inside, kind in _entries(place):
            if kind == "file":
                if reason := _reason(inside):
                    ignored[reason] += 1
                else:
                    files.append(inside)
            elif _is_hidden(inside):
                ignored[f"folder {printable(inside.name)}"] += 1
            else:
                (waiting if kind == "folder" else links).append(inside)
    if not files:
        raise ValueError(
            f"class folder {entry} holds no images{_list(ignored)}; put some there, or move it away"
        )
    left_out.update(ignored)
    return sorted(files)


def _entries(folder: Path) -> list[tuple[Path, Literal["file", "folder", "link"]]]:
    """Return what lies in a folder by name; a link is one to a folder, anything else a file."""
    found: list[tuple[Path, Literal["file", "folder", "link"]]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                found.append((Path(entry.path), "link" if os.path.isdir(entry.path) else "file"))
            else:
                found.append((Path(entry.path), "folder" if entry.is_dir() else "file"))
    return sorted(found)


def _reason(file: Path, place: str = "") -> str:
    """Return why a file is no image of a class, nothing if it is one."""
    if file.name.startswith("."):
        return "hidden file"
    ending = file.suffix.lower()
    if ending not in suffixes():
        return printable(ending) or "no suffix"
    return f"{ending} {place}" if place else ""


def _is_hidden(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _NOT_DATA


def _identity(folder: Path) -> Folder:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _list(left_out: Mapping[str, int]) -> str:
    """Return `, but 3 .txt, 1 .heic` of what was left out, most first."""
    counted = sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    return ", but " + ", ".join(f"{n} {what}" for what, n in counted) if counted else ""
