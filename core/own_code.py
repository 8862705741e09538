"""Classes of a user's own, by the file that has them: `FILE.py:CLASS`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from .blame import blame, watch_file
from .in_memory import held_class, is_in_memory
from .lookup import lookup
from .stdout import prints_to_stderr

T = TypeVar("T")

_importing: list[Path] = []  # files of users that run at this moment


class UnguardedScriptError(ValueError):
    """A script is also the file of a space, and does its work whenever it is imported."""


def check_guard() -> None:
    """Refuse to work for a file that is only being imported for its classes.

    Raises:
        UnguardedScriptError: naming the file.
    """
    if _importing:
        raise UnguardedScriptError(
            f"{_importing[-1]} is imported for a class in it and then calls nastk again; put what "
            'it does below its classes under: if __name__ == "__main__":'
        )


def find_class(name: str, base: type[T], kind: str, known: Mapping[str, type[T]]) -> type[T]:
    """Return a class by its name, from a file as `FILE.py:CLASS`, or one given in Python.

    Args:
        name: what was typed or what a run's manifest says; a file is run.
        base: what it has to be derived from.
        kind: what it is called in messages.
        known: nastk's own, by name.

    Raises:
        ValueError: if there is none, or it lacks a method; the message says what there is.
    """
    if is_in_memory(name):
        if (held := held_class(name)) is None:
            raise ValueError(f"the {kind} {name} was given in Python, to another process than this")
        return cast(type[T], held)
    path, colon, attribute = name.rpartition(":")
    if not colon:
        if name.endswith(".py"):
            raise ValueError(f"{name} is a file: say which class of it, as {name}:CLASS")
        return lookup(kind, name, known)
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"no file {path}; a {kind} of your own is given as FILE.py:CLASS")
    module = _module_of(file.resolve(), file.stat().st_mtime_ns)
    found = getattr(module, attribute, None)
    if not isinstance(found, type) or not issubclass(found, base):
        there = [name for name, member in vars(module).items() if _is_own(member, base, module)]
        hint = f"; it defines {', '.join(there)}" if there else ""
        raise ValueError(f"{path} defines no {base.__name__} {attribute!r}{hint}")
    check_whole(found, kind)
    return found


def check_whole(found: type, kind: str) -> None:
    """Refuse a class that lacks methods, or whose options are not those that it shows.

    Raises:
        ValueError: naming them.
    """
    if lacking := sorted(getattr(found, "__abstractmethods__", ())):
        raise ValueError(f"{kind} {found.__name__} has no method {' and no '.join(lacking)} yet")
    for field in dataclasses.fields(found) if dataclasses.is_dataclass(found) else ():
        shown = getattr(found, field.name, field.default)
        if isinstance(shown, int | float | str) and shown != field.default:
            raise ValueError(
                f"{kind} {found.__name__} says {field.name} = {shown!r}, which makes no option of "
                f"it: write {field.name}: {type(shown).__name__} = {shown!r}, and above the class "
                "@dataclass(frozen=True, kw_only=True)"
            )


def _is_own(member: Any, base: type, module: ModuleType) -> bool:
    is_class = isinstance(member, type) and issubclass(member, base)
    return is_class and member.__module__ == module.__name__


@lru_cache(maxsize=16)
def _module_of(file: Path, modified_ns: int) -> ModuleType:
    """Run a user's file once for each of its versions, so that its classes stay the same."""
    name = f"nastk_space_{hashlib.sha256(os.fsencode(f'{file} {modified_ns}')).hexdigest()[:10]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no Python file; a class of your own is given as FILE.py:CLASS")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _importing.append(file)
    watch_file(file)
    try:
        with prints_to_stderr(), redirect_stdout(sys.stderr):  # of processes, and of Python
            # Not by the loader, which would believe a compiled file beside this one.
            exec(compile(file.read_bytes(), file, "exec"), vars(module))
    except UnguardedScriptError:
        raise
    except Exception as error:
        place = blame(error) or file
        raise ValueError(f"{place}: cannot be run: {type(error).__name__}: {error}") from error
    finally:
        _importing.pop()
    return module
