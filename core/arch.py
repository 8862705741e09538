"""An arch is one value for every choice; its JSON is all that crosses between commands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from .choice import Value
from .files import parse_json

if TYPE_CHECKING:
    import networkx
    from torch import nn

SCHEMA = 1


class _Builds(Protocol):
    """What a space is to its archs, which know it only by name."""

    def build(self, arch: Arch) -> nn.Module:
        """Return the network of an arch."""


@dataclass(frozen=True, kw_only=True)
class Arch:
    """One architecture of a space.

    Attributes:
        space: name of the space.
        options: options of the space for which the arch was found (resolution, classes...).
        choices: value of every choice; idle ones stand at their first candidate.

    Example:
        >>> arch = Arch(space="toy", options={}, choices={"kernel": 5})
        >>> Arch.from_json(arch.to_json()) == arch
        True
    """

    space: str
    options: Mapping[str, Any]
    choices: Mapping[str, Value]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle plain dicts, as the read-only views of them cannot be sent to a process."""
        return _arch, (self.space, dict(self.options), dict(self.choices))

    @property
    def id(self) -> str:
        """Short name of the arch: ten hexadecimal digits of the hash of its JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:10]

    def to_json(self) -> str:
        """Return canonical JSON: equal archs give equal bytes."""
        content = {
            "schema": SCHEMA,
            "space": self.space,
            "options": dict(self.options),
            "choices": dict(self.choices),
        }
        return json.dumps(content, sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Arch:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is not an arch, or one of another schema.
        """
        try:
            content = parse_json(text)
        except ValueError as error:
            raise ValueError(f"not an arch: the text is not JSON ({error})") from None
        if not isinstance(content, dict) or "schema" not in content:
            raise ValueError("not an arch: expected a JSON object with schema, space and choices")
        if content["schema"] != SCHEMA:
            raise ValueError(
                f"arch of schema {content['schema']!r}, this nastk reads schema {SCHEMA}; "
                "search again, or use the version of nastk that wrote it"
            )
        for key, kind in (("space", str), ("options", dict), ("choices", dict)):
            if not isinstance(content.get(key), kind):
                raise ValueError(f"not an arch: {key!r} is missing or no {kind.__name__}")
        for name, value in content["choices"].items():
            if not isinstance(value, int | float | str):
                raise ValueError(f"not an arch: choice {name!r} is {value!r:.60}, no value")
        return cls(space=content["space"], options=content["options"], choices=content["choices"])

    def graph(self, space: _Builds) -> networkx.DiGraph:
        """Return the layers of the built network as a directed graph.

        Args:
            space: the space of the arch, since an arch knows it only by name.
        """
        from .graph import network_graph

        return network_graph(space.build(self))


def _arch(space: str, options: dict[str, Any], choices: dict[str, Value]) -> Arch:
    return Arch(space=space, options=options, choices=choices)
