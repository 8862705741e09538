"""Which code of a run folder may run: what this process was told, and what the user said before.

A run keeps a copy of the user's files that it needs. Whoever receives such a folder receives code
that he has not read; it runs only behind `--trust`, which is remembered for that folder and that
content of the file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.blame import watch_file
from ..core.files import file_sha256, read_json, write_atomically
from ..core.in_memory import held_class, is_in_file, is_in_memory
from ..core.manifest import Manifest
from ..core.printable import printable
from ..core.record import checked
from ..core.run import Run
from ..core.space import Space
from ..nasbench.families import find_space
from ..tasks.own import is_held, open_task
from .imported import file_hash, imported_files

CODE = "code"  # the folder within a run
ROLES = ("space", "evaluator", "strategy", "task")  # what may be FILE.py:CLASS
_log = logging.getLogger(__name__)
_trusted_now: set[tuple[str, str]] = set()
_said: set[str] = set()


class UntrustedCodeError(ValueError):
    """A run needs code that the user has not said to trust, or has not given to this process."""


def keep_code(names: Mapping[str, Any], run: Path) -> dict[str, dict[str, Any]]:
    """Copy the files that the user has named into a run and trust them there.

    Args:
        names: a manifest's space, evaluator, strategy and task: a name each, or `FILE.py:CLASS`.
        run: the folder.

    Returns:
        What the manifest says of the copies, by role.
    """
    roles = [role for role in ROLES if is_in_file(str(names.get(role, "")))]
    return {role: _keep_file(role, names[role], run) for role in roles}


def _keep_file(role: str, name: str, run: Path) -> dict[str, Any]:
    """Copy the file of `FILE.py:CLASS` into a run and trust it there.

    Returns:
        What the manifest says of it: `file` (within the run), `sha256` and, where it imports other
        files of the user's, `imports`.
    """
    file = Path(name.rpartition(":")[0]).expanduser().resolve()
    content = file.read_bytes()
    folder = run / CODE
    folder.mkdir(exist_ok=True)
    copy = folder / file.name
    if copy.exists() and copy.read_bytes() != content:  # of another folder's file of that name
        copy = folder / f"{role}-{file.name}"
    if not copy.exists():
        write_atomically(copy, content)
    watch_file(copy.resolve(), file)
    sha256 = hashlib.sha256(content).hexdigest()
    _remember(run, sha256)
    imports = imported_files(file)
    about = {"file": f"{CODE}/{copy.name}", "sha256": sha256}
    return about | ({"imports": imports} if imports else {})


def trust(run: str | Path) -> list[str]:
    """Let the code that a run folder brings along run, now and later, and return its files.

    It is remembered in `$XDG_STATE_HOME/nastk/trusted.json` (`~/.local/state` where that is not
    set) by the folder and the content of each file: a file that changes is not trusted.

    Raises:
        ValueError: if the folder holds no run.
    """
    folder = Path(run)
    manifest = Run.open(folder).manifest
    roles = [role for role in ROLES if is_in_file(str(getattr(manifest, role) or ""))]
    files = [_file_of(role, manifest, folder) for role in roles]
    for file in files:
        _remember(folder, file_sha256(file))
    return [str(file) for file in files]


def code_name(role: str, manifest: Manifest, run: Path) -> str:
    """Return what a manifest names in a role, as its space or strategy: a name, or FILE.py:CLASS.

    Args:
        role: of `ROLES`.
        manifest: of the run.
        run: its folder.

    Raises:
        UntrustedCodeError: if it is in a file that the user does not trust.
        ValueError: if the file is gone.
    """
    name = str(manifest[role])
    if is_in_memory(name) and held_class(name) is None:
        raise UntrustedCodeError(
            f"the {role} of {run} was given in Python and is in no file: give it there again, "
            f"nastk.resume({str(run)!r}, {role}={name.partition(':')[2].rpartition('-')[0]})"
        )
    if not is_in_file(name):
        return name
    file = _file_of(role, manifest, run)
    if not _is_trusted(run, file_sha256(file)):
        raise UntrustedCodeError(
            f"{run} brings code of its own, {file}, which does not run unless you trust it: read "
            "it, then add --trust (in Python: nastk.trust(RUN))"
        )
    _compare_original(role, manifest, file)
    return f"{file}:{name.rpartition(':')[2]}"


def recorded_space(manifest: Manifest, run: Path) -> type[Space]:
    """Return the space of a run, and open its task; code runs only where the user trusts it.

    Raises:
        ValueError: if one of them is in a file that the user does not trust, or that is gone.
    """
    if manifest.task is not None and not is_held(manifest.data):
        open_task(manifest.data, code_name("task", manifest, run))
    return find_space(code_name("space", manifest, run))


def _file_of(role: str, manifest: Manifest, run: Path) -> Path:
    """Return the copy that a run keeps; one of version 0.1 names the user's own file by its path.

    Raises:
        ValueError: if it is gone.
    """
    folder, kept = run.resolve(), manifest.code.get(role)
    file = folder / (str(manifest[role]).rpartition(":")[0] if kept is None else kept.file)
    try:
        is_copy, is_there = file.resolve().is_relative_to(folder / CODE), file.is_file()
    except (ValueError, OSError, RuntimeError):  # no file can have such a name
        is_copy = is_there = False
    if kept is not None and not is_copy:
        named = repr(str(file))
        raise ValueError(f"{manifest.source} is damaged: {named} is no copy in the run's {CODE}/")
    if not is_there:
        raise ValueError(f"{run} needs the file {file}, which is not there; put it back")
    return file


def _compare_original(role: str, manifest: Manifest, file: Path) -> None:
    """Say once that the user's own files are not any more what the run was begun with."""
    kept = manifest.code.get(role)
    for place, sha256 in ({} if kept is None else kept.imports).items():
        if place not in _said and file_hash(place) != sha256:
            _said.add(place)
            _log.warning(
                "%s has changed since the search, and %s imports it: of that the run has no copy, "
                "so that its networks may be others now",
                *(printable(place), file),
            )
    original = Path(manifest[role].rpartition(":")[0])
    if str(file) in _said or file == original or not original.is_file():
        return
    if file_sha256(original) == file_sha256(file):
        watch_file(file, original)
    else:
        _said.add(str(file))
        _log.warning("%s has changed since the search; this run uses its copy %s", original, file)


def _store() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home, "nastk", "trusted.json")


def _known() -> dict[str, list[str]]:
    file = _store()
    if not file.is_file():
        return {}
    try:
        known: dict[str, list[str]] = checked(read_json(file), dict[str, list[str]], str(file))
        return known
    except ValueError as error:
        raise ValueError(f"{error}; remove it, and say --trust again where you do") from None


def _is_trusted(run: Path, sha256: str) -> bool:
    folder = str(run.resolve())
    return (folder, sha256) in _trusted_now or sha256 in _known().get(folder, [])


def _remember(run: Path, sha256: str) -> None:
    folder = str(run.resolve())
    _trusted_now.add((folder, sha256))
    try:
        known = _known()
        if sha256 not in known.get(folder, []):
            known[folder] = [*known.get(folder, []), sha256]
            _store().parent.mkdir(parents=True, exist_ok=True)
            write_atomically(_store(), (json.dumps(known, indent=1) + "\n").encode())
    except (OSError, ValueError) as error:
        _log.warning("that %s is trusted cannot be remembered: %s", folder, error)
