"""The inside of a worker process: one job after the other, until its parent lets go or is gone."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from .blame import keep_blame

# How long a worker that is told to stop may go on with its job, to end it in order.
GRACE_SECONDS = 0.5

_stopped = threading.Event()


def check_stop() -> None:
    """End this worker's job if its parent has stopped; does nothing outside of workers.

    Raises:
        SystemExit: then.
    """
    if _stopped.is_set():
        raise SystemExit("stopped with the parent process")


def serve(connection: Connection) -> None:
    """Answer the jobs of a parent and never return: the process ends with the connection.

    The parent alone decides about the end, so that signals to the whole group, Ctrl-C among them,
    are its affair. What this process has started itself ends in the same way, as it lets go.

    Args:
        connection: carries pickled (function, args) here and (whether it went well, result or
            error) back.
    """
    mine = (signal.SIGINT, signal.SIGTERM)
    for number in mine:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, mine)  # blocked by the parent up to here
    jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    code = 1
    try:
        while (job := jobs.get()) is not None:
            connection.send_bytes(_answer(job))
        code = 0
    except (SystemExit, BrokenPipeError, ConnectionResetError):
        code = 0  # stopped, or nobody waits for the answer
    finally:
        _leave(code)


def _receive(connection: Connection, jobs: queue.SimpleQueue[bytes | None]) -> None:
    """Pass jobs on; when the parent lets go, see to it that the job under way ends soon."""
    try:
        while True:
            jobs.put(connection.recv_bytes())
    except (EOFError, OSError):
        _stopped.set()
        jobs.put(None)
    time.sleep(GRACE_SECONDS)
    _leave(1)


def lost(error: Exception) -> ValueError:
    """Return what is said where a job names something that no worker finds."""
    reason = str(error).partition("\n")[0]
    return ValueError(
        f"worker processes do not find what they are to work on ({reason:.200}): put it into a "
        "module that can be imported, or take --processes 1"
    )


def _answer(job: bytes) -> bytes:
    """Do a job and return its pickled result, or the error that it raised."""
    try:
        function, args = pickle.loads(job)
    except Exception as error:  # of whatever the import of a user's module does
        return _pickled(lost(error))
    try:
        return pickle.dumps((True, function(*args)))
    except Exception as error:
        return _pickled(error)


def _pickled(error: Exception) -> bytes:
    """Return an error in a form that the parent can raise, with its traceback as a note."""
    where = "".join(traceback.format_exception(error)).rstrip()
    keep_blame(error)
    error.add_note(where)
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)
    except Exception:  # an error of somebody's own whose arguments are not those of its class
        plain: Any = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(where)
        plain.__dict__.update(vars(error))
        answer = pickle.dumps((False, plain))
    return answer


def _leave(code: int) -> None:
    """End at once, whatever other threads do; nobody would give this process anything to do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
