"""Reading npz, idx and CIFAR-10 files, whose headers are believed only as far as the bytes go."""

from __future__ import annotations

import gzip
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays

# So much may come out of a compressed file whatever it is; beyond, a hundred times its bytes.
_LARGE, _RATIO = 1 << 30, 100

_PARSER = (SyntaxError, tokenize.TokenError, RecursionError, MemoryError)

_CHUNK = 1 << 20

_CIFAR_ROW = 3073  # a label and 3 x 32 x 32 pixels

_OBJECTS = (
    "holds an array of Python objects, which nastk never loads; save x as uint8 and y as whole "
    "numbers or text"
)


def npz_names(file: Path) -> list[str]:
    """Return the names of the arrays in an npz file, which is a zip archive of them.

    Raises:
        ValueError: if it is none.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        raise ValueError(
            f"{file} is no npz file, or is cut short; write one with numpy.savez(FILE, x=x, y=y)"
        ) from None
    return [name[:-4] if name.endswith(".npy") else f"{name} (no .npy)" for name in names]


def npz_arrays(file: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Return arrays of an npz file; the others are not touched.

    Raises:
        ValueError: if one is damaged, declares more than it holds, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return [_member(file, archive, name) for name in names]
    # Of what is compressed in a way or with a password that nobody expects, the last two.
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError, OverflowError),
        *(NotImplementedError, RuntimeError),
    ) as error:
        raise ValueError(f"{file} is damaged ({error}); write it again") from None


def _member(file: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError(f"array {name!r} is compressed as numpy never does")
    if info.compress_size > file.stat().st_size:
        raise EOFError(f"array {name!r} ends behind the end of the file")
    _check_ratio(file, info.file_size, info.compress_size)
    with archive.open(info) as stream:
        shape, is_fortran, kind = _header(file, name, stream)
        declared, held = math.prod(shape) * kind.itemsize, info.file_size - stream.tell()
        if declared != held:
            raise ValueError(
                f"{file} is damaged: array {name!r} declares {_shape(shape)} of {kind}, which is "
                f"{declared:,} bytes, and holds {held:,}; write it again"
            )
        content = np.frombuffer(stream.read(), kind)
    return content.reshape(shape, order="F" if is_fortran else "C")


def _header(
    file: Path, name: str, stream: IO[bytes]
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that Python 2 wrote
            version = np.lib.format.read_magic(stream)
            if version not in readers:
                raise ValueError(f"version {version}")
            shape, is_fortran, kind = readers[version](stream)
    # numpy parses the header as Python, whose parser has errors of its own.
    except (*_PARSER, ValueError, TypeError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{file} is damaged: the header of array {name!r} is none of numpy ({reason}); "
            "write it again"
        ) from None
    if kind.hasobject:
        raise ValueError(f"{file} {_OBJECTS}")
    if kind.fields is not None or kind.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(
            f"{file}: array {name!r} is {_shape(shape)} of {kind}; expected an array of numbers or "
            "text"
        )
    return shape, is_fortran, kind


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of a file in MNIST's format, compressed or not.

    Raises:
        ValueError: if it is damaged, or holds less or more than its header declares.
    """
    opened: IO[bytes] = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")  # type: ignore[assignment]
    try:
        with opened as file:
            shape = _idx_shape(path, file)
            declared = math.prod(shape)
            if path.suffix == ".gz":
                _check_ratio(path, declared, path.stat().st_size)
            content = bytearray()
            while chunk := file.read(min(_CHUNK, declared + 1 - len(content))):
                content += chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); download it again") from None
    if len(content) != declared:
        held = "more" if len(content) > declared else f"{len(content):,}"
        raise ValueError(
            f"{path} is cut short or damaged: its header declares {_shape(shape)}, which is "
            f"{declared:,} bytes, and it holds {held}; download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_shape(path: Path, file: IO[bytes]) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 4:
        raise ValueError(f"{path} is not in the MNIST format of unsigned bytes")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path} is cut short: it ends within its header")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4"))


def read_cifar(path: Path) -> Arrays:
    """Return [N, 3, 32, 32] bytes and [N] labels of a batch of CIFAR-10's binary version.

    Raises:
        ValueError: if it is none.
    """
    content = np.fromfile(path, np.uint8)
    if content.size == 0 or content.size % _CIFAR_ROW:
        raise ValueError(
            f"{path} is no CIFAR-10 batch: its size is not a multiple of {_CIFAR_ROW} bytes"
        )
    rows = content.reshape(-1, _CIFAR_ROW)
    if (largest := int(rows[:, 0].max())) > 9:
        raise ValueError(
            f"{path} is no CIFAR-10 batch, or damaged: it has the label {largest}; labels are 0 "
            "to 9"
        )
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def _check_ratio(file: Path, declared: int, packed: int) -> None:
    """Refuse what would fill the memory from few bytes."""
    if declared > max(_LARGE, _RATIO * packed):
        raise ValueError(
            f"{file} declares {declared:,} bytes within {packed:,} compressed ones, more than "
            f"{_RATIO} to 1; if that is true, write it uncompressed (numpy.savez, gunzip)"
        )


def _shape(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
