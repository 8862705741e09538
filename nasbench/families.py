"""Every space that can be built, by name or from a user's file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.check import as_tuple, typed_options
from ..core.lookup import lookup
from ..core.own_code import find_class
from ..core.space import Space
from ..search_spaces import SPACES
from .published import Published
from .t2t_variants import T2TVariant

FAMILIES: dict[str, type[Space]] = {
    **SPACES,
    Published.name: Published,
    T2TVariant.name: T2TVariant,
}


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
    # Of the resolution the space itself says what it takes.
    changed = {k: v for k, v in options.items() if given[k] != known[k].default}
    typed_options(family, {k: v for k, v in changed.items() if k != "resolution"})
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
    check_no_sizes(options)
    return make_space(family, typed_options(family, options))


def check_no_sizes(options: Mapping[str, Any]) -> None:
    """Refuse sizes among the options of a space, which have options of their own.

    Raises:
        ValueError: naming the option.
    """
    flags = {"resolution": "target-resolution", "num_classes": "target-classes", "task": "task"}
    for name, flag in flags.items():
        if name in options:
            raise ValueError(f"{name} is no option of a space here: give --{flag} instead")
