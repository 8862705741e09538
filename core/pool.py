"""Worker processes that stop when told, and end with their parent however that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from .clock import charge_helper

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

_STOP: Any = None


@contextmanager
def worker_pool(processes: int, option: str = "--processes") -> Iterator[ProcessPoolExecutor]:
    """Open so many worker processes; whatever interrupts the block stops them.

    They are spawned: a script that opens some needs `if __name__ == "__main__"` around its work.

    Args:
        processes: how many.
        option: by which a user says how many.

    Raises:
        RuntimeError: if the system killed a worker.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with _Workers(processes, context, initializer=_start_worker, initargs=(stop,)) as pool:
        try:
            yield pool
        except BaseException as error:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise RuntimeError(
                    "a worker process was killed, perhaps for lack of memory; go on with fewer "
                    f"{option}"
                ) from None
            raise


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
        self._pool: ProcessPoolExecutor | None = None
        self._spent: dict[int, float] = {}
        self._open = ExitStack()
        weakref.finalize(self, self._open.close)

    def map(self, function: Callable[[T], U], items: Sequence[T]) -> list[U]:
        """Return the results of a function in the order of the items.

        Raises:
            RuntimeError: if the system killed a helper; the next call starts new ones.
        """
        if self._pool is None:
            self._pool = self._open.enter_context(worker_pool(self.processes, self.option))
            self._spent = {}
        share = -(-len(items) // (4 * self.processes)) or 1
        try:
            answers = list(self._pool.map(partial(_timed, function), items, chunksize=share))
        except BaseException:
            self._pool = None
            self._open.__exit__(*sys.exc_info())
            raise
        for _, process, seconds in answers:
            charge_helper(seconds - self._spent.get(process, 0.0))
            self._spent[process] = seconds
        return [result for result, _, _ in answers]


def check_stop() -> None:
    """End this worker's job if the parent has been interrupted; does nothing in the parent.

    Raises:
        SystemExit: then.
    """
    if _STOP is not None and _STOP.is_set():
        raise SystemExit("stopped with the parent process")


class _Workers(ProcessPoolExecutor):
    """Starts processes that an interrupt neither reaches nor leaves half started."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with _undisturbed():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Act on SIGINT and SIGTERM only afterwards; processes started meanwhile know no SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        for caught in handlers:
            signal.signal(caught, lambda number, frame: held.append(number))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for caught, handler in handlers.items():
            signal.signal(caught, handler)
        for number in held:
            signal.raise_signal(number)


def _timed(function: Callable[[T], U], item: T) -> tuple[U, int, float]:
    """Return a result, and who made it and has spent how many CPU seconds so far."""
    result = function(item)
    return result, os.getpid(), time.process_time()


def _start_worker(stop: Any) -> None:
    global _STOP
    _STOP = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells its workers to stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is killed: nobody would give it anything to do again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
