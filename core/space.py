"""A search space is one function that builds the network from choices."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from .arch import Arch
from .blame import blame, failed_module, place_of
from .choice import Choice, Choose, ChooseAll, ChooseValues, Value
from .constraint import Constraint
from .cost import METRICS, Cost
from .recount import recount, recount_one
from .resolution import Resolution, resolution_of, sides_of
from .spec import Spec, examples
from .supernet import Supernet

MOST_CLASSES = 1_000_000
"""More is a mistake, and no machine could build it."""


@dataclass(frozen=True, kw_only=True)
class Space(ABC):
    """What may be chosen: a frozen dataclass of options with one method that builds the network.

    Attributes:
        resolution: side of the square input in pixels; height and width of another one.
        num_classes: number of outputs: classes, maps, numbers of an embedding...
        task: kind of task whose head the networks have, one of `tasks`; the first if empty.
        recipe: by which networks of the space train on the user's data; a name in
            `nastk.training.recipes.RECIPES`, chosen by the number of images if None...
        short_recipe: ...and the one on embedded data.
        supernet_recipes: by which supernets train, one an optimiser; that of long searches comes
            first.
        search_steps: updates of a supernet on embedded data, in a search that is not told how
            many; on data of the user's the length of a training decides.
        tasks: kinds of task that the space fits; `network` builds for `kind`.
    """

    name: ClassVar[str]
    recipe: ClassVar[str | None] = None
    short_recipe: ClassVar[str] = "demonstration"
    supernet_recipes: ClassVar[tuple[str, ...]] = ("supernet-long", "supernet")
    search_steps: ClassVar[int] = 300
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    resolution: Resolution = 224
    num_classes: int = 1000
    task: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name a space after its class unless it names itself."""
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if "learning_rates" in cls.__dict__:
            raise ValueError(
                f"space {cls.name} says learning_rates, as of version 0.1: name recipes in "
                "supernet_recipes, the one of long searches first (nastk recipes lists them); the "
                "copy that a run keeps stays as it is: open such a run with nastk 0.1"
            )

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", resolution_of(self.resolution, self.name))
        value = self.num_classes
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_whole or not 1 <= value <= MOST_CLASSES:
            shown = f"{value!r:.40}" if not is_whole or abs(value) < 10**20 else "far more"
            raise ValueError(
                f"{self.name} takes as number of classes a whole number of at least 1 and at most "
                f"{MOST_CLASSES:,}, got {shown}"
            )
        object.__setattr__(self, "num_classes", int(value))
        if self.task and self.task not in self.tasks:
            raise ValueError(
                f"{self.name} builds networks for {', '.join(self.tasks)}, got task {self.task!r}"
            )

    @abstractmethod
    def network(self, choose: Choose) -> nn.Module:
        """Build the network, asking `choose(name, candidates)` for every decision."""

    def inputs(self) -> tuple[Spec, ...]:
        """Return what networks of the space are called with, in order: one image by default."""
        return (Spec(shape=(3, *sides_of(self.resolution))),)

    @property
    def kind(self) -> str:
        """The kind of task for which `network` builds."""
        return self.task or self.tasks[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the first input without the batch: channels, height and width of an image."""
        return self.inputs()[0].shape

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Rules between choices, kept by samplers, solver and archs; none unless a space says so.

        They must not depend on choices that others can make idle.
        """
        return ()

    @property
    def options(self) -> dict[str, Any]:
        """The options of the space by name; without `task` where that is the usual one."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values if self.task else {k: v for k, v in values.items() if k != "task"}

    @property
    def sizes(self) -> dict[str, Any]:
        """The options that data decide, by name: what goes in and what comes out."""
        return {"resolution": self.resolution, "num_classes": self.num_classes}

    def proxy(self) -> Space:
        """Return the smaller space on which a search on the embedded data trains.

        It has the same choices. A space that is small already is its own proxy.
        """
        return self

    @cached_property
    def _described(self) -> tuple[ChooseAll, Cost]:
        return _describe(self)

    def choices(self) -> dict[str, Choice]:
        """Return the decisions by name, in the order in which the space asks for them."""
        return self._described[0].choices

    @property
    def num_candidates(self) -> dict[str, int]:
        """Number of candidates of every choice."""
        return {name: len(choice.candidates) for name, choice in self.choices().items()}

    @property
    def merged(self) -> dict[str, tuple[tuple[Value, ...], ...]]:
        """Candidates that were merged because they give the same network, by choice name."""
        return self._described[0].merged

    @cached_property
    def cost(self) -> Cost:
        """The cost of every arch of the space.

        Raises:
            ValueError: if a network of the space costs something else, in a space of the user's.
        """
        _check_counts(self)
        return self._described[1]

    def arch(self, choices: Mapping[str, Value]) -> Arch:
        """Return the arch of these values, its idle choices set to their first candidate.

        Raises:
            ValueError: if a choice is missing or unknown, a value is no candidate, or a constraint
                of the space is broken.
        """
        known = self.choices()
        if odd := sorted(set(known) ^ set(choices)):
            what = "misses" if odd[0] in known else "has no"
            raise ValueError(
                f"an arch of {self.name} {what} choice {odd[0]!r} ({len(odd)} such names); "
                f"it has {len(known)} choices, `nastk spaces` lists the spaces"
            )
        indices = {name: choice.position(choices[name]) for name, choice in known.items()}
        one = {name: np.array([index]) for name, index in indices.items()}
        for constraint in self.constraints:
            if not constraint.allows(one)[0]:
                values = ", ".join(f"{t.name} {choices[t.name]!r}" for t in constraint.terms)
                raise ValueError(f"{values}: excluded by the {constraint.name} rule of {self.name}")
        return self.arch_at(indices)

    def arch_at(self, indices: Mapping[str, int]) -> Arch:
        """Return the arch of these candidate indices, its idle choices set to the first."""
        canonical = self.cost.canonical(indices)
        values = {name: c.candidates[canonical[name]] for name, c in self.choices().items()}
        return Arch(space=self.name, options=self.options, choices=values)

    def indices(self, arch: Arch | Mapping[str, Value]) -> dict[str, int]:
        """Return the candidate index of every choice.

        Raises:
            ValueError: if the arch belongs to another space or has other choices.
        """
        if isinstance(arch, Arch) and arch.space != self.name:
            raise ValueError(f"this is an arch of space {arch.space!r}, expected {self.name!r}")
        values = arch.choices if isinstance(arch, Arch) else arch
        checked = self.arch(values).choices
        return {name: c.position(checked[name]) for name, c in self.choices().items()}

    def build(self, arch: Arch | Mapping[str, Value], *, seed: int = 0) -> nn.Module:
        """Return the plain network of `arch`, freshly initialised from `seed`."""
        self.indices(arch)
        values = arch.choices if isinstance(arch, Arch) else arch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network(ChooseValues(values))

    def check_count(self, arch: Arch) -> None:
        """Build the network of an arch and count it again, in a space of the user's.

        `cost` does so for a few archs, which need not show all combinations of choices.

        Raises:
            ValueError: if it costs something else than `cost` says, with the module.
        """
        if not _is_own(self):
            recount_one(
                self.name,
                self.cost,
                lambda values: self.network(ChooseValues(values)),
                self.inputs(),
                self.indices(arch),
            )

    def supernet(self, *, seed: int = 0) -> Supernet:
        """Return the network that contains all candidates, initialised from `seed`."""
        choose = ChooseAll()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Supernet(self.network(choose), choose.choices)


@lru_cache(maxsize=64)
def _describe(space: Space) -> tuple[ChooseAll, Cost]:
    """Return choices and cost of a space; equal spaces are traced once."""
    choose = ChooseAll()
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = space.network(choose)
        if not isinstance(network, nn.Module):
            raise ValueError(
                f"network(self, choose) of {space.name}{place_of(type(space))} returns "
                f"{type(network).__name__}; it has to return a torch.nn.Module"
            )
        supernet = Supernet(network, choose.choices).eval()
        try:
            cost = Cost.trace(supernet, *examples(space.inputs(), device="meta"))
            for metric in METRICS:
                getattr(cost, metric)  # which is summed here
        except OverflowError:
            raise ValueError(
                f"networks of {space.name} with these options have more FLOPs or params than fit "
                "in 64 bits: choose smaller options"
            ) from None
        except RuntimeError as error:
            if blame(error) is not None:
                raise
            raise ValueError(
                f"a network of {space.name}{place_of(type(space))} cannot compute an input "
                f"{_in_words(space.inputs())}: {failed_module(error)}: {error}"
            ) from error
    return choose, cost


def _in_words(specs: Sequence[Spec]) -> str:
    return " and ".join(str([1, *spec.shape]) for spec in specs)


def _is_own(space: Space) -> bool:
    """Tell whether a space is nastk's own."""
    return type(space).__module__.partition(".")[0] == __name__.partition(".")[0]


@lru_cache(maxsize=64)
def _check_counts(space: Space) -> None:
    """Count a few networks of a space again; those of nastk itself are counted by its tests."""
    if _is_own(space):
        return
    cost = space._described[1]
    recount(
        space.name,
        cost,
        lambda values: space.network(ChooseValues(values)),
        space.inputs(),
        space.constraints,
    )
