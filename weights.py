"""Weights of trained networks, as files that say which network is theirs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from .core.arch import Arch
from .core.files import read_json, write_atomically
from .core.space import Space
from .core.task import Task
from .naming import resolve, training_folder
from .nasbench.families import make_space, named_space

_METADATA = "nastk"
# Options in which a trained network may differ from the target that is its arch's.
_SIZES = {"resolution", "num_classes", "scale"}


def save_weights(
    network: nn.Module, path: Path, space: Space, arch: Arch, metadata: dict[str, Any]
) -> None:
    """Write weights together with what is needed to build their network."""
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    arch_entry = json.loads(arch.to_json())
    metadata = metadata | {"arch": arch_entry, "options": space.options}
    # One entry: safetensors writes several in no fixed order, and equal weights are equal bytes.
    write_atomically(path, save(tensors, {_METADATA: json.dumps(metadata)}))


def load_weights(path: Path, family: type[Space] | None = None) -> nn.Module:
    """Return the network that a weights file belongs to, with its weights.

    Args:
        path: of the file.
        family: the space, which a file may only name where it is one of nastk's.

    Raises:
        ValueError: if the file is none of nastk's, or damaged.
    """
    metadata = metadata_of(path)
    arch = Arch.from_json(json.dumps(metadata["arch"]))
    if family is None or family.name != arch.space:
        family = named_space(arch.space, path)
    network = make_space(family, metadata["options"]).build(arch.choices)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold the weights of its network ({error})") from None
    return network.eval()


def check_owner(path: Path, what: str | Path) -> None:
    """Refuse weights of another network than `what`; proxy, resolution and classes may differ.

    Raises:
        ValueError: with the first thing that is different.
    """
    space, arch = resolve(what)
    metadata = metadata_of(path)
    theirs = {"space": metadata["arch"]["space"], **metadata["options"]}
    for owner in (space.proxy(), space):
        ours = json.loads(json.dumps({"space": space.name, **owner.options}))  # no tuples in JSON
        names = [name for name in {**ours, **theirs} if name not in _SIZES]
        odd = [name for name in names if ours.get(name) != theirs.get(name)]
        if not odd and metadata["arch"]["choices"] == dict(arch.choices):
            return
    detail = f"its {odd[0]} is {theirs.get(odd[0])!r}, not {ours.get(odd[0])!r}" if odd else ""
    raise ValueError(f"{path} belongs to another network than {what}: {detail or 'other choices'}")


def check_classes(path: Path, task: Task, data: str) -> None:
    """Refuse data whose labels mean other classes than those that weights were trained on.

    Raises:
        ValueError: with the names on both sides.
    """
    theirs, ours = metadata_of(path).get("classes"), task.classes
    if theirs is None or ours is None or list(ours) == theirs[: len(ours)]:
        return
    pairs = enumerate(zip_longest(ours, theirs))
    label, (here, there) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    raise ValueError(
        f"{data} has the classes {_listed(ours)}, but {path} was trained on {_listed(theirs)} "
        f"(label {label} is {here!r}, was {there!r}); test on data of the same classes"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) or "none"
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def metadata_of(path: Path) -> dict[str, Any]:
    """Return what a weights file says about its network."""
    if not path.is_file():
        raise ValueError(f"no file {path}; expected weights written by `nastk retrain`")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    if _METADATA not in metadata:
        raise ValueError(f"{path} was not written by nastk: it does not say which arch it is of")
    content: dict[str, Any] = json.loads(metadata[_METADATA])
    if missing := [key for key in ("arch", "options", "data") if key not in content]:
        raise ValueError(f"{path} does not say its {missing[0]}; retrain to write it again")
    return content


def last_weights(what: str | Path) -> Path:
    """Return the weights of the last retraining of a network, in its `training_folder`."""
    run = training_folder(what)
    marker = run / "retrain.json"
    if not marker.is_file():
        place = "" if run == Path(what) else f" in {run}"
        raise ValueError(
            f"{what} has no trained weights{place}: nastk retrain {what}, or give --weights, or "
            "the folder of a retraining elsewhere"
        )
    return run / Path(read_json(marker)["weights"]).name
