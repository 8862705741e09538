"""Which choices a space cannot see, because some candidates are one function there."""

from __future__ import annotations

from .choice import Value
from .space import Space

Blind = dict[str, tuple[tuple[Value, ...], ...]]


def observable(space: Space) -> Blind:
    """Return, for each choice with indistinguishable candidates, the sets of those.

    On a feature map of 2x2 or less the kernels 3, 5 and 7 are one function; rounding can make two
    widths equal. A search on such a space would let noise and budget decide.

    Returns:
        Choice name to sets of equal candidates, merged ones (no choice any more) included; empty
        where every choice can be seen.
    """
    blind: Blind = dict(space.merged)
    for name, choice in space.choices().items():
        classes: dict[object, list[Value]] = {}
        for index, candidate in enumerate(choice.candidates):
            signature = tuple(use.signature[index] for use in space.cost.uses[name])
            classes.setdefault(signature, []).append(candidate)
        if same := tuple(tuple(members) for members in classes.values() if len(members) > 1):
            blind[name] = blind.get(name, ()) + same
    return blind
