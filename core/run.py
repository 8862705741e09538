"""A run is a folder that a person can read and a killed process can resume from."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .arch import Arch
from .clock import Clock
from .events import read_events
from .files import (
    FULL,
    is_temporary,
    jsonable,
    load_json,
    make_folder,
    named_errors,
    open_within,
    read_json,
    write_atomically,
)
from .folder import check_empty, refuse_links
from .manifest import Manifest
from .record import Seconds, checked, read_record

_held: weakref.WeakSet[Run] = weakref.WeakSet()


def held_folder() -> Path | None:
    """Return the folder of the run that this process works on, the outermost of several."""
    folders = [run.path for run in list(_held)]
    return min(folders, key=lambda folder: len(folder.parts), default=None)


def _leave_locks_to_parent() -> None:
    """Let go of what a forked process would hold beyond the end of the one that took it."""
    for run in list(_held):
        run.release()


os.register_at_fork(after_in_child=_leave_locks_to_parent)


class RunInUseError(ValueError):
    """The run folder belongs to a process that is still alive."""


class Run:
    """One run folder: manifest, events, checkpoints and the arch that was found.

    Only one process at a time may hold a run; the lock goes with the process, however it ends.

    Attributes:
        path: the folder.
        clock: what the present work in the folder has cost, interrupted parts included.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self._lock: IO[str] | None = None
        self._manifest: Manifest | None = None

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any]) -> Run:
        """Make a new run folder and write its manifest, before anything slow happens.

        Raises:
            ValueError: if the folder holds a run already, or files that are of no run, or cannot
                be written.
        """
        run = cls(path)
        check_empty(path)
        make_folder(path)
        try:
            run.acquire()
        except OSError as error:
            if error.errno in FULL:
                raise
            raise ValueError(
                f"cannot write into {path}: {str(error.strerror).lower()}; choose another folder "
                "with --out"
            ) from None
        if run.manifest_path.exists():
            run.release()
            raise ValueError(
                f"{path} holds a run already; resume it with --resume {path}, or choose another "
                "folder with --out"
            )
        run.update_manifest(manifest)
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Return the run in an existing folder.

        Raises:
            ValueError: if the folder holds no run.
        """
        run = cls(path)
        if not run.manifest_path.is_file():
            raise ValueError(f"{path} is no run folder: it has no manifest.json")
        refuse_links(path)
        return run

    def acquire(self) -> None:
        """Take the lock of the folder.

        Raises:
            RunInUseError: if a live process holds it.
        """
        if self._lock is not None:
            return
        lock = os.fdopen(
            open_within(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+"
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise RunInUseError(
                f"{self.path} is in use by process {holder}; wait for it, or choose another "
                "folder with --out"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        _held.add(self)
        for entry in os.scandir(self.path):  # of processes that were killed while they wrote
            if is_temporary(entry.name) and entry.is_file(follow_symlinks=False):
                Path(entry.path).unlink(missing_ok=True)

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            _held.discard(self)

    @property
    def manifest_path(self) -> Path:
        """Where the manifest stands."""
        return self.path / "manifest.json"

    @property
    def events_path(self) -> Path:
        """Where the events stand, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def arch_path(self) -> Path:
        """Where the found arch stands once the search has ended."""
        return self.path / "arch.json"

    @property
    def manifest(self) -> Manifest:
        """The options as used, versions, seed and data; read once.

        Raises:
            ValueError: naming the file, if an entry is missing or of a wrong type.
        """
        if self._manifest is None:
            self._manifest = read_record(self.manifest_path, Manifest)
        return self._manifest

    @property
    def writer(self) -> str:
        """The version that began the run, as far as the folder says it."""
        if not self.manifest_path.is_file():  # of one training among others
            return "an earlier version of nastk"
        commit = self.manifest.git_commit
        version = f"nastk {self.manifest.versions.get('nastk', 'of an earlier version')}"
        return version if commit is None else f"{version} (commit {commit[:10]})"

    def update_manifest(self, entries: dict[str, Any]) -> None:
        """Add entries to the manifest."""
        known = read_json(self.manifest_path) if self.manifest_path.exists() else {}
        self._manifest = None
        write_json(self.manifest_path, known | entries)

    def log(self, **event: Any) -> None:
        """Append one event, numbers that are not finite as null."""
        line = json.dumps(jsonable(event), allow_nan=False) + "\n"
        with named_errors(self.events_path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(open_within(self.events_path, flags), "ab") as file:
                file.write(line.encode())

    @property
    def events_size(self) -> int:
        """Length of the events in bytes."""
        return self.events_path.stat().st_size if self.events_path.exists() else 0

    def cut_events(self, size: int) -> None:
        """Forget the events after the first `size` bytes, which a resumed run writes again."""
        if self.events_size > size:
            handle = open_within(self.events_path, os.O_WRONLY)
            try:
                os.truncate(handle, size)
            finally:
                os.close(handle)

    def events(self) -> list[dict[str, Any]]:
        """Return all events up to the first that is none; a torn last line is left out."""
        return read_events(self.events_path)

    def whole_events(self) -> list[dict[str, Any]]:
        """Return all events and cut off a torn last line, so that new ones can follow."""
        events = self.events()
        if self.events_path.exists():
            lines = self.events_path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines[: len(events)] if line.endswith(b"\n")]
            self.cut_events(sum(map(len, whole)))
            events = events[: len(whole)]
        return events

    def save_spent(self) -> None:
        """Write what the work has cost so far, for the process that resumes it."""
        write_json(self.path / "spent.json", self.clock.spent)

    def restore_spent(self) -> None:
        """Count what an interrupted process had spent."""
        file = self.path / "spent.json"
        if file.is_file():
            spent = checked(load_json(file), list[Seconds], str(file))
            if len(spent) != 2:
                raise ValueError(f"{file} is damaged: expected wall and CPU seconds")
            self.clock.add((spent[0], spent[1]))

    @property
    def arch(self) -> Arch:
        """The arch that the run found.

        Raises:
            ValueError: if the search has not ended, or the file is damaged.
        """
        if not self.arch_path.is_file():
            raise ValueError(
                f"{self.path} has no arch.json yet: finish it with "
                f"`nastk search --resume {self.path}`"
            )
        try:
            return Arch.from_json(self.arch_path.read_text())
        except ValueError as error:
            raise ValueError(f"{self.arch_path} is damaged: {error}") from None


