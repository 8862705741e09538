"""What a run records about how it came to be, the same for searches and trainings."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ..core.in_memory import is_in_file
from ..core.run import Run
from ..core.space import Space
from ..tasks.images.held import KIND as HELD_KIND
from ..tasks.named import family_of
from ..tasks.own import is_own, place_of, record_of
from ..training.task import Task
from .execution import Execution


def manifest_of(*, space: str, target: Space, proxy: Space, data: str) -> dict[str, Any]:
    """Return the manifest entries that say what a run is about.

    Args:
        space: name of the space, or `FILE.py:CLASS`.
        target: whose cost is counted.
        proxy: the space that is trained on embedded data.
        data: as typed behind `--data`, its path made absolute; or of a task of the user's own.
    """
    entries = {"space": space, "target": target.options, "proxy": proxy.options, "data": data}
    if not is_own(data):
        return entries
    return entries | {"task": place_of(data), "task_record": record_of(family_of(data))}


def circumstances(execution: Execution) -> dict[str, Any]:
    """Return the date, and what else decides a result: seed, device, versions, command, commit."""
    from .. import __version__

    entries = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": execution.seed,
        "device": execution.device,
        "workers": execution.workers,
        "strict": execution.strict,
        "threads": execution.threads,
        "command": sys.argv[1:],
        "versions": {
            "nastk": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }
    commit = git_commit()
    return entries if commit is None else entries | {"git_commit": commit}


def check_same_data(run: Run, task: Task) -> None:
    """Refuse a task that is not the one which a run has worked on.

    Raises:
        ValueError: if its training data, its sizes or its classes are others.
    """
    then = run.manifest.get("data_record", {})
    now = task.describe()
    for key in ("train_sha256", *task.sizes, *(["classes"] if "classes" in now else [])):
        if then.get(key, now[key]) != now[key]:
            raise ValueError(
                f"{now['name']} is not what the run in {run.path} began with: its {key} is "
                f"{str(now[key])[:10]}, was {str(then[key])[:10]}; put the old data back, or begin "
                "another run"
            )


def git_commit() -> str | None:
    """Return the commit of the checkout that nastk runs from, None where it is no checkout."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except OSError:  # a checkout on a machine without git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def absolute_data(data: str) -> str:
    """Return `KIND:PATH` with its path made absolute; the name of embedded data as it is.

    Example:
        >>> absolute_data("digits"), absolute_data("npz:/data/../a.npz")
        ('digits', 'npz:/a.npz')

    Raises:
        ValueError: if the path leads nowhere that can be named.
    """
    kind, _, path = data.partition(":")
    if not path or kind == HELD_KIND:
        return data
    try:
        return f"{kind}:{Path(path).expanduser().resolve()}"
    except (RuntimeError, OSError) as error:  # an unknown ~user, a loop of links
        raise ValueError(f"cannot follow the path of {data}: {error}") from None


def absolute_space(space: str) -> str:
    """Return `FILE.py:CLASS` with its path made absolute; the name of a space as it is.

    Example:
        >>> absolute_space("toy"), absolute_space("/data/../mine.py:Mine")
        ('toy', '/mine.py:Mine')
    """
    if not is_in_file(space):
        return space
    path, _, attribute = space.rpartition(":")
    return f"{Path(path).expanduser().resolve()}:{attribute}"
