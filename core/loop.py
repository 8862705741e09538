"""One resumable loop for supernet strategies and evaluators alike."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from . import streams
from .checkpoint import load_checkpoint, save_checkpoint
from .run import Run

_log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]
"""Receives what a progress display shows: phase, step, total and current figures.

An event with `say` is a line for the user, which stays when the display goes on.
"""


def silent(event: dict[str, Any]) -> None:
    """Report to nobody."""


def _seconds_between() -> float:
    """Return the seconds between checkpoints, NASTK_CHECKPOINT_SECONDS where it is set."""
    return float(os.environ.get("NASTK_CHECKPOINT_SECONDS", "10"))


@dataclass(kw_only=True)
class Loop:
    """Counts steps, saves checkpoints and goes on from the last one.

    Everything else a step needs must be a function of (seed, step), so that a resumed run equals
    an unbroken one.

    Attributes:
        run: where checkpoints go; None trains without saving.
        model: whose weights are saved.
        optimizers: whose state is saved, by name.
        total: number of steps.
        name: of the checkpoint.
        owns_events: whether the run's events are those of this loop, so that what was logged after
            the checkpoint (all of it, where there is none) is forgotten and logged again.
        seconds_between: between two checkpoints.
        notes: numbers, and lists of them, that the steps remember from one to the next, saved with
            the rest.
        check: raises ValueError where the notes of a checkpoint are none of these steps'.
    """

    model: nn.Module
    optimizers: Mapping[str, Any]
    total: int
    run: Run | None = None
    name: str = "last"
    owns_events: bool = True
    seconds_between: float = field(default_factory=_seconds_between)
    notes: dict[str, Any] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], None] = lambda notes: None

    def __iter__(self) -> Iterator[int]:
        start = self._restore()
        saved_at = time.monotonic()
        for step in range(start, self.total):
            yield step
            if time.monotonic() - saved_at >= self.seconds_between or step + 1 == self.total:
                self.save(step + 1)
                saved_at = time.monotonic()

    def save(self, step: int) -> None:
        """Write a checkpoint from which step `step` would be the next."""
        if self.run is None:
            return
        optimizers = {name: o.state_dict() for name, o in self.optimizers.items()}
        state = {
            "step": step,
            "streams": streams.VERSION,
            "optimizers": optimizers,
            "events_size": self.run.events_size,
            "notes": self.notes,
            "spent": self.run.clock.spent,
        }
        folder = self.run.path / "checkpoints"
        save_checkpoint(folder, self.name, self.model.state_dict(), state)

    def _restore(self) -> int:
        if self.run is None:
            return 0
        folder = self.run.path / "checkpoints"
        found = load_checkpoint(folder, self.name, repair=True, take=self._take)
        if self.owns_events:
            self.run.cut_events(0 if found is None else found[1]["events_size"])
        if found is None:
            return 0
        state = found[1]
        if state.get("streams") != streams.VERSION:
            _log.warning(
                "warning: checkpoint %s is by %s, which drew other random numbers: what goes on "
                "from it is not what an unbroken run would have given; finish it with that version "
                "for the same, or begin again in another folder",
                *(folder / self.name, self.run.writer),
            )
        self.notes.update(state["notes"])
        self.run.clock.add(state["spent"])
        step: int = state["step"]
        return step

    def _take(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take over weights and state.

        Raises:
            ValueError: if they are not of this loop; others where torch finds that out.
        """
        if not _is_whole(state["step"], self.total) or not _is_whole(state["events_size"]):
            raise ValueError(f"step {state['step']!r} of {self.total} is none")
        if not are_seconds(state["spent"]):
            raise ValueError(f"{state['spent']!r} are no wall and CPU seconds")
        if not isinstance(state["notes"], dict) or not _are_numbers(list(state["notes"].values())):
            raise ValueError("its notes are no numbers")
        self.check(state["notes"])
        self.model.load_state_dict(weights)
        for name, optimizer in self.optimizers.items():
            known = _settings(optimizer)
            optimizer.load_state_dict(state["optimizers"][name])
            if _settings(optimizer) != known:
                raise ValueError(f"the settings of the optimiser {name!r} are of other types")
            _check_shapes(optimizer)


def are_seconds(spent: Any) -> bool:
    """Tell whether these are the wall and the CPU seconds that something took."""
    if not isinstance(spent, tuple | list) or len(spent) != 2:
        return False
    return all(type(s) in (int, float) and 0 <= s < math.inf for s in spent)


def _is_whole(value: Any, most: float = math.inf) -> bool:
    return type(value) is int and 0 <= value <= most


def _are_numbers(values: Any) -> bool:
    """Tell whether this is a list of numbers and of such lists."""
    return all(
        _are_numbers(v) if isinstance(v, list | tuple) else type(v) in (int, float) for v in values
    )


def _settings(optimizer: Any) -> list[dict[str, type]]:
    """Return the types of an optimiser's settings, group by group; rates may be tensors."""
    return [
        {key: type(value) for key, value in group.items() if key not in ("params", "lr")}
        for group in getattr(optimizer, "param_groups", ())
    ]


def _check_shapes(optimizer: Any) -> None:
    """See that what an optimiser remembers of each parameter has the parameter's shape."""
    for parameter, known in getattr(optimizer, "state", {}).items():
        for name, value in known.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{name} is {list(value.shape)}, not {list(parameter.shape)}")
