"""Any sampler of Optuna searches a space of nastk: define-by-run, and within the budget."""

from __future__ import annotations

import importlib
import inspect
import math
import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..core.arch import Arch
from ..core.asktell import Sampler
from ..core.band import band_of
from ..core.budget import Budget
from ..core.choice import Choice, Value
from ..core.lookup import lookup
from ..core.neighbours import Draws, Key, Neighbours
from ..core.space import Space
from ..core.streams import Stream
from .black_box import BlackBox

if TYPE_CHECKING:
    import optuna

DRIVERS = {
    "cmaes": "optuna.samplers:CmaEsSampler",
    "nsga2": "optuna.samplers:NSGAIISampler",
    "random": "optuna.samplers:RandomSampler",
    "tpe": "optuna.samplers:TPESampler",
}
# Suggestions of archs that were asked for before, until a random arch takes their place.
_MAX_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class OnOptuna(BlackBox):
    """A sampler of Optuna (arXiv:1907.10902) proposes archs, TPE unless told otherwise.

    A trial suggests the choices in the order in which the space asks for them; those that others
    make idle are not suggested. An arch outside of the band of the budget is never evaluated: its
    trial fails, and the nearest arch within the band makes the next one.

    Attributes:
        driver: `tpe`, `random`, `cmaes`, `nsga2`, or the MODULE:CLASS of any other sampler, which
            has its own defaults and, if it takes one, the seed.
    """

    name: ClassVar[str] = "on_optuna"

    driver: str = "tpe"

    def __post_init__(self) -> None:
        super().__post_init__()
        make_driver(self.driver, 0)

    def sampler(self, space: Space, budget: Budget, seed: int) -> Sampler:
        """Return what asks Optuna."""
        return OptunaSampler(space, budget, seed, make_driver(self.driver, seed))


def import_optuna() -> Any:
    """Return the module `optuna`.

    Raises:
        ValueError: if it is not installed; the message says how to.
    """
    try:
        return importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"on_optuna needs the package {error.name}: pip install 'nastk[optuna]'"
        ) from None


def find_driver(driver: str) -> type[optuna.samplers.BaseSampler]:
    """Return the class of a sampler of Optuna by its short name or by MODULE:CLASS.

    Raises:
        ValueError: if there is no such sampler, or it would end the study.
    """
    kinds = import_optuna().samplers
    path = driver if ":" in driver else lookup("driver of on_optuna", driver, DRIVERS)
    module, _, name = path.partition(":")
    try:
        family = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"on_optuna finds no driver {driver!r} ({error}); takes MODULE:CLASS of something "
            "that Python can import (see PYTHONPATH), for example optuna.samplers:GPSampler"
        ) from None
    if not (isinstance(family, type) and issubclass(family, kinds.BaseSampler)):
        raise ValueError(f"on_optuna takes as driver a subclass of BaseSampler, no {driver!r}")
    if issubclass(family, (kinds.BruteForceSampler, kinds.GridSampler)):
        raise ValueError(
            f"on_optuna cannot take {driver!r}, which ends a study when it has enumerated a space; "
            "take for example optuna.samplers:RandomSampler"
        )
    return family


