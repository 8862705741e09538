"""What a search wrote down of its arch's cost, so that it can be told without the space's code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.arch import Arch
from ..core.record import Count, Record, read_record
from ..core.run import Run, write_json
from ..core.space import Space
from ..evaluators.efficiency import per_layer


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer(Record):
    """Counts of one layer."""

    layer: str
    kind: str
    flops: Count
    params: Count
    activations: Count


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted(Record):
    """`cost.json`: counts of the found arch, at which size, and of each of its layers."""

    flops: Count
    params: Count
    activations: Count
    resolution: Count | list[Count]
    num_classes: Count
    layers: list[Layer]


def write_counts(run: Run, space: Space, arch: Arch) -> None:
    """Write `cost.json`: the counts of an arch, at which size, and the cost of each layer."""
    content = {
        **space.cost.count(space.indices(arch)),
        "resolution": space.resolution,
        "num_classes": space.num_classes,
        "layers": per_layer(space, arch),
    }
    write_json(run.path / "cost.json", content)


def read_counts(run: Run) -> dict[str, Any] | None:
    """Return what `write_counts` wrote, None where there is nothing.

    Raises:
        ValueError: if the file is damaged.
    """
    file = run.path / "cost.json"
    if not file.is_file():
        return None
    return dict(read_record(file, Counted))
