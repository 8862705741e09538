"""How trainings are run that belong to runs: as these were, unless something else is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..core.manifest import Manifest
from ..core.precision import default_precision, find_precision
from ..core.run import Run
from .naming import check_recording


@dataclass(frozen=True, kw_only=True)
class Way:
    """How trainings compute.

    Attributes:
        precision: in which networks compute.
        cuda_graph: whether the update is recorded and replayed.
        lines: what the user has to know of it.
    """

    precision: str
    cuda_graph: bool
    lines: list[str]


def computed_as(
    names: Sequence[str | Path],
    precision: str | None,
    cuda_graph: bool | None,
    place: torch.device,
    memory: str,
) -> Way:
    """Return how trainings compute: as asked for, else as the searches among some archs did.

    Args:
        names: of the archs; run folders among them are of searches.
        precision: as asked for; that of the searches if None, of the device if there are none.
        cuda_graph: so as well; None where the device cannot do it records nothing, and says so.
        place: the device.
        memory: what networks keep for their backward pass.

    Raises:
        ValueError: if the device cannot do what is asked for or compute as the searches did, or
            these differ.
    """
    runs = [Run.open(folder).manifest for folder in map(Path, names) if folder.is_dir()]
    searches = [manifest for manifest in runs if manifest.strategy is not None]
    lines = []
    if precision is None and searches:
        precision = _precision_of(searches, place)
        if precision != default_precision(place):
            lines.append(f"networks compute in {precision}, as the search did")
    precision = find_precision(precision, place)
    if cuda_graph:
        check_recording(place, precision=precision, memory=memory)
    elif cuda_graph is None and any(manifest.cuda_graph for manifest in searches):
        try:
            check_recording(place, precision=precision, memory=memory)
            cuda_graph = True
        except ValueError as error:
            lines.append(f"updates are not recorded as those of the search were: {error}")
    return Way(precision=precision, cuda_graph=bool(cuda_graph), lines=lines)


def _precision_of(searches: Sequence[Manifest], place: torch.device) -> str:
    """Return the one in which searches computed; where none is on record, that of their device.

    Raises:
        ValueError: if they differ, or the device has no use for it.
    """
    theirs = {
        manifest.precision or default_precision(torch.device(manifest.device))
        for manifest in searches
    }
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
