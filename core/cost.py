"""What every arch of a space costs, from one pass of meta tensors through its supernet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .choice import Choice
from .holding import Gate
from .polynomial import Polynomial
from .supernet import Supernet
from .trace import Layer, Use, trace

Indices = Mapping[str, NDArray[np.int64]]

METRICS = ("flops", "params", "activations")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost polynomials of a space, and which choices make which others idle.

    FLOPs are multiply-adds at batch 1 of convolutions, linear layers and products of tensors (those
    of attention, matmul, einsum), whatever module asks for them. Params are all scalars of
    `parameters()` of the built network: frozen and unused ones too, each tensor once. Activations
    are the elements of the outputs of convolutions and linear layers at batch 1; a matmul with a
    parameter is a linear layer, one of two features (as in attention) adds none.
    """

    choices: Mapping[str, Choice]
    layers: tuple[Layer, ...]
    uses: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)

    @classmethod
    def trace(cls, supernet: Supernet, *inputs: Tensor) -> Cost:
        """Run inputs through the supernet and collect what its operators cost.

        Raises:
            ValueError: if a choice reaches no operator.
        """
        tracer = trace(supernet.network, *inputs)
        uses: dict[str, tuple[Use, ...]] = {
            name: tuple(use for use in tracer.uses if use.choice == name)
            for name in supernet.choices
        }
        if unused := [name for name, found in uses.items() if not found]:
            raise ValueError(
                f"choice {unused[0]!r} reaches no operator; give it to an operator of nastk.ops, "
                "or do not ask for it"
            )
        return cls(choices=supernet.choices, layers=tuple(tracer.layers), uses=uses)

    @cached_property
    def flops(self) -> Polynomial:
        """Multiply-adds of one forward pass at batch 1."""
        return sum((layer.flops for layer in self.layers), Polynomial.constant(0))

    @cached_property
    def params(self) -> Polynomial:
        """Scalars of the parameters of the built network."""
        return sum((layer.params for layer in self.layers), Polynomial.constant(0))

    @cached_property
    def activations(self) -> Polynomial:
        """Elements of the outputs of convolutions and linear layers at batch 1."""
        return sum((layer.activations for layer in self.layers), Polynomial.constant(0))

    def polynomial(self, metric: str) -> Polynomial:
        """Return the polynomial of one of `METRICS`."""
        result: Polynomial = getattr(self, metric)
        return result

    def count(self, indices: Mapping[str, int]) -> dict[str, int]:
        """Return flops, params and activations of one arch."""
        one = {name: np.array([index]) for name, index in indices.items()}
        return {metric: int(getattr(self, metric).evaluate(one)[0]) for metric in METRICS}

    def by_layer(self, indices: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Return the counts of one arch for every layer by its name; they sum to those of all."""
        one = {name: np.array([index]) for name, index in indices.items()}
        rows: dict[str, dict[str, int]] = {}
        for layer in self.layers:
            row = rows.setdefault(layer.name, dict.fromkeys(METRICS, 0))
            for metric in METRICS:
                row[metric] += int(getattr(layer, metric).evaluate(one)[0])
        return rows

    def active(self, indices: Indices) -> dict[str, NDArray[np.bool_]]:
        """Return, for every choice, [A] whether it matters to each of A archs."""
        count = len(next(iter(indices.values()))) if indices else 1
        result = {name: np.ones(count, dtype=bool) for name in self.choices}
        for name, contexts in self._contexts.items():
            used = np.zeros(count, dtype=bool)
            for gates in contexts:
                runs = np.ones(count, dtype=bool)
                for gate_name, alive in gates:
                    runs &= alive[indices[gate_name]]
                used |= runs
            result[name] = used
        return result

    @cached_property
    def _contexts(self) -> dict[str, list[list[tuple[str, NDArray[np.bool_]]]]]:
        """The different sets of gates behind which each choice that can be idle is used."""
        gates = {name: {use.gates for use in uses} for name, uses in self.uses.items()}
        return {
            name: [[(gate, np.array(alive)) for gate, alive in context] for context in contexts]
            for name, contexts in gates.items()
            if () not in contexts
        }

    def canonical(self, indices: Mapping[str, int]) -> dict[str, int]:
        """Return the indices with every idle choice at its first candidate."""
        one = {name: np.array([index]) for name, index in indices.items()}
        active = self.active(one)
        return {name: index if active[name][0] else 0 for name, index in indices.items()}

    @cached_property
    def parents(self) -> dict[str, Gate | None]:
        """The innermost gate of each choice, where all its uses agree on one; else None."""
        result: dict[str, Gate | None] = {}
        for name in self.choices:
            innermost = {use.gates[-1] if use.gates else None for use in self.uses[name]}
            result[name] = innermost.pop() if len(innermost) == 1 else None
        return result

    @property
    def log10_size(self) -> float:
        """Logarithm (base 10) of the number of different archs.

        An upper bound where one choice serves several blocks that can be skipped.
        """
        total = 0.0
        weights = completions(self)
        for name, vector in weights.items():
            if self.parents[name] is None:
                total += math.log10(float(sum(vector)))
        return total


def completions(
    cost: Cost, tilt: Mapping[str, NDArray[np.float64]] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return, for every candidate, the weight of all settings of the choices that hang on it.

    Args:
        cost: the space.
        tilt: weight of each candidate by itself, 1 unless given.

    Returns:
        For each choice a vector over its candidates. Choosing from the top with probabilities in
        proportion to these vectors draws from the product of the tilts over different archs.
    """
    parents = cost.parents
    weights = {
        name: np.ones(len(choice.candidates)) if tilt is None else tilt[name].copy()
        for name, choice in cost.choices.items()
    }
    depth = {name: max((len(use.gates) for use in cost.uses[name]), default=0) for name in weights}
    for name in sorted(weights, key=lambda n: -depth[n]):
        if (parent := parents[name]) is not None:
            gate_name, alive = parent
            weights[gate_name] *= np.where(alive, weights[name].sum(), 1.0)
    return weights
