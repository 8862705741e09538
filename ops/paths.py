"""Alternatives of structure: one of several operators runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator
from ..core.supernet import extract_part
from ..core.trace import active_tracer, gate


def paths(choice: Value | Choice, operators: Mapping[Value, Callable[[], nn.Module]]) -> nn.Module:
    """Return the chosen operator, or all of them behind one choice.

    Each path has weights of its own, and they are not summed: a mixture runs the path of its
    largest weight, and its output carries the gradient of that weight (a straight-through gate).

    Args:
        choice: the name of a path, or a choice of them.
        operators: what makes each path; only those that can be chosen are made.

    Raises:
        ValueError: if a candidate names no path.
    """
    values = choice.values if isinstance(choice, Choice) else (choice,)
    if unknown := [value for value in values if value not in operators]:
        raise ValueError(f"no path {unknown[0]!r}; there are {', '.join(map(repr, operators))}")
    if isinstance(choice, Choice):
        return MetaPaths(choice, [operators[value]() for value in values])
    return operators[choice]()


class MetaPaths(MetaOperator):
    """Operators of which one runs."""

    def __init__(self, choice: Choice, operators: list[nn.Module]) -> None:
        super().__init__()
        self.choice, self.operators = choice, nn.ModuleList(operators)
        choice.slot.require_sample("path")

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the path that is decided or sampled."""
        if (tracer := active_tracer()) is not None:
            tracer.use(self.choice, range(len(self.operators)))
            for number, operator in enumerate(self.operators):
                with gate(self.choice, [n == number for n in range(len(self.operators))]):
                    y: Tensor = operator(x)
            return y
        slot = self.choice.slot
        y = self.operators[cast(int, slot.index)](x)
        return y if slot.gate is None else y * slot.gate.to(y)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain path of `arch`."""
        number = self.choice.position(arch[self.choice.name])
        return extract_part(self.operators[number], arch)
