"""A Bayesian linear model of the loss of an arch, whose best arch is found exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.arch import Arch
from ..core.band import band_of
from ..core.budget import Budget
from ..core.cost import Indices
from ..core.polynomial import Polynomial
from ..core.sampler import sample
from ..core.space import Space
from ..core.streams import Stream
from .effects import indicator

# A archs, F features: scores first, then every candidate of every choice

_FEWEST_FOR_NOISE = 4  # losses from which the noise of a training is estimated
_FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)  # on the prior's noise, among which it is looked for
_MEASURED = 500  # random archs over which scores are brought to one scale


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is believed before any loss is known; losses are brought to deviation 1.

    Attributes:
        trend: mean effect of a score that has deviation 1 over random archs of the budget.
        trend_deviation: of that effect.
        candidate_deviation: of the effect of one candidate, around 0.
        own_deviation: of what an arch has that no feature says.
        noise_deviation: of one training.
        estimates_noise: whether that is only where the noise is looked for: it is then the
            deviation under which the losses are most probable, half to twice as much.
    """

    trend: float = -0.3
    trend_deviation: float = 0.3
    candidate_deviation: float = 0.25
    own_deviation: float = 0.3
    noise_deviation: float = 0.6
    estimates_noise: bool = False


class LinearModel:
    """Loss = sum of effects x features + what is the arch's own + noise, all Gaussian.

    Features are scores believed to be good, and every candidate where it is not idle. So a draw of
    the effects is a polynomial, whose best arch under a budget the solver finds.

    Args:
        space: whose archs are described.
        budget: archs of its band have scores of deviation 1.
        scores: higher is better.
        seed: of these archs.
        prior: of the effects.
        trends: mean effect of each score, the prior's where None.
    """

    def __init__(
        self,
        space: Space,
        budget: Budget,
        scores: Sequence[Polynomial],
        seed: int,
        prior: Prior | None = None,
        trends: Sequence[float] | None = None,
    ) -> None:
        self.prior, self._space = prior or Prior(), space
        band = band_of(space, budget).bounds
        drawn = sample(space, _MEASURED, Stream.MODEL_SCALE.generator(seed), band)
        self._features = [_scaled(score, drawn) for score in scores]
        for name, count in space.num_candidates.items():
            self._features += [indicator(space, name, index) for index in range(count)]
        self._rows: dict[str, NDArray[np.float64]] = {}
        is_score = np.arange(len(self._features)) < len(scores)
        self._mean_F = np.where(is_score, self.prior.trend, 0.0)
        if trends is not None:
            self._mean_F[: len(scores)] = trends
        self._deviation_F = np.where(
            is_score, self.prior.trend_deviation, self.prior.candidate_deviation
        )

    def posterior(
        self, archs: Sequence[Arch], losses: Sequence[float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean [F] and covariance [F, F] of the effects after these losses."""
        rows_AF, losses_A = self._centred(archs, losses)
        variance = self.prior.own_deviation**2 + self._noise(rows_AF, losses_A) ** 2
        precision = np.diag(self._deviation_F**-2.0) + rows_AF.T @ rows_AF / variance
        covariance: NDArray[np.float64] = np.linalg.inv(precision).astype(np.float64)
        known = self._mean_F / self._deviation_F**2 + rows_AF.T @ losses_A / variance
        return covariance @ known, covariance

    def smoothed(self, archs: Sequence[Arch], losses: Sequence[float]) -> NDArray[np.float64]:
        """Return [A] the expected losses of these archs, brought to scale."""
        rows_AF, losses_A = self._centred(archs, losses)
        expected_A = rows_AF @ self.posterior(archs, losses)[0]
        own, noise = self.prior.own_deviation**2, self._noise(rows_AF, losses_A) ** 2
        result: NDArray[np.float64] = expected_A + own / (own + noise) * (losses_A - expected_A)
        return result

    def _noise(self, rows_AF: NDArray[np.float64], losses_A: NDArray[np.float64]) -> float:
        """Return the deviation of one training: the prior's, or the likeliest around it."""
        prior = self.prior
        if not prior.estimates_noise or len(losses_A) < _FEWEST_FOR_NOISE:
            return prior.noise_deviation
        known_AA = (rows_AF * self._deviation_F**2) @ rows_AF.T
        known_AA += prior.own_deviation**2 * np.eye(len(losses_A))
        rest_A = losses_A - rows_AF @ self._mean_F

        def evidence(deviation: float) -> float:
            covariance_AA = known_AA + deviation**2 * np.eye(len(rest_A))
            size = np.linalg.slogdet(covariance_AA).logabsdet
            return float(-size - rest_A @ np.linalg.solve(covariance_AA, rest_A))

        return max((prior.noise_deviation * factor for factor in _FACTORS), key=evidence)

    def score(self, effects_F: NDArray[np.float64]) -> Polynomial:
        """Return what is higher the lower these effects expect the loss of an arch to be."""
        result = Polynomial()
        for feature, effect in zip(self._features, effects_F, strict=True):
            result = result + feature * -float(effect)
        return result

    def _centred(
        self, archs: Sequence[Arch], losses: Sequence[float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return features and losses around their means, the losses with deviation 1."""
        if not archs:
            return np.zeros((0, len(self._features))), np.zeros(0)
        rows_AF = np.array([self._row(arch) for arch in archs])
        losses_A = np.array(losses, dtype=np.float64)
        deviation = float(losses_A.std()) or 1.0
        return rows_AF - rows_AF.mean(0), (losses_A - losses_A.mean()) / deviation

    def _row(self, arch: Arch) -> NDArray[np.float64]:
        """Return the features [F] of an arch."""
        if arch.id not in self._rows:
            one = {k: np.array([i]) for k, i in self._space.indices(arch.choices).items()}
            values = [float(feature.evaluate(one)[0]) for feature in self._features]
            self._rows[arch.id] = np.array(values)
        return self._rows[arch.id]


def _scaled(score: Polynomial, drawn: Indices) -> Polynomial:
    """Return a score with deviation 1 over these archs, or 0 where they all have the same."""
    deviation = float(np.std(score.evaluate(drawn)))
    return score * (1 / deviation if deviation > 0 else 0.0)