@contextmanager
def held(run: Run) -> Iterator[Run]:
    """Hold the lock of a run for a while.

    Raises:
        RunInUseError: if a live process holds it.
    """
    run.acquire()
    try:
        yield run
    finally:
        run.release()


@contextmanager
def fresh_run(path: Path, manifest: dict[str, Any]) -> Iterator[Run]:
    """Make a new run and hold its lock; one that fails at its start leaves nothing behind.

    What has a checkpoint or an evaluated arch is kept, and what was stopped or ran out of disk.

    Raises:
        ValueError: if the folder holds a run already, or files that are of no run.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    run = Run.create(path, manifest)
    try:
        yield run
    except (Exception, SystemExit) as error:  # a user's code may call sys.exit
        folders = (path / "trainings", path / "evaluations")
        names = ("*/result.json", "*/checkpoints")
        has_trials = any(any(folder.glob(name)) for folder in folders for name in names)
        # What failed in the middle of its work, as a search that diverged, stays to be looked at.
        has_begun = run.events_size > 0 and not isinstance(error, ValueError)
        is_full = isinstance(error, OSError) and error.errno in FULL
        is_kept = is_full or has_begun or has_trials or (path / "checkpoints").exists()
        if not is_kept:
            for entry in path.iterdir():  # the folder was empty, so that all of it is the run's
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
            for folder in missing:
                if any(folder.iterdir()):
                    break
                folder.rmdir()
        raise
    finally:
        run.release()


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically, numbers that are not finite as null."""
    text = json.dumps(jsonable(content), indent=1, allow_nan=False) + "\n"
    write_atomically(path, text.encode())
