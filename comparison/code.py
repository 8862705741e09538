"""What names of spaces and data stand for, by which a training is known."""

from __future__ import annotations

import inspect
from pathlib import Path

from ..core.files import file_sha256
from ..core.in_memory import code_hash, is_in_file
from ..records.imported import imported_files
from ..tasks.named import added
from ..tasks.own import KIND as OWN
from ..tasks.own import is_own, source_of


def essence(name: str) -> str:
    """Return a space or a task by its name; one in a file by the content of that file alone."""
    file = _file_of(name)
    return name if file is None else f"{file_sha256(file)}:{name.rpartition(':')[2]}"


def essence_of_data(data: str) -> str:
    """Return data by their name, a task of a user's own by its essence."""
    return f"{OWN}:{essence(source_of(data))}" if is_own(data) else data


def code_behind(space: str, data: str) -> list[str]:
    """Return hashes of code that the names of space and data do not tell.

    That is of files of the user's that theirs import, and of a kind of data that a program has
    added.
    """
    task = source_of(data) if is_own(data) else ""
    imports = [imported_files(file) for file in map(_file_of, (space, task)) if file is not None]
    found = {sha256 for each in imports for sha256 in each.values()}
    kind = added(data)
    return sorted(found | ({_hash_of_code(kind.family)} if kind else set()))


def _file_of(name: str) -> Path | None:
    """Return the file of `FILE.py:CLASS`, None for what is known by name or held in memory."""
    return Path(name.rpartition(":")[0]) if is_in_file(name) else None


def _hash_of_code(family: type) -> str:
    """Return a hash of the file of a class, of its methods where it is in none."""
    try:
        return file_sha256(Path(inspect.getfile(family)))
    except (TypeError, OSError):  # of a notebook
        return code_hash(family)
