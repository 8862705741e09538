"""How what a user asks for is run: where, in which numbers, by how many, from which seed."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..core.arguments import check_argument, shown
from ..core.lookup import lookup
from ..core.manifest import Manifest
from ..core.precision import default_precision, find_precision
from ..core.run import Run
from ..ops.chain import MEMORY, default_memory
from .naming import check_numbers, check_recording, find_device


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How trainings are run; checked where it is made, and handed on whole.

    Attributes:
        device: `cpu`, `cuda` or `cuda:NUMBER`.
        memory: what networks keep for their backward pass: `high`, `low` or `lowest`, see
            `nastk.ops.chain.MEMORY`; the best of the device unless given.
        precision: in which networks compute: `float32`, `bfloat16` or `float16` (CUDA only);
            bfloat16 on CUDA and float32 on the CPU unless given. Params and updates stay float32.
        cuda_graph: whether the update is recorded once and replayed, for small batches on CUDA.
        workers: processes of a training that decode images.
        processes: trainings at a time; None leaves it to the device, see `at_a_time`.
        threads: with which a network computes.
        strict: whether unreadable images are refused instead of skipped.
        seed: of everything random.

    Raises:
        ValueError: if this machine cannot do that, or nobody can mean it.
    """

    device: str = "cpu"
    memory: str = ""
    precision: str = ""
    cuda_graph: bool = False
    workers: int = 0
    processes: int | None = None
    threads: int = field(default_factory=torch.get_num_threads)
    strict: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self)).items():
            check_argument(name, getattr(self, name), hint)
        check_numbers(seed=self.seed, workers=self.workers, processes=self.processes)
        place = find_device(self.device)
        object.__setattr__(self, "memory", self.memory or default_memory(place))
        object.__setattr__(self, "precision", find_precision(self.precision or None, place))
        lookup("memory", self.memory, MEMORY)
        if self.cuda_graph:
            check_recording(place, precision=self.precision, memory=self.memory)

    @classmethod
    def asked(cls, **given: Any) -> Execution:
        """Return what a user asks for by the names of the fields; None is what was not said."""
        return cls(**{name: value for name, value in given.items() if value is not None})

    @classmethod
    def of_run(cls, manifest: Manifest) -> Execution:
        """Return how a run was begun, and goes on.

        Raises:
            ValueError: if this machine cannot do that.
        """
        return cls(
            device=manifest.device,
            memory=manifest.memory,
            precision=precision_of(manifest),
            cuda_graph=manifest.cuda_graph,
            workers=manifest.workers,
            processes=manifest.processes,
            threads=manifest.threads,
            strict=manifest.strict,
            seed=manifest.seed,
        )

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def at_a_time(self) -> int:
        """How many trainings run at a time: one for each core if nobody said, one on CUDA."""
        usual = (os.cpu_count() or 1) if self.place.type == "cpu" else 1
        return self.processes or usual

    @property
    def numerics(self) -> dict[str, Any]:
        """What decides how the numbers round, as runs record it."""
        return {
            "memory": self.memory,
            "precision": self.precision,
            "cuda_graph": self.cuda_graph,
        }

    def each(self, seed: int) -> Execution:
        """Return how one of the trainings at a time is run: on its share of the threads."""
        threads = max(1, self.threads // self.at_a_time)
        return dataclasses.replace(self, seed=seed, threads=threads)


def executed(execution: Execution | None, seed: int | None) -> Execution:
    """Return how a call runs: as it was given, on the CPU if None, with the seed that is given.

    Raises:
        ValueError: if something else was given.
    """
    execution = Execution() if execution is None else execution
    if not isinstance(execution, Execution):
        raise ValueError(f"execution= takes a nastk.Execution or None, got {shown(execution)}")
    return execution if seed is None else dataclasses.replace(execution, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How trainings compute.

    Attributes:
        precision: in which networks compute.
        memory: what they keep for their backward pass.
        cuda_graph: whether the update is recorded and replayed.
        lines: what the user has to know of it.
    """

    precision: str
    memory: str
    cuda_graph: bool
    lines: list[str]


def computed_as(
    names: Sequence[str | Path],
    precision: str | None,
    cuda_graph: bool | None,
    device: str,
) -> Way:
    """Return how trainings compute: as asked for, else as the searches among some archs did.

    Memory is that of the searches on such a device, of the device where they differ.

    Args:
        names: of the archs; run folders among them are of searches.
        precision: as asked for; that of the searches if None, of the device if there are none.
        cuda_graph: so as well; None where the device cannot do it records nothing, and says so.
        device: on which they run.

    Raises:
        ValueError: if the device cannot do what is asked for or compute as the searches did, or
            these differ.
    """
    place = find_device(device)
    runs = [Run.open(folder).manifest for folder in map(Path, names) if folder.is_dir()]
    searches = [manifest for manifest in runs if manifest.strategy is not None]
    lines = []
    if precision is None and searches:
        precision = _common_precision(searches, place)
        if precision != default_precision(place):
            lines.append(f"networks compute in {precision}, as the search did")
    precision = find_precision(precision, place)
    theirs = {m.memory for m in searches if torch.device(m.device).type == place.type}
    if cuda_graph:
        theirs.discard("lowest")  # as which no updates are recorded
    memory = theirs.pop() if len(theirs) == 1 else default_memory(place)
    if cuda_graph is None and any(manifest.cuda_graph for manifest in searches):
        try:
            check_recording(place, precision=precision, memory=memory)
            cuda_graph = True
        except ValueError as error:
            lines.append(f"updates are not recorded as those of the search were: {error}")
    return Way(precision=precision, memory=memory, cuda_graph=bool(cuda_graph), lines=lines)


def precision_of(manifest: Manifest) -> str:
    """Return in which precision a run computes; where it says none, in that of its device."""
    return manifest.precision or default_precision(torch.device(manifest.device))


def _common_precision(searches: Sequence[Manifest], place: torch.device) -> str:
    """Return the one in which searches computed; where none is on record, that of their device.

    Raises:
        ValueError: if they differ, or the device has no use for it.
    """
    theirs = set(map(precision_of, searches))
    if len(theirs) > 1:
        both = " and ".join(sorted(theirs))
        raise ValueError(f"these runs computed in {both}: say in which with --precision")
    (precision,) = theirs
    if precision == "float16" and place.type != "cuda":
        raise ValueError(
            "the search computed in float16, which needs --device cuda: add that, or --precision "
            "bfloat16 or float32"
        )
    return precision
