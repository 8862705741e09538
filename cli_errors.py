"""What the command line says when the system refuses something."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .core.files import FULL


def trouble(error: OSError) -> str:
    """Say in words what the system refused, about which file, and how to go on."""
    if error.errno is None:
        return str(error)
    where = "" if error.filename is None else os.fsdecode(error.filename)
    reason = os.strerror(error.errno).lower()
    if error.errno not in FULL:
        return f"{where}: {reason}" if where else reason
    path = Path(where)
    folders = (path, *path.parents)
    holders = (folder for folder in folders if (folder / "manifest.json").is_file())
    run = next(holders, None) if sys.argv[1:2] == ["search"] else None
    again = "give the same command again" if run is None else f"nastk search --resume {run}"
    return f"{reason} while writing {where or 'a file'}; make room, then {again}"
