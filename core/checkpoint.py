"""Checkpoints that survive a kill at any instant and tell when they are damaged."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from .files import create, is_temporary, named_errors, parse_json, sync_folder, temporary_name

# Without a configuration of its own, Python prints warnings on standard error, one line each.
_log = logging.getLogger(__name__)
# What the use of tensors and values raises that are not those of the network or optimiser.
MISFITS = (ValueError, RuntimeError, TypeError, LookupError, AttributeError, ArithmeticError)
_FILES = ("weights.safetensors", "state.pt")


def save_checkpoint(
    folder: Path, name: str, weights: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint beside the previous one, then let it take that one's place.

    The new folder is complete and on disk before it gets its name; the one before it stays as
    `previous`, so at every instant at least one whole checkpoint exists.

    Raises:
        OSError: if the disk is full; earlier checkpoints are untouched.
    """
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():  # of processes that were killed while they wrote
        if is_temporary(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    temporary = temporary_name(folder / name)
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
    contents = (save(tensors), buffer.getvalue())
    try:
        temporary.mkdir()
        digests = {f: hashlib.sha256(c).hexdigest() for f, c in zip(_FILES, contents, strict=True)}
        _write(temporary / "sha256.json", json.dumps(digests).encode())
        for file, content in zip(_FILES, contents, strict=True):
            _write(temporary / file, content)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    final, previous = folder / name, folder / f"{name}-previous"
    if final.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(final, previous)
    os.replace(temporary, final)
    sync_folder(folder)


def load_checkpoint(
    folder: Path,
    name: str,
    *,
    repair: bool = False,
    take: Callable[[dict[str, Tensor], dict[str, Any]], None] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return weights and state of the newest whole checkpoint, or None if none was written.

    A damaged one is passed over with a warning in the log, and so is one whose content does not
    fit, though it is as it was written.

    Args:
        folder: of the checkpoints.
        name: of the checkpoint.
        repair: remove a damaged one, so that it never takes the place of the one before.
        take: puts weights and state to use, and raises where they do not fit.

    Raises:
        ValueError: if every checkpoint is damaged.
    """
    damages = []
    for candidate in (folder / name, folder / f"{name}-previous"):
        if not candidate.exists():
            continue
        try:
            found = _read(candidate)
            if take is not None:
                _try(take, *found)
        except (OSError, ValueError) as error:
            damages.append(f"checkpoint {candidate} is damaged ({error})")
            continue
        for damage in damages:
            _log.warning("warning: %s; going on from the one before", damage)
        if repair and damages:
            shutil.rmtree(folder / name)
        return found
    if damages:
        raise ValueError(
            f"{damages[0]} and no whole one is left: remove {folder} to start from the beginning"
        )
    return None


def _try(
    take: Callable[[dict[str, Tensor], dict[str, Any]], None],
    weights: dict[str, Tensor],
    state: dict[str, Any],
) -> None:
    try:
        take(weights, state)
    except MISFITS as error:
        raise ValueError(f"its content does not fit: {_short(error)}") from None


def _short(error: Exception) -> str:
    """Return the first line of an error; those of torch name every tensor."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__} {lines[0][:120]}".strip()


def _write(path: Path, content: bytes) -> None:
    with named_errors(path), create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    digests = parse_json((folder / "sha256.json").read_bytes())
    if not isinstance(digests, dict):
        raise ValueError("sha256.json holds no checksums")
    contents = []
    for file in _FILES:
        content = (folder / file).read_bytes()
        if hashlib.sha256(content).hexdigest() != digests.get(file):
            raise ValueError(f"{file} does not match its checksum")
        contents.append(content)
    try:
        weights = load(contents[0])
        state = torch.load(io.BytesIO(contents[1]), weights_only=True)
    except Exception as error:  # bytes of whatever kind, whose hash may fit
        raise ValueError(f"it is no checkpoint: {_short(error)}") from None
    if not isinstance(state, dict):
        raise ValueError("its state is no dict")
    return weights, state
