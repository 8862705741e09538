"""The regularised evolution of nastk as a sampler of Optuna, for any search space of Optuna's."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

from ..core.streams import Stream
from .evolution import fittest
from .on_optuna import import_optuna

optuna: Any = import_optuna()
_MAX_MUTATIONS = 20
_STEP = 0.2  # deviation of a mutated number, in shares of its range


class NastkEvolutionSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """Ageing evolution of Real et al. (arXiv:1802.01548, algorithm 1) for studies of Optuna.

    The parent of a trial is the best of a few of the youngest completed trials; the trial takes
    over its parameters, one of which is mutated: a categorical one takes another choice, a number
    makes a normal step, on the logarithm where its range is logarithmic. What the parent does not
    have, because the objective did not ask it for that, is drawn at random, and so are the first
    trials. Violated constraints make a trial worse than any loss.

    A trial draws from a stream of its own, made of the seed and its number: processes that share a
    study may share the seed.

    Args:
        seed: of everything random; another one each time if None.
        population: trials alive, random ones until there are so many.
        tournament: trials drawn, the best of which is the parent; half the population if None.

    Raises:
        ValueError: if a number is below 1, or Optuna is not installed; for a study of several
            objectives when it asks.

    Example:
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=NastkEvolutionSampler(seed=0))
        >>> study.optimize(lambda trial: trial.suggest_int("x", -50, 50) ** 2, n_trials=80)
        >>> abs(study.best_params["x"]) <= 1
        True
    """

    def __init__(
        self, seed: int | None = None, population: int = 20, tournament: int | None = None
    ) -> None:
        for name, value in (("population", population), ("tournament", tournament)):
            if value is not None and value < 1:
                raise ValueError(f"{type(self).__name__} takes as {name} at least 1; got {value}")
        self._population = population
        self._tournament = tournament or max(1, population // 2)
        self._seed = _entropy() if seed is None else seed

    def reseed_rng(self) -> None:
        """Take another seed, as Optuna wants of copies of a sampler."""
        self._seed = _entropy()

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Return the distributions of the parent; none until the population is full."""
        parent = self._parent(study, trial)
        return {} if parent is None else dict(parent.distributions)

    def sample_relative(
        self, study: Any, trial: Any, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters of the parent, one of them mutated."""
        parent = self._parent(study, trial)
        known = {} if parent is None else parent.params
        generator = self._generator(trial, "child")
        params = {
            name: known[name] if _holds(space, known.get(name)) else draw(space, generator)
            for name, space in search_space.items()
        }
        free = [name for name, space in search_space.items() if not space.single()]
        if parent is None or not free:
            return params
        tried = [other.params for other in study.get_trials(deepcopy=False)]
        child = dict(params)
        for attempt in range(_MAX_MUTATIONS):
            base = child if attempt > _MAX_MUTATIONS // 2 else params
            name = free[generator.integers(len(free))]
            child = base | {name: mutate(search_space[name], base[name], generator)}
            if child not in tried:
                break
        return child

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        """Draw a parameter that the parent does not have."""
        _refuse_objectives(study)
        return draw(param_distribution, self._generator(trial, param_name))

    def _parent(self, study: Any, trial: Any) -> Any:
        """Return the best of a few trials of the population, None until there are enough."""
        _refuse_objectives(study)
        complete = (optuna.trial.TrialState.COMPLETE,)
        alive = study.get_trials(deepcopy=False, states=complete)[-self._population :]
        if len(alive) < self._population:
            return None
        sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        ranks = [
            (sum(max(0.0, value) for value in other.constraints.values()), sign * other.value)
            for other in alive
        ]
        return alive[fittest(ranks, self._tournament, self._generator(trial, "parent"))]

    def _generator(self, trial: Any, purpose: str) -> np.random.Generator:
        return Stream.IN_OPTUNA.generator(self._seed, trial.number, zlib.crc32(purpose.encode()))


def draw(space: Any, generator: np.random.Generator) -> Any:
    """Return a value of a distribution, uniform over it or over its logarithm."""
    if isinstance(space, optuna.distributions.CategoricalDistribution):
        return space.choices[generator.integers(len(space.choices))]
    low, high = _bounds(space)
    return _value(space, generator.uniform(low, high))


def mutate(space: Any, value: Any, generator: np.random.Generator) -> Any:
    """Return another value of a distribution: any other category, or a number that is near."""
    if isinstance(space, optuna.distributions.CategoricalDistribution):
        others = [i for i, choice in enumerate(space.choices) if choice is not value]
        others = [i for i in others if space.choices[i] != value] or others
        return space.choices[others[generator.integers(len(others))]]
    low, high = _bounds(space)
    centre = math.log(value) if space.log else float(value)
    step = _STEP * (high - low) if space.log else max(_STEP * (high - low), space.step or 0)
    for _ in range(5 * _MAX_MUTATIONS):
        moved = centre + generator.normal(0, step)
        if low <= moved <= high and (found := _value(space, moved)) != value:
            return found
    return draw(space, generator)


def _bounds(space: Any) -> tuple[float, float]:
    """Return what a number is drawn from; values on a grid have half a step on either side."""
    is_whole = isinstance(space, optuna.distributions.IntDistribution)
    half = (space.step or 0) / 2 if not (space.log and not is_whole) else 0.0
    low, high = space.low - half, space.high + half
    return (math.log(low), math.log(high)) if space.log else (low, high)


def _value(space: Any, number: float) -> float | int:
    """Return the value of a distribution that is nearest to what was drawn."""
    number = math.exp(number) if space.log else number
    if space.step is not None:
        number = space.low + round((number - space.low) / space.step) * space.step
    number = min(max(number, space.low), space.high)
    is_whole = isinstance(space, optuna.distributions.IntDistribution)
    return int(number) if is_whole else float(number)


def _holds(space: Any, value: Any) -> bool:
    """Tell whether a distribution contains a value, maybe that of another distribution."""
    if isinstance(space, optuna.distributions.CategoricalDistribution):
        return value in space.choices
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (
        is_number
        and space.low <= value <= space.high
        and _value(space, math.log(value) if space.log else value) == value
    )


def _refuse_objectives(study: Any) -> None:
    if len(study.directions) > 1:
        raise ValueError(
            "NastkEvolutionSampler chooses by one objective, this study has "
            f"{len(study.directions)}; take for example optuna.samplers.NSGAIISampler"
        )


def _entropy() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])
