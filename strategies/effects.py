"""What each candidate adds to a figure, read from mixtures or archs by linear regression.

A supernet under a random mixture is one network, and its loss says something of every candidate in
proportion to its weight. So losses are regressed on the mixtures; the same features describe archs,
which are mixtures of one candidate each, and turn effects into a score that the solver maximises.
In spaces of few choices there is also a feature for every two candidates of different choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..core.cost import Indices
from ..core.polynomial import Polynomial
from ..core.space import Space
from ..core.tilt import gates_of

Array = NDArray[np.float64]

# A archs or mixtures, D choices, N candidates, S single features, F features

# More pairs of candidates the losses of a search do not tell apart, and the solver takes minutes.
MOST_PAIRS = 1000


class Features:
    """One feature for every candidate: its weight, times that of the gates which let it matter.

    Behind them stands one for every two candidates of different choices, their product, unless
    these are more than `MOST_PAIRS`.

    Attributes:
        choices: of the space.
        counts: of the candidates of each choice.
        names: choice and candidate index of each single feature.
        pairs: [P, 2] numbers of the two single features of each feature behind them.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.choices = list(space.num_candidates)
        self.counts = list(space.num_candidates.values())
        self.names = [(c, n) for c, count in space.num_candidates.items() for n in range(count)]
        numbered = enumerate(self.names)
        pairs = [(i, j) for (i, a), (j, b) in combinations(numbered, 2) if a[0] != b[0]]
        self.pairs = np.array(pairs if len(pairs) <= MOST_PAIRS else [], dtype=np.int64)
        self.pairs = self.pairs.reshape(-1, 2)

    def of_mixtures(self, probs_ADN: Array) -> Array:
        """Return [A, F] of mixtures; those of choices that may be idle shrink with their gates.

        Args:
            probs_ADN: weights of the candidates, choices in the order of the space.
        """
        row = {name: index for index, name in enumerate(self._space.choices())}
        columns = []
        for name, count in self._space.num_candidates.items():
            alive_A = np.ones(len(probs_ADN))
            for gate, alive in gates_of(self._space, name):
                alive_A = alive_A * (probs_ADN[:, row[gate], : len(alive)] @ np.array(alive, float))
            columns.append(probs_ADN[:, row[name], :count] * alive_A[:, None])
        single_AS = np.concatenate(columns, axis=1) if columns else np.zeros((len(probs_ADN), 0))
        first, second = self.pairs.T
        return np.concatenate([single_AS, single_AS[:, first] * single_AS[:, second]], axis=1)

    def of_archs(self, indices: Indices) -> Array:
        """Return [A, F] of archs given as candidate indices."""
        counts = self._space.num_candidates
        size = len(next(iter(indices.values())))
        probs_ADN = np.zeros((size, len(counts), max(counts.values())))
        for row, name in enumerate(counts):
            probs_ADN[np.arange(size), row, indices[name]] = 1
        return self.of_mixtures(probs_ADN)

    def polynomial(self, effects_F: Array) -> Polynomial:
        """Return the sum of the effects of the candidates, and pairs of them, that an arch has."""
        single, total = self._indicators, Polynomial()
        for number in np.flatnonzero(effects_F):
            feature = single[number] if number < len(single) else self._pair(number - len(single))
            total = total + feature * float(effects_F[number])
        return total

    def of_candidates(self, effects_F: Array) -> Array:
        """Return [S] what each candidate adds where all others are as probable as each other."""
        single_S = np.array(effects_F[: len(self.names)])
        means_S = np.array(
            [1 / dict(zip(self.choices, self.counts, strict=True))[c] for c, _ in self.names]
        )
        for (i, j), effect in zip(self.pairs, effects_F[len(self.names) :], strict=True):
            single_S[i] += effect * means_S[j]
            single_S[j] += effect * means_S[i]
        return single_S

    def _pair(self, number: int) -> Polynomial:
        first, second = self.pairs[number]
        return self._indicators[first] * self._indicators[second]

    @cached_property
    def _indicators(self) -> list[Polynomial]:
        """That of each single feature."""
        return [indicator(self._space, name, index) for name, index in self.names]


def indicator(space: Space, name: str, index: int) -> Polynomial:
    """Return what is 1 for archs of a candidate that is not idle, and 0 for others."""
    result = Polynomial.of(name, np.eye(space.num_candidates[name])[index])
    for gate, alive in gates_of(space, name):
        result = result * Polynomial.of(gate, [float(flag) for flag in alive])
    return result


def ridge(rows_AF: Array, values_A: Array, strength: float) -> Array:
    """Return the effects [F] of a ridge regression around the means."""
    centred, rest_A = rows_AF - rows_AF.mean(0), values_A - values_A.mean()
    if len(rows_AF) < rows_AF.shape[1]:  # the same by the smaller of the two matrices
        gram = centred @ centred.T + strength * np.eye(len(rows_AF))
        wide: Array = centred.T @ np.linalg.solve(gram, rest_A)
        return wide
    gram = centred.T @ centred + strength * np.eye(rows_AF.shape[1])
    effects: Array = np.linalg.solve(gram, centred.T @ rest_A)
    return effects


def without_trend(values_A: Array, degree: int = 2) -> Array:
    """Return what is left of a series when a polynomial of its position is taken out."""
    position = np.linspace(-1, 1, len(values_A))
    degree = min(degree, max(len(values_A) - 1, 0))
    trend = np.polynomial.polynomial.polyvander(position, degree)
    rest: Array = values_A - trend @ np.linalg.lstsq(trend, values_A, rcond=None)[0]
    return rest


def held_out(
    rows_AF: Array, values_A: Array, fit: Callable[[Array, Array], Array], folds: int = 5
) -> Array:
    """Return [A] what a fit on the other parts says of each part in turn, as a contiguous block.

    It is told how far a row is from the mean row, on one scale for all parts.
    """
    parts = np.array_split(np.arange(len(values_A)), min(folds, len(values_A)))
    told = np.zeros(len(values_A))
    for part in parts:
        others = np.setdiff1d(np.arange(len(values_A)), part)
        effects_F = fit(rows_AF[others], values_A[others])
        told[part] = (rows_AF[part] - rows_AF.mean(0)) @ effects_F
    return told


def logarithms(losses: Sequence[float] | Array) -> Array:
    """Return logarithms of losses; what is not finite or positive stands at the largest."""
    array = np.asarray(losses, dtype=np.float64)
    is_fine = np.isfinite(array) & (array > 0)
    largest = array[is_fine].max() if is_fine.any() else 1.0
    result: Array = np.log(np.where(is_fine, array, largest))
    return result


def ranks(values: Sequence[float] | Array) -> Array:
    """Return ranks from -1 to 1, those of equals at their mean; what is not finite comes last."""
    array = np.where(np.isfinite(values), values, np.inf)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts + 1) / 2
    result: Array = 2 * middle[inverse] / max(len(array) - 1, 1) - 1
    return result
