"""Which archs hold a module: params count where a network has them, whether they run or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from .meta import MetaOperator
from .polynomial import Polynomial

Gate = tuple[str, tuple[bool, ...]]
"""A choice, and for each of its candidates whether something exists."""

Context = tuple[Gate, ...]
"""The gates that must all be open."""

_LISTS = (nn.ParameterList, nn.ParameterDict)
_MOST_CELLS = 10**6  # of a table over the choices that decide together about a shared module


@dataclass
class Held:
    """The modules of a network and in which contexts the network of an arch has them.

    Attributes:
        contexts: of every module.
        operators: those that depend on choices and hold weights, which they tell themselves.
    """

    contexts: dict[nn.Module, set[Context]] = field(default_factory=dict)
    operators: list[MetaOperator] = field(default_factory=list)
    _owned: set[nn.Module] = field(default_factory=set)

    def of(self, module: nn.Module, runs: Mapping[nn.Module, set[Context]]) -> set[Context]:
        """Return the contexts of a module; one that the network does not list is where it runs."""
        return self.contexts.get(module) or runs.get(module) or {()}

    def constants(self) -> Iterator[tuple[nn.Module, int, set[Context]]]:
        """Yield every parameter that depends on no choice: its module, scalars and contexts.

        One that several modules share comes once, with the contexts of all of them.
        """
        told = {id(p) for module in self._owned for p in module.parameters(recurse=False)}
        found: dict[int, tuple[nn.Module, int, set[Context]]] = {}
        for module, contexts in self.contexts.items():
            for parameter in module.parameters(recurse=False):
                if id(parameter) not in told:
                    row = (module, parameter.numel(), set[Context]())
                    found.setdefault(id(parameter), row)[2].update(contexts)
        yield from found.values()


def held_by(network: nn.Module, runs: Mapping[nn.Module, set[Context]]) -> Held:
    """Return which modules the network of an arch has.

    A plain module has all its parts, those that never run as well. An operator of choices has the
    parts of the candidates that are chosen, and runs each of them under the gates of its own.

    Args:
        network: of a supernet, or plain.
        runs: the contexts in which each module has run.
    """
    held = Held()

    def visit(module: nn.Module, contexts: set[Context], owner: MetaOperator | None) -> None:
        known = held.contexts.setdefault(module, set())
        if known and contexts <= known:
            return
        known |= contexts
        if isinstance(module, MetaOperator):
            owner = module
        if module is owner or (owner is not None and isinstance(module, _LISTS)):
            held._owned.add(module)
            if module._parameters and owner not in held.operators:
                held.operators.append(owner)
        for child in module.children():
            if owner is not None and child in runs:
                visit(child, runs[child], None)
            else:  # a list inside an operator does not run, what it lists does
                visit(child, contexts, owner)

    visit(network, {()}, None)
    return held


def context_of(gates: Context) -> Polynomial:
    """Return 1 where all gates are open, else 0."""
    active = Polynomial.constant(1)
    for name, alive in gates:
        active = active * Polynomial.of(name, [int(flag) for flag in alive])
    return active


def presence(contexts: Iterable[Context]) -> Polynomial:
    """Return 1 where at least one context holds, else 0.

    Raises:
        ValueError: if the contexts depend on more choices than a table can list.

    Example:
        >>> either = presence([(("a", (True, False)),), (("b", (True, False)),)])
        >>> either.tables["a", "b"]
        array([[1, 1],
               [1, 0]])
    """
    gates = [frozenset(context) for context in contexts]
    least = {one for one in gates if not any(other < one for other in gates)}
    if len(least) == 1:
        return context_of(tuple(sorted(next(iter(least)))))
    sizes = {name: len(alive) for context in least for name, alive in context}
    if math.prod(sizes.values()) > _MOST_CELLS:
        raise ValueError(
            f"a module is part of {len(least)} branches that {len(sizes)} choices can leave out, "
            "too many to count its params; give every branch a module of its own"
        )
    names = sorted(sizes)
    absent = np.ones([sizes[name] for name in names], dtype=np.int64)
    for context in least:
        here = np.ones_like(absent)
        for name, alive in context:
            shape = [-1 if other == name else 1 for other in names]
            here = here * np.array(alive, dtype=np.int64).reshape(shape)
        absent = absent * (1 - here)
    return Polynomial.joint(names, 1 - absent)
