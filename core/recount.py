"""Whether what a space says of its costs is what its networks cost, tried on a few archs.

An operator that is not nastk's is counted once, as it runs in the supernet. Where it would do more
or less in another arch, say since it multiplies features whose width is chosen, the count is wrong
for all archs but one, and the space is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from .choice import Value
from .constraint import Constraint
from .cost import METRICS, Cost
from .holding import Context
from .trace import trace

_TRIES = 20  # draws of an arch that no rule of the space excludes
_DRAWN = 2  # archs beyond those that show every candidate


def recount(
    owner: str,
    cost: Cost,
    build: Callable[[Mapping[str, Value]], nn.Module],
    input_shape: Sequence[int],
    constraints: Sequence[Constraint] = (),
) -> None:
    """Build archs that show every candidate of every choice at work, and count them.

    Args:
        owner: name of the space.
        cost: of the space.
        build: makes the network of the values of all choices.
        input_shape: of one input.
        constraints: rules between choices.

    Raises:
        ValueError: if a network costs something else than the space says, with the module.
    """
    for indices in _archs(cost, constraints):
        values = {name: c.candidates[indices[name]] for name, c in cost.choices.items()}
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build(values).eval()
            built = Cost(
                choices={}, layers=tuple(trace(network, torch.empty(1, *input_shape)).layers)
            )
        said, found = cost.count(indices), built.count({})
        if said != found:
            metric = next(name for name in METRICS if said[name] != found[name])
            where = _culprit(metric, cost, indices, built, dict(network.named_modules()))
            raise ValueError(
                f"{owner}: the {metric} of {where} depend on choices in a way that nastk cannot "
                f"see: it counts {said[metric]:,} where the network of {_shown(values)} has "
                f"{found[metric]:,}; keep what it reads and holds equal for all candidates, or "
                "build it from operators of nastk.ops"
            )


def _archs(cost: Cost, constraints: Sequence[Constraint]) -> Iterator[dict[str, int]]:
    """Yield archs in which every candidate of every choice is at work, as far as rules allow."""
    sizes = {name: len(choice.candidates) for name, choice in cost.choices.items()}
    generator = np.random.default_rng(0)
    left = [(name, n) for name, size in sizes.items() for n in range(size)]
    seen = []
    for given in _plans(cost, left):
        indices = _allowed(sizes, given, constraints, generator)
        if indices is not None and indices not in seen:
            seen.append(indices)
            yield indices
        shown = indices or given
        active = cost.active({name: np.array([n]) for name, n in shown.items()})
        done = given | {name: n for name, n in shown.items() if active[name][0]}
        left[:] = [(name, n) for name, n in left if done.get(name) != n]


def _plans(cost: Cost, left: Sequence[tuple[str, int]]) -> Iterator[dict[str, int]]:
    """Yield what archs must have: the first candidates, the last, those left, and anything."""
    yield dict.fromkeys(cost.choices, 0)
    yield {name: len(choice.candidates) - 1 for name, choice in cost.choices.items()}
    while given := _together(cost, left):
        yield given
    for _ in range(_DRAWN):
        yield {}


def _together(cost: Cost, left: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Return candidates that one arch can show at work, as many as possible."""
    given: dict[str, int] = {}
    for name, number in left:
        for use in cost.uses[name]:
            wanted = _opening(use.gates, given | {name: number})
            if wanted is not None and given.get(name, number) == number:
                given |= wanted | {name: number}
                break
    return given


def _opening(gates: Context, given: Mapping[str, int]) -> dict[str, int] | None:
    """Return candidates that open all gates and agree with what is given, None if none do."""
    wanted = {}
    for gate in {name for name, _ in gates}:
        alive = np.all([alive for name, alive in gates if name == gate], axis=0)
        options = [given[gate]] if gate in given else range(len(alive))
        if not (fitting := [n for n in options if alive[n]]):
            return None
        wanted[gate] = int(fitting[0])
    return wanted


def _allowed(
    sizes: Mapping[str, int],
    given: dict[str, int],
    constraints: Sequence[Constraint],
    generator: np.random.Generator,
) -> dict[str, int] | None:
    """Return a random arch with the given candidates that keeps the rules, None if none does."""
    for _ in range(_TRIES):
        indices = {name: int(generator.integers(size)) for name, size in sizes.items()} | given
        one = {name: np.array([index]) for name, index in indices.items()}
        if all(constraint.allows(one)[0] for constraint in constraints):
            return indices
    return None


def _culprit(
    metric: str,
    cost: Cost,
    indices: Mapping[str, int],
    built: Cost,
    modules: Mapping[str, nn.Module],
) -> str:
    """Return the first module whose count differs, as far as names tell."""
    said, found = cost.by_layer(indices), built.by_layer({})
    for name, counts in found.items():
        if name in said and said[name][metric] != counts[metric] and name in modules:
            return f"{type(modules[name]).__name__} at {name!r}"
    return "its networks"


def _shown(values: Mapping[str, Value], most: int = 4) -> str:
    words = [f"{name} {value!r}" for name, value in list(values.items())[:most]]
    return ", ".join(words) + (", ..." if len(values) > most else "")
