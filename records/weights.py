"""Weights of trained networks, as files that say which network is theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from ..core.arch import Arch
from ..core.check import as_tuple
from ..core.files import parse_json, write_atomically
from ..core.preprocessing import Preprocessing
from ..core.record import read_record
from ..core.space import Space
from ..nasbench.families import make_space, named_space
from .naming import resolve, training_folder
from .results import Retrained

_METADATA = "nastk"
PREPROCESSING, CLASSES = "nastk.preprocessing", "nastk.classes"
"""Entries that weights and exported files have besides, each of them JSON."""

_KINDS: dict[str, Any] = {
    "arch": dict,
    "options": dict,
    "data": str,
    "preprocessing": dict | None,
    "classes": list,
}
# Options in which a trained network may differ from the target that is its arch's.
_SIZES = {"resolution", "num_classes", "scale", "task"}


def save_weights(
    network: nn.Module,
    path: Path,
    space: Space,
    arch: Arch,
    metadata: dict[str, Any],
    *,
    preprocessing: Preprocessing | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Write weights together with what is needed to build and to feed their network.

    Args:
        network: whose weights are written.
        path: of the file.
        space: which built it.
        arch: of the space.
        metadata: what else to say: at least `data`, which it was trained on.
        preprocessing: how the pixels of these data became its input; None if nobody can say.
        classes: names in the order of its outputs; their numbers if None.
    """
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    arch_entry = json.loads(arch.to_json())
    metadata = metadata | {"arch": arch_entry, "options": space.options}
    names = [str(name) for name in classes or range(space.num_classes)]
    entries = {_METADATA: json.dumps(metadata)} | entries_of(preprocessing, names)
    write_atomically(path, _in_order(save(tensors, entries)))


def entries_of(preprocessing: Preprocessing | None, classes: Sequence[str]) -> dict[str, str]:
    """Return what a file says about the input and the outputs of its network."""
    content = None if preprocessing is None else preprocessing.to_json()
    return {PREPROCESSING: json.dumps(content), CLASSES: json.dumps(list(classes))}


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with sorted metadata, so that equal weights are equal bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


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
        with _readable(path) as name:
            network.load_state_dict(load_file(name))
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


@contextmanager
def _readable(path: Path) -> Iterator[str]:
    """Yield a name of a file that is UTF-8, as the readers of its format want it."""
    if os.fsencode(path) == str(path).encode(errors="replace"):
        yield str(path)
        return
    with open(path, "rb") as file:
        yield f"/dev/fd/{file.fileno()}"


def metadata_of(path: Path) -> dict[str, Any]:
    """Return what a weights file says about its network.

    Returns:
        `arch` and `options`, as JSON holds them, `data`, `preprocessing` (a `Preprocessing`, or
        None) and `classes` (a list of names).

    Raises:
        ValueError: if it says too little, or what nobody can understand.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}; expected weights written by `nastk retrain`")
    try:
        with _readable(path) as name, safe_open(name, "pt") as file:
            entries = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    if _METADATA not in entries:
        raise ValueError(f"{path} was not written by nastk: it does not say which arch it is of")
    try:
        content = dict(parse_json(entries[_METADATA]))
        for key, name in {PREPROCESSING: "preprocessing", CLASSES: "classes"}.items():
            content |= {name: parse_json(entries[key])} if key in entries else {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: its metadata are no JSON ({error})") from None
    for name, kind in _KINDS.items():
        if name not in content:
            raise ValueError(f"{path} does not say its {name}; retrain to write it again")
        if not isinstance(content[name], kind):
            raise ValueError(f"{path} is damaged: its {name} is {content[name]!r}")
    try:
        Arch.from_json(json.dumps(content["arch"]))
        if content["preprocessing"] is not None:
            content["preprocessing"] = Preprocessing.from_json(content["preprocessing"])
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    content["classes"] = [str(name) for name in content["classes"]]
    sizes = [content["options"].get(name) for name in ("resolution", "num_classes")]
    side = content["preprocessing"].resolution if content["preprocessing"] else sizes[0]
    sizes[0] = tuple(sizes[0]) if isinstance(sizes[0], list) else sizes[0]
    if sizes != [as_tuple(side), len(content["classes"])]:
        raise ValueError(f"{path} is damaged: its resolution and classes contradict its network")
    return content


def last_weights(
    what: str | Path,
    otherwise: str = "or give --weights, or the folder of a retraining elsewhere",
) -> Path:
    """Return the weights of the last retraining of a network, in its `training_folder`.

    Raises:
        ValueError: if there was none; it ends with `otherwise`, what else can be done.
    """
    run = training_folder(what)
    marker = run / "retrain.json"
    if not marker.is_file():
        place = "" if run == Path(what) else f" in {run}"
        raise ValueError(f"{what} has no trained weights{place}: nastk retrain {what}, {otherwise}")
    return run / Path(read_record(marker, Retrained).weights).name
