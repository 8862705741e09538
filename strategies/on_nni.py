"""Strategies of NNI search a space of nastk, and a space becomes a model space of NNI's."""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.arch import Arch
from ..core.asktell import Sampler
from ..core.band import band_of
from ..core.budget import Budget
from ..core.lookup import lookup
from ..core.neighbours import Draws, Key, Neighbours
from ..core.space import Space
from ..core.streams import Stream
from ..training.setting import counted
from .black_box import BlackBox

DRIVERS = {"evolution": "RegularizedEvolution", "random": "Random", "tpe": "TPE"}
# Proposals of archs that were asked for before, until a random arch takes their place.
_MAX_REPEATS = 20


@dataclass(frozen=True, kw_only=True)
class OnNni(BlackBox):
    """A strategy of NNI 3.0 proposes archs, regularised evolution unless told otherwise.

    NNI's own code decides what comes next; nastk's pool evaluates, so that no experiment of NNI
    runs, and trials have processes and resume like all others. NNI sets idle choices too, and
    knows no costs: the nearest arch within the band takes the place of one outside. Evolution goes
    on from that, TPE from what it had proposed. Its other strategies cannot take part: grid search
    is for small spaces, and the others train a supernet or need packages of their own.

    Attributes:
        driver: `evolution`, `random` or `tpe`.
        population: archs alive in evolution; 2 sqrt(evaluations) if None, NNI's own default is 100.
        tournament: archs drawn, the best of which is the parent; half the population if None.
    """

    name: ClassVar[str] = "on_nni"

    driver: str = "evolution"
    population: int | None = counted(None)
    tournament: int | None = counted(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup("driver of on_nni", self.driver, DRIVERS)
        import_nni()

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what asks NNI."""
        bridge = import_nni()
        logging.getLogger("nni").setLevel(logging.ERROR)  # it prints every trial, as nastk does
        seed_32 = seed % 2**32  # what the generators of NNI take
        if self.driver == "tpe":
            return NniSampler(space, budget, seed, bridge.TpeDriver(seed_32, space))
        options = {}
        if self.driver == "evolution":
            population = self.population or max(2, round(2 * self.evaluations**0.5))
            tournament = min(self.tournament or max(1, population // 2), population)
            options = {"population_size": population, "sample_size": tournament}
        family = getattr(importlib.import_module("nni.nas.strategy"), DRIVERS[self.driver])
        driver = bridge.StrategyDriver(family(seed=seed_32, **options), space)
        return NniSampler(space, budget, seed, driver)


def to_nni(space: Space, budget: Budget | None = None) -> Any:
    """Return a space as a `ModelSpace` of NNI, for NNI's own experiments.

    Args:
        space: each choice becomes a categorical mutable of the same name.
        budget: adds a constraint, by which NNI refuses samples outside of its band.

    Returns:
        What freezes to the plain network of a sample, whose attribute `arch` is the arch.

    Raises:
        ValueError: if NNI is not installed, or hangs with the installed filelock.
    """
    return import_nni().MutableSpace(space, budget)


def import_nni() -> Any:
    """Return the module of nastk that subclasses NNI.

    Raises:
        ValueError: if NNI is not installed, or hangs with the installed filelock.
    """
    try:
        version = importlib.import_module("filelock").__version__
        if tuple(map(int, version.split(".")[:2])) >= (3, 12):
            raise ValueError(
                f"experiments of NNI hang at their end with filelock {version}; "
                "pip install 'filelock<3.12'"
            )
        with warnings.catch_warnings():  # of types of torch that are younger than NNI
            warnings.simplefilter("ignore", RuntimeWarning)
            from . import nni_bridge
    except ModuleNotFoundError as error:
        raise ValueError(
            f"on_nni needs the package {error.name}: pip install 'nastk[nni]'"
        ) from None
    return nni_bridge


class NniSampler(Sampler):
    """Asks a driver of NNI, and brings what it proposes into the band."""

    def __init__(self, space: Space, budget: Budget, seed: int, driver: Any) -> None:
        self._driver = driver
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)
        self._draws = Draws(self._neighbours, seed)
        self._generator = Stream.ON_NNI.generator(seed)
        self._choices = space.choices()
        self._asked: set[Key] = set()
        self._waiting: deque[Any] = deque()

    def ask(self) -> Arch:
        """Return the next arch within the band, a random one where NNI proposes nothing new."""
        key, trial = self._next()
        if key is None:
            key = self._draws.next(self._asked)
        self._asked.add(key)
        self._waiting.append(trial)
        return self._neighbours.arch(key)

    def _next(self) -> tuple[Key | None, Any]:
        """Return a new arch that NNI proposes and its trial there, None for both without one."""
        for _ in range(_MAX_REPEATS):
            answer = self._driver.ask()
            if answer is None:
                break
            trial, sample = answer
            suggested = tuple(c.position(sample[name]) for name, c in self._choices.items())
            key = self._neighbours.project(suggested, self._generator)
            if key is not None and key not in self._asked:
                return key, trial
            self._driver.tell(trial, None, None)
        return None, None

    def tell(self, arch: Arch, loss: float) -> None:
        """Tell NNI the loss of the oldest trial, unless that arch was not NNI's."""
        trial = self._waiting.popleft()
        if trial is not None:
            self._driver.tell(trial, dict(arch.choices), loss if math.isfinite(loss) else None)
