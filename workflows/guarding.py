"""What holds for every call of the library that does long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..core.own_code import check_guard
from ..core.torch_state import own_torch_state


@contextmanager
def guarded_call() -> Iterator[None]:
    """Leave torch's settings alone, and refuse to work in a file that is only imported.

    Raises:
        UnguardedScriptError: then.
    """
    check_guard()
    with own_torch_state():
        yield
