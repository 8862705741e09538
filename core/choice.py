"""A choice is one decision; a space asks for it by `choose` and never looks at the answer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

Value = int | float | str


class Part(IntEnum):
    """What a step needs of the feature of a candidate.

    A candidate of weight 0 adds nothing, and its own weights learn nothing. How the loss would
    change with its weight still is known from its feature alone.
    """

    NONE = 0
    VALUE = 1
    FULL = 2

    def run(self, operator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return the feature of a candidate, without a gradient where its value is enough."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self is Part.FULL):
            return operator(x)


class Slot:
    """The mixture that a supernet has put on one choice, shared by everything derived from it.

    Either `index` is set (hard: one candidate) or `probs_N` is set (soft: a mixture). With
    `features` the meta operators sum candidate features instead of candidate weights.

    An operator that is not linear in its weights cannot mix candidates. It declares so by
    `require_sample`, and a mixture then runs one candidate a step.

    Attributes:
        sampled: None, `path` (candidates are operators of their own, whose output is multiplied by
            `gate`) or `slice` (candidates cut the same weights).
        gate: 1, with the gradient of the sampled candidate's weight in the mixture; None where
            nothing is to be learned from it.
        parts: what a step needs of each candidate's feature; None for all of everything.
    """

    def __init__(self) -> None:
        self.index: int | None = None
        self.probs_N: Tensor | None = None
        self.features = False
        self.sampled: str | None = None
        self.gate: Tensor | None = None
        self.parts: tuple[Part, ...] | None = None

    def set_index(self, index: int) -> None:
        """Select one candidate."""
        self.index, self.probs_N, self.features, self.gate = index, None, False, None
        self.parts = None

    def set_probs(
        self, probs_N: Tensor, features: bool = False, parts: tuple[Part, ...] | None = None
    ) -> None:
        """Mix all candidates with the weights `probs_N` [N]; take the largest if sampled."""
        if self.sampled is None:
            self.index, self.probs_N, self.features, self.parts = None, probs_N, features, parts
            return
        self.set_index(0 if probs_N.is_meta else int(probs_N.argmax()))
        if self.sampled == "path" and probs_N.requires_grad:
            weight = probs_N[self.index]
            self.gate = 1 + weight - weight.detach()

    def part(self, number: int) -> Part:
        """Return what a step needs of the feature of a candidate under a mixture."""
        return Part.FULL if self.parts is None else self.parts[number]

    def require_sample(self, how: str) -> None:
        """Declare that candidates cannot be mixed: they are a `path` or a `slice`."""
        if self.sampled != "slice":
            self.sampled = how


class Choice:
    """One decision: a name and the ordered tuple of its candidates.

    `values` are what the candidates mean to the operator that receives the choice: the candidates
    themselves, or what `map` made of them. A choice refuses to be compared, tested or iterated,
    because the space must describe all of its networks at once.

    Example:
        >>> ratio = Choice("block.reduction", (4, 6))
        >>> ratio.map(lambda t: 96 // t).values
        (24, 16)
    """

    def __init__(
        self,
        name: str,
        candidates: Sequence[Value],
        values: Sequence[Any] | None = None,
        slot: Slot | None = None,
    ) -> None:
        if not candidates:
            raise ValueError(f"choice {name!r} has no candidates; give at least one")
        self.name = name
        self.candidates = tuple(candidates)
        self.values = tuple(self.candidates if values is None else values)
        self.slot = slot or Slot()

    def map(self, function: Callable[[Any], Any]) -> "Choice":
        """Return the same decision, with `function` applied to the value of every candidate."""
        return Choice(self.name, self.candidates, [function(v) for v in self.values], self.slot)

    def position(self, value: Value) -> int:
        """Return the index of a candidate.

        Raises:
            ValueError: if the value is not a candidate of this choice.
        """
        for index, candidate in enumerate(self.candidates):
            if _same(candidate, value):
                return index
        known = ", ".join(map(repr, self.candidates))
        raise ValueError(f"choice {self.name!r} has no candidate {value!r}; known: {known}")

    def __repr__(self) -> str:
        return f"Choice({self.name!r}, {self.candidates})"

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(
            f"choice {self.name!r} has no single value while the space is described: derive "
            "quantities with choice.map(f), and give alternatives of structure to operators "
            "such as residual(branch, keep=choice)"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __index__ = __int__ = __float__ = __iter__ = __len__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = _refuse

    def __hash__(self) -> int:
        return hash(self.name)


class Choose(ABC):
    """What a space receives as `choose`; who makes it decides what comes out."""

    def __init__(self) -> None:
        self.merged: dict[str, tuple[tuple[Value, ...], ...]] = {}

    def __call__(
        self,
        name: str,
        candidates: Sequence[Value],
        *,
        groups: int | None = None,
        required: int = 0,
        distinct: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Ask for one decision, or for one decision for each group of channels.

        Args:
            name: stable name of the decision, for example `stage3.block1.kernel`.
            candidates: the options, in order; the first is what an idle choice is set to.
            groups: makes a tuple of that many decisions, named `name.1`, `name.2`...
            required: the first so many groups do not get the candidate 0 (absence).
            distinct: candidates with equal `distinct(candidate)` give the same network and become
                one candidate; a choice left with a single one is no choice.

        Returns:
            A value or a `Choice` (a tuple of them with `groups`).
        """
        candidates = _checked(name, candidates)
        if groups is not None:
            present = [c for c in candidates if c != 0]
            return tuple(
                self(f"{name}.{g + 1}", present if g < required else candidates, distinct=distinct)
                for g in range(groups)
            )
        kept = self._merge(name, candidates, distinct) if distinct else list(candidates)
        return kept[0] if len(kept) == 1 else self.decide(name, kept)

    def _merge(
        self, name: str, candidates: Sequence[Value], distinct: Callable[[Any], Any]
    ) -> list[Value]:
        classes: dict[Any, list[Value]] = {}
        for candidate in candidates:
            classes.setdefault(distinct(candidate), []).append(candidate)
        if same := tuple(tuple(members) for members in classes.values() if len(members) > 1):
            self.merged[name] = same
        return [members[0] for members in classes.values()]

    @abstractmethod
    def decide(self, name: str, candidates: Sequence[Value]) -> Any:
        """Answer one decision of at least two candidates."""


def _checked(name: Any, candidates: Any) -> tuple[Value, ...]:
    """Return candidates as an arch can record them, numpy's numbers as Python's.

    Raises:
        ValueError: if the name is no text, or a candidate is no number and no text, or occurs
            twice.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"choose takes a name as text first, then candidates; got {name!r}")
    if isinstance(candidates, str | set | frozenset) or not hasattr(candidates, "__len__"):
        raise ValueError(f"choice {name!r} takes a tuple of candidates, got {candidates!r}")
    plain = tuple(c.item() if isinstance(c, np.generic) else c for c in candidates)
    for number, candidate in enumerate(plain):
        if not isinstance(candidate, int | float | str) or candidate in (math.inf, -math.inf):
            raise ValueError(
                f"choice {name!r} has the candidate {candidate!r}, which an arch cannot record: "
                "give numbers or names, and what they mean by choice.map(f)"
            )
        if candidate != candidate or any(_same(candidate, c) for c in plain[:number]):
            wrong = "is no number" if candidate != candidate else "occurs twice"
            raise ValueError(f"candidate {candidate!r} of choice {name!r} {wrong}")
    return plain


def _same(one: Value, other: Value) -> bool:
    """Tell whether two candidates are one; 1 and 1.0 are."""
    return one == other and isinstance(one, str) == isinstance(other, str)


class ChooseAll(Choose):
    """Answers with a `Choice`, the same one each time a name is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.choices: dict[str, Choice] = {}

    def decide(self, name: str, candidates: Sequence[Value]) -> Choice:
        """Return the choice of that name."""
        choice = self.choices.setdefault(name, Choice(name, candidates))
        if choice.candidates != tuple(candidates):
            raise ValueError(
                f"choice {name!r} was asked for with candidates {choice.candidates} and again with "
                f"{tuple(candidates)}; one name is one decision, give the second another name"
            )
        return choice


class ChooseValues(Choose):
    """Answers with the values of one arch."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__()
        self.values = values

    def decide(self, name: str, candidates: Sequence[Value]) -> Value:
        """Return the value chosen for that name."""
        return candidates[Choice(name, candidates).position(self.values[name])]
