"""Classes that a Python program holds and no file has, under a name of their code.

A class of a notebook is known by `python:CLASS-HASH` while the process lives. A run records that
name; another process has to be given the class again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import CodeType
from typing import Any

KIND = "python"

_PLAIN = (bool, int, float, str, bytes, tuple, type(None))
_held: dict[str, type] = {}


def is_in_memory(name: str) -> bool:
    """Whether a run records this name of a class that no file has."""
    return name.startswith(f"{KIND}:")


def is_in_file(name: str) -> bool:
    """Whether a name is `FILE.py:CLASS`."""
    return ":" in name and not is_in_memory(name)


def hold_class(family: type) -> str:
    """Return the name of a class, by which `held_class` finds it from now on."""
    name = f"{KIND}:{family.__name__}-{code_hash(family)}"
    _held[name] = family
    return name


def held_class(name: str) -> Any:
    """Return the class of a name, None if this process was not given it."""
    return _held.get(name)


def code_hash(family: type) -> str:
    """Return eight digits of a hash of the methods and plain values of a class.

    Comments do not count, nor does what its methods call outside of it.
    """
    digest = hashlib.sha256()
    for code in _codes_of(family):
        digest.update(repr((code.co_name, *_essence(code))).encode())
    for name, member in plain_values(vars(family)).items():
        if not name.startswith("__"):
            digest.update(repr((name, member)).encode())
    return digest.hexdigest()[:8]


def plain_values(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some attributes that are numbers, text or the like."""
    return {name: member for name, member in members.items() if isinstance(member, _PLAIN)}


def _codes_of(family: type) -> list[CodeType]:
    """Return the code of the methods and properties that a class has of its own."""
    found = []
    for member in vars(family).values():
        for function in (member, *(getattr(member, part, None) for part in ("fget", "func"))):
            code = getattr(getattr(function, "__func__", function), "__code__", None)
            if isinstance(code, CodeType):
                found.append(code)
    return found


def _essence(code: CodeType) -> tuple[Any, ...]:
    """Return what a function does, without where it stands."""
    constants = (_constant(constant) for constant in code.co_consts)
    return (code.co_code, code.co_names, code.co_varnames, tuple(constants))


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _essence(value)
    if isinstance(value, frozenset):  # in another order in each process
        return sorted(map(repr, value))
    return value
