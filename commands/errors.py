"""What the command line says when something is wrong, and its exit codes."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from ..core.files import FULL

# typer's own error class, which it does not name in public.
_USAGE_ERROR: Any = typer.BadParameter.__base__


def trouble(error: OSError) -> str:
    """Say in words what the system refused, about which file, and how to go on."""
    if error.errno is None:
        return str(error)
    where = "" if error.filename is None else os.fsdecode(error.filename)
    reason = os.strerror(error.errno).lower()
    if error.errno not in FULL:
        return f"{where}: {reason}" if where else reason
    path = Path(where)
    folders = (path, *path.parents)
    holders = (folder for folder in folders if (folder / "manifest.json").is_file())
    run = next(holders, None) if sys.argv[1:2] == ["search"] else None
    again = "give the same command again" if run is None else f"nastk search --resume {run}"
    return f"{reason} while writing {where or 'a file'}; make room, then {again}"


def _blame(error: BaseException) -> tuple[str | None, str | None]:
    """Say where in a user's file and in which job an error happened, neither without torch."""
    module = sys.modules.get("nastk.core.blame")
    return (None, None) if module is None else (module.blame(error), module.job_of(error))


def code_of(error: BaseException, *, shows_traceback: bool = False) -> int:
    """Say what went wrong and return the exit code.

    Raises:
        BaseException: the error itself where it is nobody's mistake.
    """
    if isinstance(error, _USAGE_ERROR):
        if type(error).__name__ == "NoArgsIsHelpError":  # the whole help, not a mistake
            if help_text := error.format_message():
                print(help_text)
            return 0
        path = error.ctx.command_path if error.ctx else "nastk"
        print(f"nastk: {error.format_message()} ({path} --help explains)", file=sys.stderr)
        return 2
    if shows_traceback:
        traceback.print_exception(error)
    place, job = _blame(error)
    if not isinstance(error, ValueError | RuntimeError | OSError | MemoryError) and place is None:
        raise error
    said = trouble(error) if isinstance(error, OSError) else str(error)
    if isinstance(error, MemoryError):
        said = f"not enough memory for that ({said or 'no more to be had'}): ask for less"
    if job is not None:
        said += f" (in {job})"
    if place is not None:
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        more = f" (nastk --traceback {shlex.join(sys.argv[1:])} shows more)"
        said = f"{place}: {kind}{said}{'' if shows_traceback else more}"
    print(f"nastk: {' '.join(said.split()) or type(error).__name__}", file=sys.stderr)
    if place is not None and not isinstance(error, OSError | MemoryError):
        return 2
    is_infeasible = type(error).__name__ == "InfeasibleBudgetError"
    return 3 if is_infeasible else 2 if isinstance(error, ValueError) else 1
