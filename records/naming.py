"""What users type (names, files, run folders) becomes spaces and archs."""

from __future__ import annotations

import dataclasses
from numbers import Integral
from pathlib import Path
from typing import Any

import torch

from ..core.arch import Arch
from ..core.lookup import lookup
from ..core.manifest import MOST_PROCESSES, MOST_SEED
from ..core.resolution import ResolutionLike
from ..core.run import Run
from ..core.space import Space
from ..nasbench.families import make_space, named_space
from ..nasbench.references import find_reference
from ..tasks.named import is_embedded
from .trust import recorded_space

MOST_STEPS = 2**31 - 1
"""So many updates fit behind every seed, and nobody waits for them."""


def find_device(name: str) -> torch.device:
    """Return a device by name.

    Raises:
        ValueError: if there is no such device on this machine.
    """
    kind = name.partition(":")[0]
    lookup("device", kind, dict.fromkeys(("cpu", "cuda")))
    if kind == "cpu" and name != kind:
        raise ValueError(f"no device {name!r}; use --device cpu or --device cuda:NUMBER")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("this machine or this torch has no CUDA device; use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"no device {name!r}; use --device cuda or cuda:NUMBER") from None
    if kind == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise ValueError(f"no device {name!r}: this machine has {count} of CUDA, from cuda:0")
    return device


def check_recording(device: torch.device, *, precision: str, memory: str) -> None:
    """Refuse to record a training step where that cannot be done.

    Raises:
        ValueError: with what to leave out.
    """
    if device.type != "cuda":
        raise ValueError("--cuda-graph records kernels of CUDA: add --device cuda or leave it out")
    if precision == "float16":
        raise ValueError(
            "--cuda-graph and --precision float16 exclude each other, as the scale of gradients is "
            "set on the host: use bfloat16"
        )
    if memory == "lowest":
        raise ValueError(
            "--cuda-graph and --memory lowest exclude each other, as computing a block again "
            "reads the state of random numbers: use low"
        )


def check_length(steps: int | None, epochs: int | None) -> None:
    """Refuse two lengths of one training.

    Raises:
        ValueError: if both are given.
    """
    if steps is not None and epochs is not None:
        raise ValueError("--steps and --epochs both say how long to train: leave one out")


# The least and the most of each number that a user may give; more of anything nobody can mean.
_BOUNDS = {
    "seed": (0, MOST_SEED),
    "steps": (1, MOST_STEPS),
    "workers": (0, MOST_PROCESSES),
    "processes": (1, MOST_PROCESSES),
    "save_images": (1, 100_000),
    "seeds": (1, 1000),
    "random": (0, 10_000),
    "archs": (2, 10_000),
}


def check_numbers(**numbers: int | None) -> None:
    """Refuse numbers that mean nothing.

    Args:
        numbers: by name of their option, with underscores; None where it is not given.

    Raises:
        ValueError: if one is no whole number, or less or more than anybody can mean.

    Example:
        >>> check_numbers(seed=0, steps=None)
        >>> check_numbers(steps=0)
        Traceback (most recent call last):
        ValueError: --steps takes a whole number of at least 1 and at most 2,147,483,647, got 0
    """
    for name, value in numbers.items():
        least, most = _BOUNDS[name]
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if value is None or (is_whole and least <= value <= most):
            continue
        raise ValueError(
            f"--{name.replace('_', '-')} takes a whole number of at least {least} and at most "
            f"{most:,}, got {value!r:.60}"
        )


def spaces_of(run: Run) -> tuple[Space, Space]:
    """Return target and proxy of a run.

    Raises:
        ValueError: if they are in a file that the user does not trust, or have other options.
    """
    manifest = run.manifest
    family = recorded_space(manifest, run.path)
    try:
        return make_space(family, manifest.target), make_space(family, manifest.proxy)
    except ValueError as error:
        raise ValueError(f"{run.manifest_path} is damaged: {error}") from None


def space_for(data: str, target: Space, proxy: Space | None = None) -> Space:
    """Return the space of which networks train on some data.

    Args:
        data: by name; on embedded ones the proxy is trained, on the user's the target.
        target: whose cost is counted.
        proxy: of the target; its own if None.
    """
    if not is_embedded(data):
        return target
    return target.proxy() if proxy is None else proxy


def trained_space(run: Run, data: str | None = None) -> Space:
    """Return the space of which networks of a run train on some data, the run's own if None.

    Raises:
        ValueError: as `spaces_of`.
    """
    return space_for(data or run.manifest.data, *spaces_of(run))


def found_in(run: Run) -> tuple[Space, Arch]:
    """Return the space of a run and the arch that it found.

    Raises:
        ValueError: if the search has not ended, or the arch is not of that space.
    """
    space, arch = spaces_of(run)[0], run.arch
    if arch.space != space.name:
        raise ValueError(
            f"{run.arch_path} is of space {arch.space!r}, its run of {space.name!r}; put the run's "
            "own arch.json back, or give the file instead of the folder"
        )
    return space, space.arch(arch.choices)


def family_of(what: str | Path) -> type[Space] | None:
    """Return the space of a run folder as its manifest names it, None for anything else."""
    path = Path(what)
    return recorded_space(Run.open(path).manifest, path) if path.is_dir() else None


def resolve(
    what: str | Path, *, resolution: ResolutionLike | None = None, classes: int | None = None
) -> tuple[Space, Arch]:
    """Return space and arch of a run folder, an arch.json or a published name.

    Raises:
        ValueError: if it is none of these.
    """
    path = Path(what)
    if path.is_dir():
        space, arch = found_in(Run.open(path))
    elif path.is_file():
        arch = _arch_in(path)
        space = make_space(named_space(arch.space, path), arch.options)
    elif path.suffix == ".json" or len(path.parts) > 1:
        raise ValueError(
            f"no file or folder {path}; expected a run folder, an arch.json or a known name"
        )
    else:
        try:
            reference = find_reference(str(what))
        except ValueError as error:
            raise ValueError(
                f"{error}; there is no file or folder of that name either, and `nastk references` "
                "lists the published networks"
            ) from None
        space, arch = reference.arch()
    sizes = {"resolution": resolution, "num_classes": classes}
    changed: dict[str, Any] = {key: value for key, value in sizes.items() if value is not None}
    space = dataclasses.replace(space, **changed)
    return space, space.arch(arch.choices)


def training_folder(what: str | Path) -> Path:
    """Return where a network is trained: a run in its own folder, others in `runs/NAME`.

    Raises:
        ValueError: if it is neither a run folder nor an arch.json or a published name.
    """
    path = Path(what)
    if path.is_dir():
        return path
    arch = resolve(what)[1]
    return Path("runs", arch.id if path.is_file() else str(what))


def _arch_in(path: Path) -> Arch:
    try:
        return Arch.from_json(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no arch.json: {error}") from None
