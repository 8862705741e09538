"""What a user wants other than in a recipe: as text, as a dict or in a file."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from ..core.check import typed_options
from ..core.lookup import lookup
from .recipe import ANY, MOST, Recipe

SETTINGS: Mapping[str, None] = dict.fromkeys(
    field.name for field in dataclasses.fields(Recipe) if field.name != "name"
)
"""What may be other than in a recipe of a name."""
_KINDS = {field.name: field.type for field in dataclasses.fields(Recipe)}


def asked_changes(recipe: str | Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Return the name of a recipe that is asked for, if any, and what is other than in it.

    Args:
        recipe: a name, also with changes as `small:epochs=10,lr=0.002`, or changes alone as
            `:clip=1`; a TOML file whose keys are
            the fields of `Recipe`, where `name` says from which it starts; or a dict of these.

    Raises:
        ValueError: if the file cannot be read, a recipe has no such setting, or its value means
            nothing.

    Example:
        >>> asked_changes({"name": "small", "lr": 0.01}), asked_changes("small:clip=1")
        (('small', {'lr': 0.01}), ('small', {'clip': 1.0}))
    """
    if recipe is None:
        return None, {}
    given = recipe if isinstance(recipe, Mapping) else _read(str(recipe))
    for key in given:
        lookup("setting of a recipe", key, {"name": None, **SETTINGS})
    name = given.get("name")
    if name is not None and not isinstance(name, str):
        raise ValueError(f"a recipe takes as name the name of another, got {name!r:.60}")
    changes = {k: v for k, v in given.items() if k != "name" and v is not None}
    if name is not None and (":" in name or name.endswith(".toml")):
        name, inner = asked_changes(name)
        changes = inner | changes
    check_changes(**changes)
    return name, changes


def _read(text: str) -> dict[str, Any]:
    """Return what a file of a recipe says, or what a name with changes means."""
    if text.endswith(".toml"):
        try:
            return tomllib.loads(Path(text).read_bytes().decode("utf-8-sig"))
        except OSError as error:
            raise ValueError(f"cannot read the recipe {text}: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(f"{text} is not TOML: {error}") from None
    name, colon, changes = text.partition(":")
    given: dict[str, Any] = {"name": name} if name else {}
    for change in changes.split(",") if colon else ():
        key, _, value = change.partition("=")
        lookup("setting of a recipe", key, SETTINGS)
        given[key] = _value(text, key, value)
    return given


def _value(text: str, key: str, value: str) -> Any:
    """Return the value of a setting that stands in a text."""
    kind = _KINDS[key]
    if kind == "str":
        return value
    if kind == "bool":
        return lookup(f"value of {key}", value, {"true": True, "false": False})
    try:
        return int(value) if kind == "int" else float(value)
    except ValueError:
        raise ValueError(f"recipe {text!r}: {key} takes a number, got {value!r:.60}") from None


def with_changes(recipe: Recipe, **changes: Any) -> Recipe:
    """Return a recipe of which some settings are others, which its name then says.

    So many epochs are no more, however few updates they are.

    Args:
        recipe: to begin with.
        changes: of its settings; None leaves one as it is.

    Raises:
        ValueError: if a setting means nothing.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    check_changes(**given)
    is_freed = recipe.least_steps > 0 and "epochs" in given and "least_steps" not in given
    for key in ("epochs", "batch_size", "accumulation", "least_steps"):
        if key in given:
            given[key] = int(given[key])
    given = {k: float(v) if _KINDS[k] == "float" else v for k, v in given.items()}
    usual = {key for key, value in given.items() if getattr(recipe, key) == value}
    given = {k: v for k, v in given.items() if k not in usual or (k == "epochs" and is_freed)}
    if not given:
        return recipe
    ordered = {key: given[key] for key in (*_FIRST, *SETTINGS) if key in given}
    text = ",".join(f"{key}={_text(value)}" for key, value in ordered.items())
    if is_freed:
        recipe = dataclasses.replace(recipe, least_steps=0)
    joint = "," if ":" in recipe.name else ":"
    changed = dataclasses.replace(recipe, **ordered, name=f"{recipe.name}{joint}{text}")
    if changed.final_lr > changed.lr and not {"lr", "final_lr"}.isdisjoint(given):
        raise ValueError(
            f"the rate falls to final_lr, but {changed.final_lr:g} is above the lr "
            f"{changed.lr:g}: lower one or raise the other"
        )
    return changed


_FIRST = ("epochs", "batch_size", "lr")  # in names, as version 0.2 began them


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_changes(**changes: Any) -> None:
    """Refuse values that mean nothing.

    Raises:
        ValueError: naming the setting.
    """
    for key in changes:
        lookup("setting of a recipe", key, SETTINGS)
    for name in ("epochs", "batch_size"):
        value = changes.get(name)
        if value is None or (_is_number(value) and 1 <= value <= MOST and value == int(value)):
            continue
        raise ValueError(
            f"--{name.replace('_', '-')} takes a whole number of at least 1 and at most "
            f"{MOST:,}, got {value!r:.60}"
        )
    lr = changes.get("lr")
    if lr is not None and not (_is_number(lr) and 0 < lr <= MOST):
        raise ValueError(f"--lr takes a rate above 0 and at most {MOST:,}, got {lr!r:.60}")
    rest = {k: v for k, v in changes.items() if k not in _FIRST and v is not None}
    if rest:
        typed_options(Recipe, rest)
        dataclasses.replace(ANY, **rest)


def check_for_supernet(changes: Mapping[str, Any]) -> None:
    """Refuse what single networks alone can do.

    Raises:
        ValueError: naming it.
    """
    if changes.get("drop_path"):
        raise ValueError(
            "a supernet drops no paths, since a block whose shortcut is searched ends in one "
            "operator: leave out drop_path, or give it to retrain"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
