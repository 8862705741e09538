"""Which files of the user's a file imports: a run keeps no copy of these, but knows them again."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ..core.files import file_sha256

_OWN = Path(__file__).resolve().parents[1]
_LARGE = 1 << 24  # bytes that no file of code has
_INSTALLED = {"site-packages", "dist-packages"}


def imported_files(file: Path) -> dict[str, str]:
    """Return the files that a file imports, and what these import in turn, each with its SHA-256.

    Only the user's: neither Python's own, nor nastk's, nor those of installed packages.

    Args:
        file: one that has run in this process, so that what it imports is loaded.
    """
    found: dict[str, str] = {}
    waiting: list[tuple[Path, str]] = [(file, "")]
    while waiting:
        place, package = waiting.pop()
        for module in _imported(place, package):
            path = Path(str(getattr(module, "__file__", None)))
            if path.suffix == ".py" and _is_users(path) and str(path) not in found:
                found[str(path)] = file_hash(path)
                waiting.append((path, module.__package__ or ""))
    return dict(sorted(found.items()))


def file_hash(file: str | Path) -> str:
    """Return the SHA-256 of a file, nothing where there is no such file, or none of code."""
    if "\0" in str(file) or not os.path.isfile(file) or os.path.getsize(file) > _LARGE:
        return ""
    return file_sha256(Path(file))


def _imported(file: Path, package: str) -> Iterator[ModuleType]:
    """Yield the loaded modules that the source of a file names."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            if node.level:
                try:
                    source = importlib.util.resolve_name(source, package)
                except ImportError:  # it has not been imported from there
                    continue
            names += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    for name in dict.fromkeys(names):
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            if module := sys.modules.get(".".join(parts[:end])):
                yield module


def _is_users(path: Path) -> bool:
    path = path.resolve()
    pythons = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib")]
    is_known = any(path.is_relative_to(place) for place in (_OWN, *map(Path, pythons)))
    return not is_known and not _INSTALLED & set(path.parts)
