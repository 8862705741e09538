"""Every space that can be built, by name or from a user's file."""

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
from typing import Any, TypeVar

from ..core.blame import blame, watch_file
from ..core.check import as_tuple, typed_options
from ..core.lookup import lookup
from ..core.space import Space
from ..core.stdout import prints_to_stderr
from ..search_spaces import SPACES
from .in_memory import held_class, is_in_memory
from .published import Published
from .t2t_variants import T2TVariant

FAMILIES: dict[str, type[Space]] = {
    **SPACES,
    Published.name: Published,
    T2TVariant.name: T2TVariant,
}

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


def find_space(name: str) -> type[Space]:
    """Return a space by its name, or from a file as `my_space.py:MySpace`.

    The file is run: give this function what was typed or what a run's manifest says, never what
    stands inside an arch.json or a weights file (that is for `named_space`).

    Raises:
        ValueError: if there is none; the message suggests the nearest name.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    return find_class(name, Space, "space", SPACES)


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
        return held
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


def named_space(name: str, source: Path) -> type[Space]:
    """Return a space that a file names; only nastk's own, since no code is run for it.

    Raises:
        ValueError: if the space is none of nastk's.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    raise ValueError(
        f"{source} is of space {name!r}, which is none of nastk's ({', '.join(sorted(SPACES))}); "
        "for a space of your own give the run folder, whose manifest knows its file"
    )


def make_space(family: type[Space], options: Mapping[str, Any]) -> Space:
    """Return a space with options that come from JSON, whose lists were tuples.

    Raises:
        ValueError: if the space has no such option or cannot use its value.
    """
    known = {field.name: field for field in dataclasses.fields(family)}
    for name in options:
        lookup(f"option of {family.name}", name, known)
    given = {name: as_tuple(value) for name, value in options.items()}
    typed_options(family, {k: v for k, v in options.items() if given[k] != known[k].default})
    try:
        return family(**given)
    except TypeError as error:
        raise ValueError(f"an option of {family.name} has the wrong type: {error}") from None
    except ArithmeticError as error:
        raise ValueError(f"an option of {family.name} has a wrong value: {error}") from None


def with_options(family: type[Space], options: Mapping[str, Any]) -> Space:
    """Return a space with options that a user typed, checked by name and type.

    Raises:
        ValueError: if the space has no such option, cannot use its value, or it is one of the
            sizes, which have options of their own.
    """
    for name, flag in {"resolution": "resolution", "num_classes": "classes"}.items():
        if name in options:
            raise ValueError(f"{name} is no option of a space here: give --target-{flag} instead")
    return make_space(family, typed_options(family, options))


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
