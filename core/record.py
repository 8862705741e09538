"""JSON files of a run folder, checked once where they are read, whoever may have written them."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from .files import read_json

R = TypeVar("R", bound="Record")

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
    types.NoneType: "null",
}


@dataclass(frozen=True)
class Between:
    """Bounds of a number in a record, both of them allowed."""

    least: float
    most: float = math.inf


Count = Annotated[int, Between(0)]
"""A number of things."""
Seconds = Annotated[float, Between(0)]
"""A time that was spent."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record(Mapping[str, Any]):
    """A JSON object of known fields: attributes of these, and every entry by its key.

    Subclasses declare their fields with types: `bool`, `int`, `float` (finite), `str`, `Any`, None,
    unions, lists and dicts of these, other records, `Annotated[int, Between(0, 9)]`. One without a
    default has to be there. What else the file holds is kept, for other versions of nastk.

    Attributes:
        content: all entries, as JSON holds them.
        source: what they were read from, for messages.
    """

    content: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    source: str = dataclasses.field(default="", repr=False, compare=False)

    def __getitem__(self, key: str) -> Any:
        """Return an entry.

        Raises:
            ValueError: if it is missing, naming the file.
        """
        if key not in self.content:
            raise ValueError(f"{self.source} is damaged: it misses {key!r}")
        return self.content[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return an entry, or the default where it is missing."""
        return self.content.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self.content

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self.content) == dict(other)

    __hash__ = None  # type: ignore[assignment]


_OWN = {field.name for field in dataclasses.fields(Record)}


def filled(record: Record) -> dict[str, Any]:
    """Return the entries of a record, and the defaults of those that its file misses.

    Example:
        >>> @dataclass(frozen=True, kw_only=True, eq=False)
        ... class Row(Record):
        ...     seeds: int = 0
        >>> filled(as_record({"name": "found"}, Row, "rows.json"))
        {'name': 'found', 'seeds': 0}
    """
    return {**record.content, **{k: _filled(getattr(record, k)) for k in _fields_of(type(record))}}


def _filled(value: Any) -> Any:
    if isinstance(value, Record):
        return filled(value)
    if isinstance(value, list):
        return [_filled(part) for part in value]
    return {k: _filled(v) for k, v in value.items()} if isinstance(value, dict) else value


def read_record(path: Path, kind: type[R]) -> R:
    """Return the record in a file.

    Raises:
        ValueError: naming the file, if an entry is missing, or of another type than declared.
    """
    return as_record(read_json(path), kind, str(path))


def as_record(content: Mapping[str, Any], kind: type[R], source: str) -> R:
    """Return entries as the record that they have to be.

    Args:
        content: the entries.
        kind: of the record.
        source: what they were read from.

    Raises:
        ValueError: naming the source, if an entry is missing, or of another type than declared.

    Example:
        >>> @dataclass(frozen=True, kw_only=True, eq=False)
        ... class Row(Record):
        ...     loss_nats: float | None
        >>> as_record({"loss_nats": 0.5}, Row, "rows.json").loss_nats
        0.5
        >>> as_record({"loss_nats": "low"}, Row, "rows.json")
        Traceback (most recent call last):
        ValueError: rows.json is damaged: its loss_nats is 'low', expected a number or null
    """
    try:
        return _record(content, kind, source, "")
    except _WrongError as error:
        raise ValueError(f"{source} is damaged: {error}") from None


def checked(value: Any, hint: Any, source: str) -> Any:
    """Return what a file holds besides objects, a list say, if it is of a type.

    Raises:
        ValueError: naming the source, if it is not.

    Example:
        >>> checked(["a.png"], list[str], "skipped.json")
        ['a.png']
    """
    try:
        return _checked(value, hint, source, "")
    except _WrongError as error:
        raise ValueError(f"{source} is damaged: {error}") from None


class _WrongError(Exception):
    """An entry is not what it has to be."""


def _record(content: Any, kind: type[R], source: str, within: str) -> R:
    if not isinstance(content, Mapping):
        raise _WrongError(_said(within, content, "an object"))
    given: dict[str, Any] = {}
    for name, (hint, is_needed) in _fields_of(kind).items():
        where = f"{within}.{name}" if within else name
        if name in content:
            given[name] = _checked(content[name], hint, source, where)
        elif is_needed:
            raise _WrongError(f"it misses {where!r}")
    return kind(content=content, source=source, **given)


_cache: dict[type, dict[str, tuple[Any, bool]]] = {}


def _fields_of(kind: type[Record]) -> dict[str, tuple[Any, bool]]:
    """Return type and need of each field, which are found once."""
    if kind not in _cache:
        hints = typing.get_type_hints(kind, include_extras=True)
        _cache[kind] = {
            field.name: (
                hints[field.name],
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING,
            )
            for field in dataclasses.fields(kind)
            if field.name not in _OWN
        }
    return _cache[kind]


def _checked(value: Any, hint: Any, source: str, where: str) -> Any:
    """Return a value as its type has it: an object that is a record as a record."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, hint, parts, source, where)
    if origin is Annotated:
        return _bounded(_checked(value, parts[0], source, where), hint, parts[1], where)
    if origin is list and isinstance(value, list):
        return [_checked(v, parts[0], source, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        start = f"{where}." if where else ""
        return {k: _checked(v, parts[1], source, f"{start}{k}") for k, v in value.items()}
    if isinstance(hint, type) and issubclass(hint, Record):
        return _record(value, hint, source, where)
    if not _fits(value, origin or hint):
        raise _WrongError(_said(where, value, _wanted(hint)))
    return value


def _one_of(value: Any, hint: Any, parts: tuple[Any, ...], source: str, where: str) -> Any:
    inner = [part for part in parts if part is not types.NoneType]
    if value is None and len(inner) < len(parts):
        return None
    if len(inner) == 1 and typing.get_origin(inner[0]) in (list, dict):
        return _checked(value, inner[0], source, where)  # which says what is wrong inside
    for part in inner:
        try:
            return _checked(value, part, source, where)
        except _WrongError:
            continue
    raise _WrongError(_said(where, value, _wanted(hint)))


def _bounded(value: Any, hint: Any, bounds: Between, where: str) -> Any:
    if not bounds.least <= value <= bounds.most:
        raise _WrongError(_said(where, value, _wanted(hint)))
    return value


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return type(value) is kind or (kind in (list, dict) and isinstance(value, kind))


def _wanted(hint: Any) -> str:
    """Return a type in words."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_wanted, parts)))
    if origin is Annotated:
        least, most = parts[1].least, parts[1].most
        most_words = "" if math.isinf(most) else f" and at most {most:,.0f}"
        return f"{_wanted(parts[0])} of at least {least:,.0f}{most_words}"
    if isinstance(hint, type) and issubclass(hint, Record):
        return "an object"
    return _WORDS.get(origin or hint, str(hint))


def _said(where: str, value: Any, wanted: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"its {where or 'content'} is {shown}, expected {wanted}"