def make_driver(driver: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler of Optuna with its defaults and a seed.

    Raises:
        ValueError: if there is no such sampler, or it cannot be made without arguments.
    """
    family = find_driver(driver)
    # Choices of skipped blocks come and go, and are sampled one by one: nothing to warn of.
    wanted = {"seed": seed % 2**32, "warn_independent_sampling": False}
    known = inspect.signature(family).parameters
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # experimental samplers say so
            return family(**{key: value for key, value in wanted.items() if key in known})
    except (TypeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"on_optuna cannot make driver {driver!r}: {reason}") from None


class OptunaSampler(Sampler):
    """Asks a study of Optuna, and brings what it suggests into the band.

    Attributes:
        study: in memory; beside the trials that were asked for, it has failed ones, which lie
            outside of the band or were repetitions.
    """

    def __init__(
        self, space: Space, budget: Budget, seed: int, driver: optuna.samplers.BaseSampler
    ) -> None:
        self._optuna = import_optuna()
        self.study = quiet_study(driver)
        self._neighbours = Neighbours(space, band_of(space, budget).bounds)
        self._draws = Draws(self._neighbours, seed)
        self._generator = Stream.ON_OPTUNA.generator(seed)
        kinds = self._optuna.samplers
        # These take numbers only.
        is_numeric = isinstance(driver, (kinds.CmaEsSampler, kinds.QMCSampler))
        self._values = [values_of(c, is_numeric) for c in space.choices().values()]
        self._order = order_of(space)
        self._asked: set[Key] = set()
        self._waiting: deque[int] = deque()

    def ask(self) -> Arch:
        """Return the arch of a new trial of the study, within the band.

        An arch that was asked for before is suggested anew; after some repetitions a random one
        takes its place.
        """
        for _ in range(_MAX_REPEATS):
            trial = self.study.ask()
            suggested = self._suggest(trial)
            key = self._neighbours.project(suggested, self._generator)
            if key is not None and key not in self._asked:
                number = trial.number if key == suggested else self._replace(trial, key)
                break
            self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            key = self._draws.next(self._asked)
            number = self._add(key, {})
        self._asked.add(key)
        self._waiting.append(number)
        return self._neighbours.arch(key)

    def tell(self, arch: Arch, loss: float) -> None:
        """End the oldest trial: complete, or failed where there is no finite loss."""
        if math.isfinite(loss):
            self.study.tell(self._waiting.popleft(), loss)
        else:
            self.study.tell(self._waiting.popleft(), state=self._optuna.trial.TrialState.FAIL)

    def _suggest(self, trial: optuna.Trial) -> Key:
        """Suggest the active choices in turn, and return all indices, idle ones 0."""
        key = [0] * len(self._order)
        for position, contexts in self._order:
            if any(all(alive[key[gate]] for gate, alive in gates) for gates in contexts):
                name, values = self._neighbours.names[position], self._values[position]
                if isinstance(values, range):
                    key[position] = trial.suggest_int(name, 0, len(values) - 1)
                else:
                    key[position] = values.index(trial.suggest_categorical(name, values))
        return tuple(key)

    def _replace(self, trial: optuna.Trial, key: Key) -> int:
        """Fail a trial outside of the band, and return the number of one inside that follows.

        The new trial is to the sampler what the old one was, a member of a generation for
        example. The old one is not pruned: TPE learns from pruned trials too, and then was hardly
        better than random archs.
        """
        attributes = dict(self.study.get_trials(deepcopy=False)[trial.number].system_attrs)
        self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return self._add(key, attributes)

    def _distribution(self, values: range | tuple[Value, ...]) -> Any:
        kinds = self._optuna.distributions
        if isinstance(values, range):
            return kinds.IntDistribution(0, len(values) - 1)
        return kinds.CategoricalDistribution(values)

    def _add(self, key: Key, attributes: dict[str, Any]) -> int:
        """Add a running trial of an arch, and return its number."""
        params, choices = {}, {}
        active = {choice for choice, _ in self._neighbours.changes(key)}
        for position in (choice for choice, _ in self._order if choice in active):
            name, values = self._neighbours.names[position], self._values[position]
            params[name], choices[name] = values[key[position]], self._distribution(values)
        frozen = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState.RUNNING,
            params=params,
            distributions=choices,
            system_attrs=attributes,
        )
        self.study.add_trial(frozen)
        return len(self.study.get_trials(deepcopy=False)) - 1


def quiet_study(driver: optuna.samplers.BaseSampler) -> optuna.Study:
    """Return an empty study in memory that minimises, without a word about it."""
    optuna = import_optuna()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study: Any = optuna.create_study(sampler=driver)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return cast("optuna.Study", study)


def values_of(choice: Choice, is_numeric: bool) -> range | tuple[Value, ...]:
    """Return what Optuna is told of the candidates of a choice: themselves, as categories.

    TPE searches categories better and faster than numbers that stand for them (measured on the
    table `sandglass-micro-tab`). A sampler of numbers gets the positions of numbers in order.

    Example:
        >>> kernel, mixer = Choice("kernel", (3, 5, 7)), Choice("mixer", ("conv", "mlp"))
        >>> values_of(kernel, False), values_of(kernel, True), values_of(mixer, True)
        ((3, 5, 7), range(0, 3), ('conv', 'mlp'))
    """
    values = choice.candidates
    is_ordered = not any(isinstance(v, str) for v in values) and sorted(values) == [*values]
    return range(len(values)) if is_numeric and is_ordered else values


Gates = list[tuple[int, tuple[bool, ...]]]


def order_of(space: Space) -> list[tuple[int, list[Gates]]]:
    """Return the choices in the order in which a trial suggests them.

    That is the order in which the space asks for them, but that what makes others idle comes
    before these.

    Returns:
        Position of each choice, and the gates of each of its uses: it matters if all gates of one
        use are alive at what they were set to.
    """
    names = list(space.choices())
    position = {name: number for number, name in enumerate(names)}
    contexts = {
        position[name]: [
            [(position[gate], alive) for gate, alive in gates]
            for gates in dict.fromkeys(use.gates for use in uses)
        ]
        for name, uses in space.cost.uses.items()
    }
    order: dict[int, list[Gates]] = {}
    begun: set[int] = set()

    def visit(choice: int) -> None:
        # A choice that always matters may be the gate of other uses of its own.
        begun.add(choice)
        for gate in (gate for gates in contexts[choice] for gate, _ in gates):
            if gate not in begun:
                visit(gate)
        order.setdefault(choice, contexts[choice])

    for choice in range(len(names)):
        if choice not in begun:
            visit(choice)
    return list(order.items())
