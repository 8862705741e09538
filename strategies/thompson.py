"""Thompson sampling: a model of the loss is drawn, and the best arch by that draw is evaluated.

A trained supernet knows something, the number of params knows something, and which of them is right
about a task only trainings tell. So the model has both as features beside every single candidate.
Behind a supernet nothing is believed of params, and the noise of a training is estimated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..core.arch import Arch
from ..core.asktell import AllAskedError, Sampler
from ..core.best import best_arch, best_other, most_params
from ..core.budget import NEARLY, Budget
from ..core.polynomial import Polynomial
from ..core.space import Space
from ..core.streams import Stream
from ..training.setting import setting
from .black_box import BlackBox
from .linear_model import LinearModel, Prior

_TRIES = 8  # draws to find an arch that was not asked for before


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a supernet has taught.

    Attributes:
        arch: what it would choose by itself.
        score: of every arch, higher is better.
    """

    arch: Arch
    score: Polynomial


@dataclass(frozen=True, kw_only=True)
class Thompson(BlackBox):
    """Learns a linear model of the loss; each arch is the best one of a draw from the model.

    The first arch is that of the most params, behind a supernet the learned one. The last choice
    weighs the loss of an arch against what the model expects of it, so that a lucky training does
    not decide.

    Attributes:
        temperature: factor of the deviation of a draw; 1 is Thompson's, 0 takes the model's mean.
    """

    name: ClassVar[str] = "thompson"

    temperature: float = setting(0.5, least=0)

    def sampler(
        self, space: Space, budget: Budget, seed: int, learned: Learned | None = None
    ) -> Sampler:
        """Return what proposes archs, by params and by what a supernet has learned."""
        return ThompsonSampler(space, budget, seed, learned, self.temperature)


class ThompsonSampler(Sampler):
    """Asks for the learned arch, or for that of most params, then for the best of model draws."""

    def __init__(
        self,
        space: Space,
        budget: Budget,
        seed: int,
        learned: Learned | None = None,
        temperature: float = 0.5,
    ) -> None:
        self._space, self._budget, self._seed = space, budget, seed
        self._temperature = temperature
        if learned is None:
            self._first = most_params(space, budget)
            self._model = LinearModel(space, budget, [space.cost.params], seed)
        else:
            self._first = learned.arch
            scores, trends = [space.cost.params, learned.score], (0.0, Prior.trend)
            self._model = LinearModel(
                space, budget, scores, seed, Prior(estimates_noise=True), trends
            )
        self._asked: list[Arch] = []
        self._told: list[tuple[Arch, float]] = []

    def ask(self) -> Arch:
        """Return an arch that was not asked for before.

        Raises:
            AllAskedError: if the band has no other.
        """
        asked = {arch.id for arch in self._asked}
        arch = self._drawn(asked) if asked else self._first
        if arch is None:
            raise AllAskedError
        self._asked.append(arch)
        return arch

    def tell(self, arch: Arch, loss: float) -> None:
        """Learn the loss of an arch; one that is not finite teaches nothing."""
        if math.isfinite(loss):
            self._told.append((arch, loss))

    def choose(self) -> Arch:
        """Return the arch whose loss is lowest when the model has smoothed it.

        Before any loss is known that is the learned arch or, where nothing was learned, the one
        of the most params.
        """
        archs, losses = self._known()
        if not archs:
            return self._first
        return archs[int(np.argmin(self._model.smoothed(archs, losses)))]

    def _drawn(self, asked: set[str]) -> Arch | None:
        """Return the best arch of a draw from the model, the best new one where none leads on."""
        generator = Stream.THOMPSON.generator(self._seed, len(self._asked))
        mean_F, covariance_FF = self._model.posterior(*self._known())
        for attempt in range(1, _TRIES + 1):
            heat = self._temperature * attempt  # the hotter, the less alike
            effects_F = generator.multivariate_normal(
                mean_F, heat**2 * covariance_FF, method="eigh"
            )
            score = self._model.score(effects_F)
            arch = best_arch(self._space, score, self._budget, gap=NEARLY)
            if arch.id not in asked:
                return arch
        return best_other(self._space, score, self._budget, self._asked, gap=NEARLY)

    def _known(self) -> tuple[list[Arch], list[float]]:
        return [arch for arch, _ in self._told], [loss for _, loss in self._told]
