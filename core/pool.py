"""Worker processes that stop when told, and end with their parent however that ends."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from .clock import charge_helper
from .worker import GRACE_SECONDS, lost

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

# A worker finds modules as its parent does. It imports neither the parent's script, which then
# needs no guard, nor anything of the folder that it happens to stand in (-P).
_BOOT = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from nastk.core.worker import serve
serve(connection)
"""

_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


@contextmanager
def worker_pool(processes: int, option: str = "--processes") -> Iterator[Workers]:
    """Open so many worker processes; whatever ends the block ends them within a second.

    Args:
        processes: how many.
        option: by which a user says how many.
    """
    pool = Workers(processes, option)
    try:
        yield pool
    finally:
        pool.close()


class Workers:
    """Processes that each do one job at a time.

    A worker hangs on one socket and nothing else: no semaphores, no queues, no process that tracks
    them. When this process lets go of the socket, or is killed, the worker ends, and so do workers
    of its own.
    """

    def __init__(self, processes: int, option: str) -> None:
        """Start none yet: they start as jobs come.

        Args:
            processes: how many, at least one.
            option: by which a user says how many.
        """
        self.processes, self.option = processes, option
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._failure: RuntimeError | None = None

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function of a module called in a worker.

        The future raises what the function raises, and RuntimeError if the worker ended in the
        middle of it; nothing can be submitted then any more.
        """
        future: Future[T] = Future()
        self._jobs.put((future, partial(function, **kwargs), args))
        if len(self._workers) < self.processes:
            self._workers.append(_Worker(self._jobs, self._fail))
        if self._failure is not None:
            self._drain(self._failure)
        return future

    def close(self) -> None:
        """End the workers: idle ones at once, busy ones when they can, at the latest by force."""
        self._drain(None)
        for worker in self._workers:
            worker.let_go()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self._workers:
            worker.end(deadline)
        self._workers.clear()

    def _fail(self, code: int) -> RuntimeError:
        """Give up after the end of a worker, and return what is to be said about it."""
        if code == -signal.SIGKILL:
            how = "was killed, perhaps for lack of memory"
        else:
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            how = f"ended in the middle of its work ({name})"
        self._failure = RuntimeError(f"a worker process {how}; go on with fewer {self.option}")
        self._drain(self._failure)
        return self._failure

    def _drain(self, error: Exception | None) -> None:
        """Give up the jobs that no worker has begun."""
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None and job[0].set_running_or_notify_cancel():
                job[0].set_exception(error or RuntimeError("the workers were let go"))


class _Worker:
    """One process, and the thread here that hands it jobs."""

    def __init__(
        self, jobs: queue.SimpleQueue[_Job | None], fail: Callable[[int], RuntimeError]
    ) -> None:
        self._jobs, self._fail = jobs, fail
        self._socket, theirs = socket.socketpair()
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._connection.send(sys.path)  # waits there even if this process is killed now
        command = [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno())]
        with theirs, _undisturbed():
            self.process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        threading.Thread(target=self._attend, daemon=True).start()

    def let_go(self) -> None:
        """Tell the process that no more jobs come."""
        self._jobs.put(None)
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)

    def end(self, deadline: float) -> None:
        """Wait for the end of the process until a time, then force it."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._socket.close()

    def _attend(self) -> None:
        """Send one job after the other and wait for its answer."""
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                message = pickle.dumps((function, args))
            except Exception as error:
                future.set_exception(lost(error))
                continue
            try:
                self._connection.send_bytes(message)
                answer = self._connection.recv_bytes()
            except (EOFError, OSError):
                future.set_exception(self._fail(self.process.wait()))
                return
            _settle(future, answer)


def _settle(future: Future[Any], answer: bytes) -> None:
    try:
        is_fine, result = pickle.loads(answer)
    except Exception as error:  # what a worker can write need not be readable here
        is_fine, result = False, error
    if is_fine:
        future.set_result(result)
    else:
        future.set_exception(result)


class Helpers:
    """Worker processes kept from one call to the next; they go with their owner.

    They start at the first call. Their CPU time is charged to this process, see
    `nastk.core.clock`. What they run should be in a module that is cheap to import.
    """

    def __init__(self, processes: int, option: str) -> None:
        """Start none yet.

        Args:
            processes: how many, at least one.
            option: by which a user says how many.
        """
        self.processes, self.option = processes, option
        self._workers: Workers | None = None
        self._spent: dict[int, float] = {}

    def map(self, function: Callable[[T], U], items: Sequence[T]) -> list[U]:
        """Return the results of a function in the order of the items.

        Raises:
            RuntimeError: if the system killed a helper; the next call starts new ones.
        """
        if self._workers is None:
            self._workers = Workers(self.processes, self.option)
            self._close = weakref.finalize(self, self._workers.close)
            self._spent = {}
        share = -(-len(items) // (4 * self.processes)) or 1
        parts = [items[start : start + share] for start in range(0, len(items), share)]
        try:
            futures = [self._workers.submit(_timed, function, part) for part in parts]
            answers = [future.result() for future in futures]
        except BaseException:
            self._workers = None
            self._close()
            raise
        for _, process, seconds in answers:
            charge_helper(max(0.0, seconds - self._spent.get(process, 0.0)))
            self._spent[process] = max(seconds, self._spent.get(process, 0.0))
        return [result for results, _, _ in answers for result in results]


def _timed(function: Callable[[T], U], items: Sequence[T]) -> tuple[list[U], int, float]:
    """Return results, and who made them and has spent how many CPU seconds so far."""
    results = [function(item) for item in items]
    return results, os.getpid(), time.process_time()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Act on SIGINT and SIGTERM only afterwards; processes started meanwhile begin without them."""
    both = (signal.SIGINT, signal.SIGTERM)
    held: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in both}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: held.append(number))
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)
