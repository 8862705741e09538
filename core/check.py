"""Values that people type, compared with the types that a dataclass declares."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from .lookup import lookup

MOST_NUMBER = 10**12
"""Options are numbers of at most so much, so that what is computed from them stays one too."""

_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def check_types(owner: str, options: Any) -> None:
    """Refuse fields of a dataclass that are not of their declared type.

    Whole numbers pass as numbers; infinite ones, NaN and those beyond `MOST_NUMBER` do not.

    Args:
        owner: what the options belong to, for the message.
        options: an instance of a dataclass whose fields are `int`, `float`, `bool` or `str`,
            maybe None, or tuples of these; fields of other types are not looked at.

    Raises:
        ValueError: with the name of the field, what it takes and what it got.

    Example:
        >>> @dataclasses.dataclass
        ... class Options:
        ...     steps: int | None = None
        >>> check_types("search", Options(2.5))
        Traceback (most recent call last):
        ValueError: option steps of search has the wrong type: it takes a whole number, got 2.5
    """
    hints = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        hint, value = hints[field.name], getattr(options, field.name)
        is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        kinds = typing.get_args(hint) if is_union else (hint,)
        if value is None and type(None) in kinds:
            continue
        if typing.get_origin(hint) is tuple:
            _check_tuple(f"option {field.name} of {owner}", value, typing.get_args(hint))
            continue
        known = [kind for kind in kinds if kind in _WANTED]
        if known and not any(_fits(value, kind) for kind in known):
            wanted = " or ".join(_WANTED[kind] for kind in known)
            raise ValueError(
                f"option {field.name} of {owner} has the wrong type: it takes {wanted}, "
                f"got {value!r:.60}"
            )
        _check_size(f"option {field.name} of {owner}", value)


def typed_options(family: type, options: Mapping[str, Any], known: Any = None) -> dict[str, Any]:
    """Return options of a dataclass that a user typed, checked by name and type.

    Args:
        family: the dataclass, which has a `name`.
        options: by name; lists become tuples.
        known: names that a user may set, all fields if None.

    Raises:
        ValueError: with what would have been understood.
    """
    known = [field.name for field in dataclasses.fields(family)] if known is None else known
    owner = getattr(family, "name", family.__name__)
    for name in options:
        lookup(f"option of {owner}", name, dict.fromkeys(known))
    hints = typing.get_type_hints(family)
    given = {name: as_tuple(value) for name, value in options.items()}
    fields = [(name, hints[name]) for name in given]
    check_types(owner, dataclasses.make_dataclass("Given", fields)(**given))
    return given


def as_tuple(value: Any) -> Any:
    """Return lists as tuples, at every depth: what JSON makes of a tuple back again."""
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value


def _check_tuple(what: str, value: Any, kinds: tuple[Any, ...]) -> None:
    """Refuse what is no tuple of simple values; tuples of others are not looked at."""
    if kinds[0] not in _WANTED:
        return
    is_right = isinstance(value, tuple) and all(_fits(part, kinds[0]) for part in value)
    if is_right and (len(value) == len(kinds) if kinds[-1] is not ... else len(value) > 0):
        for part in value:
            _check_size(what, part)
        return
    shown = list(value) if isinstance(value, tuple) else value
    length = "one or more" if kinds[-1] is ... else str(len(kinds))
    raise ValueError(
        f"{what} has the wrong type: it takes a list [...], each part {_WANTED[kinds[0]]}, "
        f"{length} of them; got {shown!r:.60}"
    )


def _check_size(what: str, value: Any) -> None:
    if isinstance(value, int | float) and abs(value) > MOST_NUMBER:
        raise ValueError(f"{what} takes numbers of at most {MOST_NUMBER:.0e}, got {value!r:.40}")


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return type(value) is kind
