"""Writing so that a killed process leaves either the old file or the new one, never half of one."""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MOST = 1e150  # of numbers in files: squares and sums of such are still numbers
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Let errors of the system say which file they are about; those of `write` do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def make_folder(path: Path) -> None:
    """Make the folder of an `--out`, with its parents.

    Raises:
        ValueError: if it cannot be made there.
        OSError: if the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        above = next(folder for folder in (path, *path.parents) if folder.exists())
        reason = f"{above} is a file" if not above.is_dir() else str(error.strerror).lower()
        raise ValueError(
            f"cannot make the folder {path}: {reason}; choose another place with --out"
        ) from None


def temporary_name(path: Path) -> Path:
    """Return a name beside a file that nobody can foresee, under which it is written first."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def is_temporary(name: str) -> bool:
    """Tell whether a killed process left a file of that name behind.

    Example:
        >>> is_temporary(".report.html.0123456789abcdef.tmp"), is_temporary("report.html")
        (True, False)
    """
    return _TEMPORARY.fullmatch(name) is not None


def create(path: Path) -> IO[bytes]:
    """Open a file that does not exist yet; neither a file nor a link of that name is followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def open_within(path: Path, flags: int) -> int:
    """Open a file of a run folder for writing, but not through a link of either kind.

    Raises:
        ValueError: if it is a link, no regular file, or a file that has other names too.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path} is a link; nastk writes through none: remove it") from None
        if error.errno == errno.ENXIO:  # a pipe that nobody reads
            raise ValueError(f"{path} is no regular file: remove it") from None
        raise
    known = os.fstat(handle)
    if stat.S_ISREG(known.st_mode) and known.st_nlink <= 1:
        return handle
    os.close(handle)
    raise ValueError(
        f"{path} is {'a file with other names too' if stat.S_ISREG(known.st_mode) else 'no file'}, "
        "and what is written to it would appear elsewhere: put a copy in its place"
    )


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by temporary name, fsync and rename.

    A link of the file's name is replaced and not followed.

    Raises:
        OSError: if the disk is full or not writable; the old file is then still there.
    """
    temporary = temporary_name(path)
    try:
        with named_errors(path), create(temporary) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except OSError as error:
            error.filename = str(path)  # and not a name that is gone
            raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def hash_of(text: str) -> str:
    """Return ten digits of a hash of a text."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:10]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256_of_files(files: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 of the names of files below a root and of their sizes.

    The size of a link to nowhere is -1: that it cannot be read is found where it is to be read.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            size = file.stat().st_size
        except OSError:
            size = -1
        digest.update(os.fsencode(file.relative_to(root)) + f" {size}\n".encode())
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames within a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with named_errors(folder):
            os.fsync(handle)
    finally:
        os.close(handle)


class _Object(dict[str, Any]):
    """A JSON object that names its file when an entry is missing."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.path} is damaged: it misses {key!r}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; who asks for an entry that it misses is told the file.

    Raises:
        ValueError: naming the file, if it holds no JSON object.
    """
    content = load_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object")
    return _Object(content, path)


def load_json(path: Path) -> Any:
    """Return what a JSON file holds, whoever may have written it.

    Raises:
        ValueError: naming the file, see `parse_json`.
    """
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds; NaN and infinite numbers are None, as nastk writes them.

    Raises:
        ValueError: if it is no JSON in UTF-8, is nested without end, or holds a number that no
            figure of a network comes near.

    Example:
        >>> parse_json('{"loss": NaN, "flops": 3}')
        {'loss': None, 'flops': 3}
    """
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return json.loads(
            text, parse_int=_whole, parse_float=_number, parse_constant=lambda name: None
        )
    except RecursionError:
        raise ValueError("it is nested without end") from None


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= 2**63:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not abs(number) <= MOST:
        raise ValueError(f"it holds the number {digits[:40]}")
    return number


def jsonable(value: Any) -> Any:
    """Return a document that every JSON reader takes: numbers that are not finite become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [jsonable(part) for part in value]
    return value


def with_nan(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return written metrics as numbers again: what `jsonable` made null is not finite."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}
