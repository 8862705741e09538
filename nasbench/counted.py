"""What a search wrote down of its arch's cost, so that it can be told without the space's code."""

from __future__ import annotations

from typing import Any

from ..core.arch import Arch
from ..core.files import read_json
from ..core.run import Run, write_json
from ..core.space import Space
from ..evaluators.efficiency import per_layer

COUNTS = ("flops", "params", "activations")
_SIZES = (*COUNTS, "resolution", "num_classes")


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
    content = read_json(file)
    for name in _SIZES:
        if not isinstance(content[name], int):
            raise ValueError(f"{file} is damaged: its {name} is {content[name]!r}")
    if not isinstance(content["layers"], list):
        raise ValueError(f"{file} is damaged: its layers are no list")
    return dict(content)
