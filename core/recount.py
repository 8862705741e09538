"""Whether what a space says of its costs is what its networks cost, tried on a few archs.

An operator that is not nastk's is counted once, as it runs in the supernet. Where it would do more
or less in another arch, say since it multiplies features whose width is chosen, the count is wrong
for all archs but one, and the space is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from .choice import Value
from .constraint import Constraint
from .cost import METRICS, Cost
from .holding import Context
from .spec import Spec, examples
from .trace import trace

_TRIES = 20  # draws of an arch that no rule of the space excludes
_FEWEST, _LAYERS = 8, 4000  # archs at least; layers of all archs together, beyond that
_DRAWN = 2  # archs beyond those that show every candidate


def recount(
    owner: str,
    cost: Cost,
    build: Callable[[Mapping[str, Value]], nn.Module],
    inputs: Sequence[Spec],
    constraints: Sequence[Constraint] = (),
) -> None:
    """Build archs that show the candidates of every choice at work, and count them.

    Where large networks have choices of many candidates, not every one of these comes up.

    Args:
        owner: name of the space.
        cost: of the space.
        build: makes the network of the values of all choices.
        inputs: of the networks.
        constraints: rules between choices.

    Raises:
        ValueError: if a network costs something else than the space says, with the module.
    """
    for indices in _archs(cost, constraints):
        recount_one(owner, cost, build, inputs, indices)


def recount_one(
    owner: str,
    cost: Cost,
    build: Callable[[Mapping[str, Value]], nn.Module],
    inputs: Sequence[Spec],
    indices: Mapping[str, int],
) -> None:
    """Build one arch, given by the candidate index of every choice, and count it; see `recount`."""
    values = {name: c.candidates[indices[name]] for name, c in cost.choices.items()}
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build(values).eval()
        traced = trace(network, *examples(inputs, device="meta"))
        built = Cost(choices={}, layers=tuple(traced.layers))
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
    """Yield archs in which every candidate of every choice is at work, as far as can be."""
    sizes = {name: len(choice.candidates) for name, choice in cost.choices.items()}
    generator = np.random.default_rng(0)
    # Those that the fewest candidates of others let work come first, to need those candidates once.
    ordered = sorted(sizes, key=lambda name: min(_openness(use.gates) for use in cost.uses[name]))
    left = [(name, n) for name in ordered for n in range(sizes[name])]
    most = max(_FEWEST, _LAYERS // max(len(cost.layers), 1))
    seen: list[dict[str, int]] = []
    for given in _plans(cost, left, constraints):
        done = given
        if (indices := _completed(sizes, given, constraints, generator)) is not None:
            if len(seen) == most:
                return
            if indices not in seen:
                seen.append(indices)
                yield indices
            active = cost.active({name: np.array([n]) for name, n in indices.items()})
            done = {name: n for name, n in indices.items() if active[name][0]}
        left[:] = [(name, n) for name, n in left if done.get(name) != n]


def _plans(
    cost: Cost, left: Sequence[tuple[str, int]], constraints: Sequence[Constraint]
) -> Iterator[dict[str, int]]:
    """Yield what archs must have: the first candidates, the last, those left, and anything."""
    ends = (
        dict.fromkeys(cost.choices, 0),
        {name: len(choice.candidates) - 1 for name, choice in cost.choices.items()},
    )
    yield from (end for end in ends if _fits(end, constraints))
    while given := _together(cost, left, constraints):
        yield given
    for _ in range(_DRAWN):
        yield {}


def _together(
    cost: Cost, left: Sequence[tuple[str, int]], constraints: Sequence[Constraint]
) -> dict[str, int]:
    """Return candidates that one arch can show at work, as many as possible."""
    given: dict[str, int] = {}
    for name, number in left:
        if given.get(name, number) != number:
            continue
        for use in cost.uses[name]:
            opened = _opening(use.gates, given | {name: number})
            if opened is not None and _fits(given | opened | {name: number}, constraints):
                given |= opened | {name: number}
                break
    return given


def _fits(given: Mapping[str, int], constraints: Sequence[Constraint]) -> bool:
    """Tell whether some arch with these candidates keeps each of the rules."""
    for rule in constraints:
        least = [
            term.values[given[term.name]] if term.name in given else min(term.values)
            for term in rule.terms
        ]
        if sum(least) > rule.high:
            return False
    return True


def _openness(gates: Context) -> float:
    """Return the share of archs for which all gates are open."""
    return math.prod(sum(alive) / len(alive) for _, alive in gates)


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


def _completed(
    sizes: Mapping[str, int],
    given: dict[str, int],
    constraints: Sequence[Constraint],
    generator: np.random.Generator,
) -> dict[str, int] | None:
    """Return a random arch with the given candidates that keeps the rules, None if none is found.

    The last try takes the smallest terms of the rules.
    """
    smallest = {
        term.name: term.values.index(min(term.values))
        for rule in constraints
        for term in rule.terms
    }
    for number in range(_TRIES):
        indices = {name: int(generator.integers(size)) for name, size in sizes.items()}
        indices |= (smallest if number == _TRIES - 1 else {}) | given
        one = {name: np.array([index]) for name, index in indices.items()}
        if all(rule.allows(one)[0] for rule in constraints):
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
