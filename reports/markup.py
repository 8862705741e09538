"""HTML and SVG text in which whatever is not markup is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

# The elements of HTML that have no content.
_VOID = {"img", "meta"}


class Markup(str):
    """Text that is HTML already; what is added to it and is none is escaped.

    Example:
        >>> Markup("<br>") + "<"
        '<br>&lt;'
    """

    def __add__(self, other: str) -> Markup:
        return join((self, other))


def join(parts: Iterable[Any]) -> Markup:
    """Put parts behind each other; those that are no `Markup` are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else _escaped(part) for part in parts))


def tag(name: str, /, *content: Any, **attributes: Any) -> Markup:
    """Return one element.

    Args:
        name: of the element.
        content: what stands in it; texts are escaped, None is left out.
        attributes: by name; a trailing underscore is dropped, other ones become hyphens, None
            leaves the attribute out, floats are written with two digits at most.

    Example:
        >>> print(tag("p", "1 < 2", class_="note", data_kind='a"b'))
        <p class="note" data-kind="a&quot;b">1 &lt; 2</p>
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(c for c in content if c is not None)}</{name}>")


def _escaped(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _short(value: Any) -> str:
    """Return a number without the digits that no picture shows."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
