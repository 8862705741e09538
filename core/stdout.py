"""Keeps what compiled libraries print away from results on standard output."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Send what C code prints to standard output to standard error.

    HiGHS prints some troubles of its own whatever it is told, and `--json` promises JSON alone.
    """
    try:
        kept = os.dup(1)
    except OSError:  # closed: nothing to keep clean
        yield
        return
    _flush()
    os.dup2(2, 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)  # the buffers of C
