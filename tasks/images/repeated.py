"""Which test images are training images too, byte for byte: a test on them measures nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

LOOKED = 10_000
"""Test images, at most, that are compared with those to train on; they are evenly spread."""

_PROBE = 4096  # bytes in the middle of a file that tell most files of one size apart
_CHUNK = 1 << 20


def num_repeated(train: Sequence[str], test: Sequence[str]) -> tuple[int, int]:
    """Return how many test files have the content of a training file, and of how many looked at.

    Only files of one size are opened, and only those read whole whose middle is the same too.

    Args:
        train: paths of images to train on.
        test: paths of images to test on.
    """
    looked = test[:: -(-len(test) // LOOKED) or 1]
    wanted = _by_size(looked)
    same_middle: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    for size, files in wanted.items():
        for file, middle in _middles(files, size):
            same_middle[size, middle].append(file)
    known: dict[tuple[int, bytes], set[bytes]] = defaultdict(set)
    for size, files in _by_size(train, wanted).items():
        for file, middle in _middles(files, size):
            if (size, middle) in same_middle:
                known[size, middle] |= set(_contents([file]))
    repeated = sum(
        content in known[key]
        for key, files in same_middle.items()
        if key in known
        for content in _contents(files)
    )
    return repeated, len(looked)


def _by_size(files: Sequence[str], wanted: Iterable[int] | None = None) -> dict[int, list[str]]:
    """Return regular files by their number of bytes; those of other sizes are left out."""
    found: dict[int, list[str]] = defaultdict(list)
    for file in files:
        try:
            about = os.stat(file)
        except OSError:  # a link to nowhere, which is counted when it is to be read
            continue
        is_file = stat.S_ISREG(about.st_mode) and about.st_size > 0
        if is_file and (wanted is None or about.st_size in wanted):
            found[about.st_size].append(file)
    return found


def _middles(files: Sequence[str], size: int) -> Iterator[tuple[str, bytes]]:
    for file in files:
        try:
            with open(file, "rb") as content:
                content.seek(max(0, (size - _PROBE) // 2))
                yield file, hashlib.sha256(content.read(_PROBE)).digest()
        except OSError:  # an image that may not be read is counted when it is to be
            continue


def _contents(files: Sequence[str]) -> Iterator[bytes]:
    for file in files:
        digest = hashlib.sha256()
        try:
            with open(file, "rb") as content:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
        except OSError:  # as above
            continue
        yield digest.digest()
