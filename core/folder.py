"""What a folder has to be to become a run, or to be opened as one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .files import is_temporary


def check_empty(path: Path) -> None:
    """Refuse a folder of somebody's files: a run would write over them, or a mistake remove them.

    What is left of a process that was killed before it had written a manifest is in no one's way.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; --out takes a new or an empty folder")
    names = {entry.name for entry in path.iterdir()} if path.exists() else set()
    strange = sorted(n for n in names if n != ".lock" and not is_temporary(n))
    if strange and "manifest.json" not in names:
        raise ValueError(
            f"{path} is no run but holds {strange[0]!r}"
            + (f" and {len(strange) - 1} more" if len(strange) > 1 else "")
            + "; choose a new or an empty folder with --out"
        )


def refuse_links(path: Path) -> None:
    """Refuse a run folder with links inside, or with what is neither a file nor a folder.

    What is written through a link is written elsewhere, and a pipe has whoever opens it wait.

    Raises:
        ValueError: naming the first of them.
    """
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = os.path.join(folder, name)
            mode = os.lstat(entry).st_mode
            if stat.S_ISLNK(mode):
                raise ValueError(
                    f"{path} has a link inside, {entry}; nastk reads and writes no run through "
                    "links: remove it, or put the file itself there"
                )
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise ValueError(f"{path} has {entry} inside, no regular file: remove it")


def free_folder(path: Path) -> Path:
    """Return `path`, or the first of `path-2`, `path-3`... that is not taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
