"""Reading the tensors of PyTorch's checkpoints as data: nothing in them is imported or called.

A checkpoint is a pickle that describes tensors, beside the bytes of their storages: in a zip
archive today, behind each other before PyTorch 1.6. Whatever else it holds (arguments of a training
script, optimisers, objects of any class) is skipped over.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .pickled import PERSISTENT, Call, read_pickle

# Where a checkpoint keeps its weights, the averaged ones first.
_CONTAINERS = ("state_dict_ema", "state_dict", "model_ema", "model")
# What wrappers of a network put in front of the names of its weights, in any order.
_PREFIXES = ("module.", "model.", "_orig_mod.")
_TYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
_DTYPES = {str(dtype): dtype for dtype in _TYPES.values()}
# Of files that are pickles behind each other, the first of which is this number.
_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class _Checkpoint:
    """What a file holds.

    Attributes:
        content: data and `Call`s.
        storage: returns the bytes of a storage by its key.
    """

    content: Any
    storage: Callable[[str], bytes]


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by their names, without what wrappers put before these.

    Raises:
        ValueError: naming the file, and the entry that stands in the way.
    """
    if not file.is_file():
        raise ValueError(f"no file {file}")
    try:
        with _opened(file) as checkpoint:
            place, entries = _weights_in(checkpoint.content)
            return _tensors(place, entries, checkpoint)
    except ValueError as error:
        said = "".join(c if c.isprintable() else "?" for c in str(error))
        raise ValueError(f"{file} is no checkpoint that can be read: {said}") from None


@contextmanager
def _opened(file: Path) -> Iterator[_Checkpoint]:
    with open(file, "rb") as opened:
        is_archive = opened.read(4) == b"PK\x03\x04"
    if not is_archive:
        yield _from_sequence(io.BytesIO(file.read_bytes()))
        return
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, NotImplementedError, struct.error) as error:
        raise ValueError(f"its archive is damaged ({error})") from None
    with archive:
        yield _from_zip(archive, file.stat().st_size)


def _from_zip(archive: zipfile.ZipFile, size: int) -> _Checkpoint:
    members = {info.filename: info for info in archive.infolist()}
    found = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
    if len(found) != 1:
        raise ValueError("it is an archive without data.pkl, which torch.save did not write")
    root = found[0].removesuffix("data.pkl")

    def read(name: str) -> bytes:
        info = members.get(root + name)
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
            raise ValueError(f"its archive has no {name!r} as torch.save writes it")
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, struct.error) as error:
            raise ValueError(f"its archive is damaged at {name!r} ({error})") from None

    if root + "byteorder" in members and read("byteorder") != b"little":
        raise ValueError("it was written by a machine that puts high bytes first")
    content = read_pickle(io.BytesIO(read("data.pkl")))
    return _Checkpoint(content, lambda key: read(f"data/{key}"))


def _from_sequence(file: io.BytesIO) -> _Checkpoint:
    """Read pickles that stand behind each other, and storages behind these."""
    if read_pickle(file) != _MAGIC:
        raise ValueError("it begins otherwise than what torch.save writes")
    read_pickle(file)  # version of the format
    system = read_pickle(file)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise ValueError("it was written by a machine that puts high bytes first")
    content = read_pickle(file)
    keys = read_pickle(file)
    widths = {key: dtype.itemsize for key, dtype in _storages(content)}
    storages = {}
    whole = file.getbuffer().nbytes
    for key in map(str, keys if isinstance(keys, list) else []):
        length = file.read(8)
        if len(length) < 8 or key not in widths:
            raise ValueError(f"it ends within its storage {key!r}")
        size = struct.unpack("<q", length)[0] * widths[key]
        storages[key] = file.read(min(max(size, 0), whole))
        if len(storages[key]) != size:
            raise ValueError(f"it ends within its storage {key!r}")

    def storage(key: str) -> bytes:
        if key not in storages:
            raise ValueError(f"it has no storage {key!r}")
        return storages[key]

    return _Checkpoint(content, storage)


def _storages(content: Any) -> list[tuple[Any, torch.dtype]]:
    """Return key and type of every storage that a content refers to."""
    found, seen, waiting = [], set(), [content]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict | list | tuple | set | frozenset | Call) or id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Call) and part.name == PERSISTENT:
            found.append(_storage_of(part))
        elif isinstance(part, Call):
            waiting += [part.arguments, part.state]
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        else:
            waiting += part
    return found


