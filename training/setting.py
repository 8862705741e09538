"""Settings of a strategy that say themselves which values make sense."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_COUNTED = 1_000_000
"""Of anything that a strategy counts."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which values of a setting make sense; None stands for a default and is not looked at.

    Attributes:
        least: the smallest number.
        most: the largest.
        above: numbers have to be above this...
        below: ...and below this.
        among: names.
        why: said behind the least that is wanted.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    among: Sequence[str] | None = None
    why: str = ""

    def hold(self, value: Any) -> bool:
        """Tell whether a value makes sense."""
        if self.among is not None:
            return value in self.among
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    @property
    def wanted(self) -> str:
        """What makes sense, in words."""
        if self.among is not None:
            return f"one of {', '.join(self.among)}"
        if self.above is not None:
            return f"a number above {self.above:,}"
        if self.below is not None:
            return f"a share of at least {self.least:,} and below {self.below:,}"
        least = f"at least {self.least:,}{self.why}"
        return least if self.most is None else f"{least} and at most {self.most:,}"


def setting(default: Any, **limits: Any) -> Any:
    """Return a field of a dataclass with the limits of its values.

    Example:
        >>> @dataclass
        ... class Mine:
        ...     rounds: int = setting(3, least=1)
        >>> check_settings("mine", Mine(rounds=0))
        Traceback (most recent call last):
        ValueError: mine takes as rounds at least 1; got 0
    """
    return dataclasses.field(default=default, metadata={"limits": Limits(**limits)})


def counted(default: int | None, least: int = 1) -> Any:
    """Return a field that counts something."""
    return setting(default, least=least, most=MOST_COUNTED)


def check_settings(owner: str, options: Any) -> None:
    """Refuse values of settings that make no sense.

    Args:
        owner: whose they are, for the message.
        options: a dataclass; where it gives a setting another default, the limits stay those of
            the class that it is derived from.

    Raises:
        ValueError: naming the setting.
    """
    for name, limits in _limits_of(type(options)).items():
        value = getattr(options, name)
        if value is None or limits.hold(value):
            continue
        got = f"{value!r:.60}" if limits.among is not None else value
        raise ValueError(f"{owner} takes as {name} {limits.wanted}; got {got}")


def _limits_of(family: type) -> dict[str, Limits]:
    """Return the limits of settings by name, those of the most derived class that says any."""
    found: dict[str, Limits] = {}
    for base in reversed(family.__mro__):
        for field in base.__dict__.get("__dataclass_fields__", {}).values():
            if "limits" in field.metadata:
                found[field.name] = field.metadata["limits"]
    return found
