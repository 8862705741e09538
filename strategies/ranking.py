"""What a supernet and untrained networks say of every arch: one additive score with its error.

Three kinds of figures are regressed on what archs and mixtures consist of. They fail in different
places: the losses of training steps under mixtures and those of archs with inherited weights know
operations and skips, the activation patterns of untrained networks steady short supernets and
spaces of widths. Each counts by how well it tells the losses of archs with inherited weights, which
it has not seen. Pairs of candidates have effects where that tells more of what was not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core.cost import Indices
from ..core.polynomial import Polynomial
from ..core.sampler import sample
from ..core.space import Space
from ..core.streams import Stream
from .effects import Array, Features, held_out, ranks, ridge

# A archs or mixtures, S single features, F features, R resamples

_MEASURED = 2000  # random archs over which scores are brought to one scale
_RESAMPLES = 40
_CLEARLY = 0.02  # of the variance of figures not seen, that pairs have to tell more of
_MOST_CORRELATED = 0.95  # no score is believed more than one of this correlation


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """One kind of figure, lower is better, and what it was measured on.

    Attributes:
        name: of the figure.
        rows: [A, F] features of each arch or mixture.
        values: [A] the figures, on a scale on which effects add up.
        single: S, how many of the features are of single candidates; all if None.
        may_pair: whether pairs of candidates may have effects.
        strength: of the ridge.
        pairs_strength: the same where pairs of candidates have effects.
        is_measure: whether these are what other figures are measured by: losses of archs that
            inherit a supernet's weights. All such figures of a ranking are of the same archs.
    """

    name: str
    rows: Array
    values: Array
    single: int | None = None
    may_pair: bool = True
    strength: float = 1.0
    pairs_strength: float = 3.0
    is_measure: bool = False

    def effects(self, chosen: NDArray[np.int64] | slice = slice(None)) -> Array:
        """Return the effects [F] by all figures, or by those at the positions that are given."""
        effects_F = np.zeros(self.rows.shape[1])
        width = self._width(self.has_pairs)
        effects_F[:width] = self._fit(self.rows[chosen], self.values[chosen], self.has_pairs)
        return effects_F

    @cached_property
    def has_pairs(self) -> bool:
        """Whether effects of pairs tell more of figures not seen than those of candidates alone."""
        is_single = not self.may_pair or self._width(False) == self._width(True)
        if is_single or len(self.values) < 4:
            return False
        told = [correlation(self._held_out(flag), self.values) ** 2 for flag in (False, True)]
        return told[1] > told[0] + _CLEARLY

    def _width(self, has_pairs: bool) -> int:
        count = self.rows.shape[1]
        return count if has_pairs or self.single is None else self.single

    def _fit(self, rows_AF: Array, values_A: Array, has_pairs: bool) -> Array:
        strength = self.pairs_strength if has_pairs else self.strength
        return ridge(rows_AF[:, : self._width(has_pairs)], values_A, strength)

    def _held_out(self, has_pairs: bool) -> Array:
        rows_AF = self.rows[:, : self._width(has_pairs)]
        return held_out(rows_AF, self.values, lambda r, v: self._fit(r, v, has_pairs))

    @cached_property
    def explained(self) -> float:
        """The share of the variance of figures that the effects tell without having seen them."""
        if len(self.values) < 4 or self.values.std() == 0:
            return 0.0
        return correlation(self.told, self.values) ** 2

    @cached_property
    def told(self) -> Array:
        """[A] what the effects tell of each figure without having seen it."""
        return self._held_out(self.has_pairs)

    def reliability(self, rows_AF: Array) -> float:
        """Return how far two halves of the figures say the same of other archs, from 0 to 1.

        It is the correlation of the scores by every second figure with those by the others,
        stepped up to the whole length (Spearman and Brown).
        """
        if len(self.values) < 4:
            return 0.0
        first, second = (rows_AF @ self.effects(slice(start, None, 2)) for start in (0, 1))
        half = correlation(first, second)
        return 2 * half / (1 + half)


def correlation(first_A: Array, second_A: Array) -> float:
    """Return the correlation, 0 where it is negative or one side does not vary."""
    if first_A.std() == 0 or second_A.std() == 0:
        return 0.0
    return max(0.0, float(np.corrcoef(first_A, second_A)[0, 1]))


def _shares(weights: dict[str, float]) -> dict[str, float]:
    """Return weights whose sum is 1, unless all are 0."""
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total > 0 else weights


class Ranking:
    """The weighted sum of several scores, each of deviation 1 over random archs.

    A score that tells the measured losses of archs it has not seen with correlation r has a weight
    in proportion to r / (1 - r^2), that of independent witnesses of one thing. Without such losses
    a score counts as far as its halves agree.

    Attributes:
        figures: what was measured.
        weights: of each in the sum, together 1; 0 for all where nothing is known.
        effects_F: on the score, higher is better.
        resampled_RF: the same from resampled figures, whose spread is the error of the score.
    """

    def __init__(self, space: Space, figures: Sequence[Figures], seed: int) -> None:
        self.space, self.figures = space, list(figures)
        self.features = Features(space)
        drawn = sample(space, _MEASURED, Stream.SCORE_SCALE.generator(seed))
        self._rows_AF = self.features.of_archs(drawn)
        self.weights = self._weights()
        self.effects_F = self._sum([figures.effects() for figures in self.figures])
        resamples = Stream.RESAMPLES.generator(seed)
        self.resampled_RF = np.array([self._resampled(resamples) for _ in range(_RESAMPLES)])

    @property
    def knows(self) -> bool:
        """Whether anything at all was learned."""
        return bool(self.effects_F.any())

    @cached_property
    def polynomial(self) -> Polynomial:
        """The score of every arch, higher is better."""
        return self.features.polynomial(self.effects_F)

    def score(self, indices: Indices) -> Array:
        """Return [A] the scores of archs given as candidate indices."""
        result: Array = self.features.of_archs(indices) @ self.effects_F
        return result

    def behind(self, indices: Indices) -> tuple[Array, Array]:
        """Return [A] how far archs are behind the first of them in score, and the errors of that.

        Args:
            indices: of candidates, the first arch that of the highest score.
        """
        rows_AF = self.features.of_archs(indices)
        rest_AF = rows_AF[0] - rows_AF
        errors: Array = (rest_AF @ self.resampled_RF.T).std(1)
        return rest_AF @ self.effects_F, errors

    @cached_property
    def added(self) -> Array:
        """[S] what each candidate adds to the score, the mean over the others."""
        return self.features.of_candidates(self.effects_F)

    @cached_property
    def errors(self) -> Array:
        """[S] the standard error of what each candidate adds."""
        resampled = [self.features.of_candidates(effects_F) for effects_F in self.resampled_RF]
        result: Array = np.std(resampled, 0)
        return result

    def _weights(self) -> dict[str, float]:
        measures = [figures for figures in self.figures if figures.is_measure]
        if not measures:
            return _shares({f.name: f.reliability(self._rows_AF) for f in self.figures})
        rows_AF = measures[0].rows
        measured_A = sum((f.values / (f.values.std() or 1.0) for f in measures), np.zeros(1))
        result = {}
        for figures in self.figures:
            told_A = figures.told if figures.is_measure else rows_AF @ figures.effects()
            r = min(correlation(ranks(told_A), ranks(measured_A)), _MOST_CORRELATED)
            result[figures.name] = r / (1 - r**2)
        return _shares(result)

    def _resampled(self, generator: np.random.Generator) -> Array:
        effects = []
        for figures in self.figures:
            size = len(figures.values)
            effects.append(figures.effects(generator.integers(size, size=size)))
        return self._sum(effects)

    def _sum(self, effects: Sequence[Array]) -> Array:
        """Return one score from effects on what is to be low, one by figure."""
        total = np.zeros(self._rows_AF.shape[1])
        for figures, costs_F in zip(self.figures, effects, strict=True):
            deviation = float((self._rows_AF @ costs_F).std())
            if deviation > 0:
                total -= self.weights[figures.name] / deviation * costs_F
        return total