def _weights_in(content: Any) -> tuple[str, Mapping[Any, Any]]:
    """Return where the weights are, and the entries there by name."""
    place = ""
    for _ in range(4):  # containers stand in each other
        if isinstance(content, Call):
            raise ValueError(
                f"{place or 'it'} is an object of {content.name!r}; save its state_dict() instead"
            )
        if not isinstance(content, Mapping):
            raise ValueError(
                f"{place or 'it'} is a {type(content).__name__}; expected weights by name, or a "
                "state_dict of them"
            )
        if any(map(_is_tensor, content.values())):
            return place, content
        inner = [name for name in _CONTAINERS if isinstance(content.get(name), Mapping)]
        inner += [name for name in _CONTAINERS if isinstance(content.get(name), Call)]
        if not inner:
            break
        place, content = (f"{place}.{inner[0]}" if place else inner[0]), content[inner[0]]
    names = ", ".join(map(repr, list(content)[:5])) or "nothing"
    raise ValueError(f"no tensors by name, nor a state_dict of them; {place or 'it'} holds {names}")


def _tensors(place: str, entries: Mapping[Any, Any], checkpoint: _Checkpoint) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, value in entries.items():
        short = _short(str(name))
        entry = f"{place}[{str(name)[:200]!r}]" if place else repr(str(name)[:200])
        if not _is_tensor(value):
            if isinstance(value, Call):
                raise ValueError(f"its entry {entry} is an object of {value.name!r}, no tensor")
            continue  # a number or a text, such as the epoch
        if short in tensors:
            raise ValueError(f"its entry {entry} is there twice, with and without a prefix")
        try:
            tensors[short] = _tensor(value, checkpoint)
        except (TypeError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise ValueError(f"its entry {entry} is a damaged tensor ({line})") from None
    return tensors


def _short(name: str) -> str:
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Call) and value.name.startswith("torch._utils._rebuild_")


def _kind(value: Call) -> str:
    return value.name.removeprefix("torch._utils._rebuild_")


def _tensor(value: Call, checkpoint: _Checkpoint) -> Tensor:
    """Return the tensor that a call would make."""
    kind, given = _kind(value), value.arguments or ()
    if kind in ("parameter", "parameter_with_state") and given and _is_tensor(given[0]):
        kind, given = _kind(given[0]), given[0].arguments or ()
    if kind not in ("tensor", "tensor_v2", "tensor_v3") or len(given) < 4:
        raise ValueError(f"it holds a tensor made by {value.name!r}, which is not plain")
    key, dtype = _storage_of(given[0])
    if kind == "tensor_v3" and len(given) > 6 and isinstance(given[6], Call):
        dtype = _DTYPES.get(given[6].name, dtype)
    offset, size, stride = given[1:4]
    numbers = [offset, *size, *stride]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise ValueError(f"it holds a tensor of the size {size!r}, which is none")
    raw = checkpoint.storage(key)
    length = len(raw) // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > length or (math.prod(size) and last >= length):
        raise ValueError(f"it holds a tensor of the size {size!r} in {length} numbers")
    if not math.prod(size):
        return torch.empty(size, dtype=dtype)
    stored = torch.frombuffer(bytearray(raw), dtype=dtype, count=length)
    return stored.as_strided(size, stride, offset).clone()


def _storage_of(reference: Any) -> tuple[str, torch.dtype]:
    """Return the key of a storage and the type of its numbers."""
    parts = (reference.arguments or ((),))[0] if isinstance(reference, Call) else ()
    if not isinstance(parts, tuple) or len(parts) < 5 or parts[0] != "storage":
        raise ValueError("it holds a tensor without a storage")
    kind, key = parts[1], parts[2]
    name = kind.name if isinstance(kind, Call) else ""
    if name in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
        return str(key), torch.uint8
    short = name.removeprefix("torch.").removesuffix("Storage")
    if short not in _TYPES:
        raise ValueError(f"it holds a storage of {name!r}, which is none of plain numbers")
    return str(key), _TYPES[short]
