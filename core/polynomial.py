"""Cost of every arch of a space as one polynomial, so that counting needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Table = NDArray[np.int64] | NDArray[np.float64]


class Polynomial:
    """A sum of tables, each over the joint candidates of a few choices.

    A product of factors of different choices is the outer product of their vectors; factors of
    the same choice merge into one vector before that, since E[d^2] is not E[d]^2. Terms over the
    same set of choices are added into one table.

    Example:
        >>> width = Polynomial.of("width", (8, 16))
        >>> cost = width * width * 9 + 100
        >>> cost.evaluate({"width": np.array([0, 1])})
        array([ 676, 2404])
    """

    def __init__(self, tables: Mapping[tuple[str, ...], Table] | None = None) -> None:
        self.tables: dict[tuple[str, ...], Table] = dict(tables or {})

    @classmethod
    def of(cls, name: str, values: Sequence[float] | Table) -> Polynomial:
        """Return the factor that takes `values[n]` where choice `name` takes candidate n."""
        return cls({(name,): np.asarray(values)})

    @classmethod
    def joint(cls, names: Sequence[str], values: Table) -> Polynomial:
        """Return the factor `values[n, m, ...]` over the joint candidates of different choices.

        Example:
            >>> Polynomial.joint(["b", "a"], np.array([[1, 2, 3], [4, 5, 6]])).tables["a", "b"]
            array([[1, 4],
                   [2, 5],
                   [3, 6]])
        """
        order = sorted(range(len(names)), key=lambda axis: names[axis])
        table: Table = values.transpose(order)
        return cls({tuple(names[axis] for axis in order): table})

    @classmethod
    def constant(cls, value: float) -> Polynomial:
        """Return a polynomial that does not depend on any choice."""
        return cls({(): np.asarray(value)})

    @property
    def names(self) -> list[str]:
        """Names of the choices that the polynomial depends on."""
        return sorted({name for key in self.tables for name in key})

    def __add__(self, other: Polynomial | float) -> Polynomial:
        other = _lift(other)
        tables = dict(self.tables)
        for key, table in other.tables.items():
            tables[key] = tables[key] + table if key in tables else table
        return Polynomial(tables)

    __radd__ = __add__

    def __mul__(self, other: Polynomial | float) -> Polynomial:
        other = _lift(other)
        result = Polynomial()
        for key_a, a in self.tables.items():
            for key_b, b in other.tables.items():
                key = tuple(sorted({*key_a, *key_b}))
                product = _spread(a, key_a, key) * _spread(b, key_b, key)
                result.tables[key] = (
                    result.tables[key] + product if key in result.tables else product
                )
        return result

    __rmul__ = __mul__

    def evaluate(self, indices: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the exact value for many archs at once.

        Args:
            indices: for every choice, [A] candidate index of each of A archs.

        Returns:
            [A] values, integers where the tables hold integers.
        """
        count = len(next(iter(indices.values()))) if indices else 1
        total: Any = np.zeros(count, dtype=np.int64)
        for key, table in self.tables.items():
            flat = np.zeros(count, dtype=np.int64)
            for name, size in zip(key, table.shape, strict=True):
                flat = flat * size + indices[name]
            total = total + table.reshape(-1)[flat]
        result: NDArray[np.int64] = total
        return result

    def expectation(self, order: Sequence[str]) -> Expectation:
        """Return the differentiable mean under mixtures, choices numbered by `order`."""
        return Expectation(self, order)


class Expectation:
    """The mean of a polynomial under independent mixtures, differentiable and batched by shape."""

    def __init__(self, polynomial: Polynomial, order: Sequence[str]) -> None:
        row = {name: index for index, name in enumerate(order)}
        self._constant = 0.0
        by_shape: dict[tuple[int, ...], list[tuple[list[int], Table]]] = {}
        for key, table in polynomial.tables.items():
            if key:
                by_shape.setdefault(table.shape, []).append(([row[n] for n in key], table))
            else:
                self._constant += float(table)
        self._batches = [
            (
                torch.tensor([rows for rows, _ in members]),
                torch.from_numpy(np.stack([t for _, t in members]).astype(np.float64)),
            )
            for members in by_shape.values()
        ]
        self._copies: dict[torch.device, list[tuple[Tensor, Tensor]]] = {}

    def __call__(self, probs_DN: Tensor) -> Tensor:
        """Return the expected value, float64.

        Args:
            probs_DN: [..., D, N] mixture of each choice, zero behind its last candidate.

        Returns:
            [...], a scalar for one mixture of each choice.
        """
        probs = probs_DN.double()
        lead = probs.shape[:-2]
        total = torch.full(lead, self._constant, dtype=probs.dtype, device=probs.device)
        for rows, tables in self._on(probs.device):
            value = tables
            for axis in reversed(range(rows.shape[1])):
                count = value.shape[-1]
                weights = probs[..., rows[:, axis], :count]
                value = (value * weights.reshape(*lead, len(rows), *[1] * axis, count)).sum(-1)
            total = total + value.sum(-1)
        return total

    def slope(self, probs_DN: Tensor) -> Tensor:
        """Return [D, N] the derivative in each probability: what a candidate costs at the margin.

        Args:
            probs_DN: [D, N] mixture of each choice, zero behind its last candidate.
        """
        with torch.enable_grad():
            probs = probs_DN.detach().double().requires_grad_()
            if not self._batches:
                return torch.zeros_like(probs)
            (result,) = torch.autograd.grad(self(probs), probs)
        return result

    def _on(self, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """Return rows and tables on a device, copied there once."""
        if device not in self._copies:
            self._copies[device] = [(r.to(device), t.to(device)) for r, t in self._batches]
        return self._copies[device]


def _lift(value: Polynomial | float) -> Polynomial:
    return value if isinstance(value, Polynomial) else Polynomial.constant(value)


def _spread(table: Table, key: tuple[str, ...], onto: tuple[str, ...]) -> Table:
    """Reshape a table over `key` so that it broadcasts over the sorted superset `onto`."""
    sizes = dict(zip(key, table.shape, strict=True))
    ordered = np.transpose(table, [key.index(name) for name in sorted(key)])
    return ordered.reshape([sizes.get(name, 1) for name in onto])
