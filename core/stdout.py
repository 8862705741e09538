"""Keeps what compiled libraries and users' files print away from results on standard output."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Two threads at a time would restore each other's; one may come here from within.
_lock = threading.RLock()


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Send what C code prints to standard output to standard error.

    HiGHS prints some troubles of its own whatever it is told, and `--json` promises JSON alone.
    """
    with _lock:
        try:
            kept = os.dup(1)
        except OSError:  # closed: nothing to keep clean
            yield
            return
        try:
            _flush()
            if _is_open(2):
                os.dup2(2, 1)
            yield
            _flush()
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)  # the buffers of C
