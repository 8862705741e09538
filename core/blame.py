"""Where in a user's own file something went wrong."""

from __future__ import annotations

import traceback
from pathlib import Path

_ATTRIBUTE = "place_in_users_file"  # survives pickling, as a traceback does not
_JOB = "job_in_words"  # in the same way
_files: dict[str, str] = {}


def watch_file(file: str | Path, original: str | Path | None = None) -> None:
    """Have errors blamed on this file, whose code is a user's, under the name of its original."""
    _files[str(file)] = str(original or _files.get(str(file), file))


def blame(error: BaseException) -> str | None:
    """Return the innermost line of a user's file in the traceback of an error, if there is any.

    Example:
        >>> print(blame(ValueError("of nobody")))
        None
    """
    known: str | None = getattr(error, _ATTRIBUTE, None)
    if known is not None:
        return known
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename in _files:
            return f"{_files[frame.filename]}, line {frame.lineno}, in {frame.name}"
    return None


def place_of(family: type) -> str:
    """Return where a user's class stands, ready to follow its name; empty for any other class."""
    code = getattr(vars(family).get("network"), "__code__", None)
    if code is None or code.co_filename not in _files:
        return ""
    return f" ({_files[code.co_filename]}, line {code.co_firstlineno}, in {code.co_name})"


def keep_blame(error: BaseException) -> None:
    """Note within an error where it happened, before its traceback is lost."""
    if (place := blame(error)) is not None:
        setattr(error, _ATTRIBUTE, place)


def name_job(error: BaseException, title: str) -> None:
    """Note within an error in the middle of which job it happened."""
    if job_of(error) is None:
        setattr(error, _JOB, title)
        error.add_note(f"in {title}")


def job_of(error: BaseException) -> str | None:
    """Return in the middle of which job an error happened, None for none.

    Example:
        >>> error = ValueError("too large")
        >>> name_job(error, "the training of found with seed 0")
        >>> job_of(error)
        'the training of found with seed 0'
    """
    job: str | None = getattr(error, _JOB, None)
    return job


def failed_module(error: BaseException) -> str:
    """Return the innermost module of torch or of a user in the traceback of an error, in words."""
    found = "network"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        describe = getattr(module, "extra_repr", None)  # of nn.Module; workers import no torch
        if describe is not None:
            found = f"{type(module).__name__}({describe()})"
    return found
