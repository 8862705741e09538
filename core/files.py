"""Writing so that a killed process leaves either the old file or the new one, never half of one."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by temporary name, fsync and rename.

    Raises:
        OSError: if the disk is full or not writable; the old file is then still there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Object(dict[str, Any]):
    """A JSON object that names its file when an entry is missing."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.path} is damaged: it misses {key!r}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; who asks for an entry that it misses is told the file.

    Raises:
        ValueError: naming the file, if it holds no JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:  # no UTF-8, or no JSON
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object")
    return _Object(content, path)


def jsonable(value: Any) -> Any:
    """Return a document that every JSON reader takes: numbers that are not finite become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [jsonable(part) for part in value]
    return value


def with_nan(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return written metrics as numbers again: what `jsonable` made null is not finite."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}
