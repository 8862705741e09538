"""Arguments of the public functions, compared with the types that they declare."""

from __future__ import annotations

import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_CALLABLE: Any = typing.get_origin(Callable[..., Any])

# What a declared type accepts, and what it is called; numbers are looked at more closely elsewhere.
_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "text"),
    Path: ((os.PathLike,), "a path"),
    bool: ((bool,), "True or False"),
    int: ((Real,), "a whole number"),
    float: ((Real,), "a number"),
    Mapping: ((Mapping,), "a dict"),
    Sequence: ((list, tuple), "a list"),
}
_KINDS[_CALLABLE] = ((object,), "a function")


def typed_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that are not of the types that a function declares; a decorator.

    Parameters whose types are not all simple are left to the function.

    Example:
        >>> @typed_arguments
        ... def search(space: str, *, steps: int | None = None) -> None: ...
        >>> search("toy", steps=3)
        >>> search("toy", steps="many")
        Traceback (most recent call last):
        ValueError: steps= takes a whole number or None, got 'many'
    """
    signature = inspect.signature(function)

    @cache
    def hints() -> dict[str, Any]:
        return typing.get_type_hints(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # which Python says better
            return function(*args, **kwargs)
        for name, value in given.items():
            _check(name, value, hints()[name])
        return function(*args, **kwargs)

    return checked


def shown(value: object) -> str:
    """Return what a message says of a value: one short line.

    Example:
        >>> shown([0] * 99)
        '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,...'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check(name: str, value: Any, hint: Any) -> None:
    parts = typing.get_args(hint) if _is_union(hint) else (hint,)
    kinds = [typing.get_origin(part) or part for part in parts if part is not types.NoneType]
    if not all(kind in _KINDS for kind in kinds):
        return
    if value is None and types.NoneType in parts:
        return
    if any(_fits(value, kind) for kind in kinds):
        return
    words = list(dict.fromkeys(_KINDS[kind][1] for kind in kinds))
    wanted = " or ".join([*words, *(["None"] if types.NoneType in parts else [])])
    raise ValueError(f"{name}= takes {wanted}, got {shown(value)}")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _fits(value: Any, kind: Any) -> bool:
    if kind is _CALLABLE:
        return callable(value)
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, _KINDS[kind][0])
