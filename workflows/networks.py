"""What is asked about a network, its exact cost and its module, and which spaces there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..core.arguments import typed_arguments
from ..core.budget import flops_range
from ..core.resolution import ResolutionLike
from ..core.run import Run
from ..core.torch_state import own_torch_state
from ..evaluators.efficiency import outside_flops, per_layer
from ..records.counted import read_counts
from ..records.naming import family_of, resolve
from ..records.trust import UntrustedCodeError
from ..records.weights import check_owner, last_weights, load_weights
from ..search_spaces import SPACES


@typed_arguments
@own_torch_state()
def count(
    what: str | Path,
    *,
    resolution: ResolutionLike | None = None,
    classes: int | None = None,
    layers: bool = False,
    check: bool = False,
) -> dict[str, Any]:
    """Return the exact cost of a run's arch, an arch.json or a published network.

    Args:
        what: run folder, arch.json or name such as `mobilenext-1.0`.
        resolution: 224, or height and width as 256x192; the arch's own if None.
        classes: number of classes, the arch's own if None.
        layers: add a list of the cost of each layer.
        check: compare FLOPs with fvcore on the built network, or with torch's counter where
            products of attention occur, and params with those that the built module holds.

    Returns:
        `name params flops activations resolution num_classes`, and `layers`, `module_params` and
        `fvcore_flops` or `torch_flops`.

    Raises:
        RuntimeError: if a check finds another number.
    """
    try:
        space, arch = resolve(what, resolution=resolution, classes=classes)
    except UntrustedCodeError:
        if check or resolution is not None or classes is not None:
            raise
        return _recorded(Path(what), layers)
    result: dict[str, Any] = {
        "name": str(what),
        **space.cost.count(space.indices(arch)),
        "resolution": space.resolution,
        "num_classes": space.num_classes,
    }
    if layers:
        result["layers"] = per_layer(space, arch)
    if check:
        module = space.build(arch)
        held = sum(parameter.numel() for parameter in module.parameters())
        if held != result["params"]:
            raise RuntimeError(f"the module has {held:,} params, nastk counts {result['params']:,}")
        result["module_params"] = held
        counter, counted = outside_flops(module, space.inputs())
        if counted != result["flops"]:
            raise RuntimeError(f"{counter} counts {counted:,} FLOPs, nastk {result['flops']:,}")
        result[f"{counter}_flops"] = counted
    return result


def _recorded(run: Path, layers: bool) -> dict[str, Any]:
    """Return what the search counted and wrote down, as the run's own code is not trusted."""
    counted = read_counts(Run.open(run))
    if counted is None:
        raise ValueError(
            f"{run} does not say what its arch costs, and brings code of its own: read that, then "
            "add --check --trust"
        )
    left_out = () if layers else ("layers",)
    return {"name": str(run), **{k: v for k, v in counted.items() if k not in left_out}}


@typed_arguments
@own_torch_state()
def load(
    what: str | Path,
    weights: str | Path | None = None,
    *,
    resolution: ResolutionLike | None = None,
    classes: int | None = None,
) -> nn.Module:
    """Return a plain PyTorch module: of a run what was trained, else a fresh network.

    Args:
        what: run folder, arch.json or published name.
        weights: None for those of the last retraining of a run folder, in eval mode, and for
            fresh ones of an arch.json or a published name; `none` for fresh ones of a run too (of
            the target, whose cost was counted); or a .safetensors file. Trained weights say
            themselves whether the proxy was trained, at which resolution, on how many classes.
        resolution: pixels of a network with fresh weights, the arch's own if None.
        classes: number of classes of a network with fresh weights, the arch's own if None.

    Returns:
        Trained networks in eval mode, fresh ones in training mode as PyTorch's modules are.

    Raises:
        ValueError: if a run has no trained weights, the weights belong to another network, or
            another size is asked of them.
    """
    if weights is None and Path(what).is_dir():
        weights = last_weights(what, "or load it with weights='none' for a fresh network")
    if weights is None or str(weights) == "none":
        space, arch = resolve(what, resolution=resolution, classes=classes)
        return space.build(arch)
    sizes = {"resolution": resolution, "classes": classes}
    if given := [name for name, value in sizes.items() if value is not None]:
        raise ValueError(f"{weights} say their own {' and '.join(given)}: leave out what they fix")
    check_owner(Path(weights), what)
    return load_weights(Path(weights), family_of(what))


def list_spaces() -> list[dict[str, Any]]:
    """Return what `nastk spaces` shows."""
    rows = []
    for name, family in SPACES.items():
        space = family()
        smallest, largest = flops_range(space)
        rows.append(
            {
                "name": name,
                "num_choices": len(space.choices()),
                "log10_size": round(space.cost.log10_size, 2),
                "flops_min": smallest,
                "flops_max": largest,
                "tasks": list(space.tasks),
            }
        )
    return rows
