"""Worker processes that stop when told, and end with their parent however that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

_STOP: Any = None


@contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Open so many worker processes; whatever interrupts the block stops them.

    They are spawned: a script that opens some needs `if __name__ == "__main__"` around its work.

    Raises:
        RuntimeError: if the system killed a worker.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(
        processes, context, initializer=_start_worker, initargs=(stop,)
    ) as pool:
        try:
            yield pool
        except BaseException as error:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise RuntimeError(
                    "a worker process was killed, perhaps for lack of memory; go on with fewer "
                    "--processes"
                ) from None
            raise


def check_stop() -> None:
    """End this worker's job if the parent has been interrupted; does nothing in the parent.

    Raises:
        SystemExit: then.
    """
    if _STOP is not None and _STOP.is_set():
        raise SystemExit("stopped with the parent process")


def _start_worker(stop: Any) -> None:
    global _STOP
    _STOP = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells its workers to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is killed: nobody would give it anything to do again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
