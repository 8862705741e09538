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

from .lookup import lookup

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
            check_argument(name, value, hints()[name])
        return function(*args, **kwargs)

    return checked


def known_arguments(
    became: Mapping[str, str],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say of a keyword that a function does not take what it became, or which is nearest.

    Args:
        became: by former keyword, what to write today.

    Example:
        >>> @known_arguments({"steps": "steps are a setting of the strategy"})
        ... def search(space: str) -> None: ...
        >>> search("toy", steps=3)
        Traceback (most recent call last):
        TypeError: search() takes no steps=: steps are a setting of the strategy
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = inspect.signature(function).parameters

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name in became and name not in known:
                    raise TypeError(f"{function.__name__}() takes no {name}=: {became[name]}")
                try:
                    lookup(f"argument of {function.__name__}()", name, known)
                except ValueError as error:
                    raise TypeError(str(error)) from None
            return function(*args, **kwargs)

        return checked

    return decorate


def shown(value: object) -> str:
    """Return what a message says of a value: one short line.

    Example:
        >>> shown([0] * 99)
        '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,...'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_argument(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of a declared type, as far as that is a simple one.

    Raises:
        ValueError: with what it takes and what it got.
    """
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
