"""What Ctrl-C and SIGTERM do to a command: one line, and an end within seconds."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

# From the signal until the process ends by force, in whatever library it is stuck then. Workers
# need up to a second of it, see `nastk.core.worker`, and another one where this one is stuck.
LIMIT_SECONDS = 2.0

_IN_GENERAL = (
    "stopped; a search goes on with nastk search --resume RUN, a retraining or a comparison when "
    "the same command is given again"
)


class Stop:
    """Turns the first SIGINT or SIGTERM into KeyboardInterrupt and sees to it that it is obeyed.

    Python acts on signals between two of its instructions, a library written in C only when it
    returns. A thread that waits beside it ends the process where that takes too long. A second
    signal ends it at once. A run that is ended resumes, as one that is killed does.
    """

    def __init__(self) -> None:
        self.line: str | None = None
        self._is_said = False
        self._inner, self._outer = socket.socketpair()

    def __enter__(self) -> Stop:
        for end in (self._inner, self._outer):
            end.setblocking(end is self._inner)
        self._before: dict[int, Any] = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where ignored
            self._before[signal.SIGINT] = signal.default_int_handler
        for number in self._before:
            signal.signal(number, self._caught)
        self._wakeup = signal.set_wakeup_fd(self._outer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.line is not None:  # the watch goes on until the process has ended
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._outer.close()

    def __bool__(self) -> bool:
        """Tell whether a signal has come."""
        return self.line is not None

    def say(self) -> None:
        """Print once how to go on."""
        if not self._is_said:
            self._is_said = True
            print(self.line or _IN_GENERAL, file=sys.stderr, flush=True)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self.line is not None:
            self.end()
        self.line = how_to_go_on()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        """Wait for a signal that is ours, and for the end of the process after it."""
        while received := self._inner.recv(1):
            if received[0] in self._before:
                time.sleep(LIMIT_SECONDS)
                self.line = self.line or how_to_go_on()
                self.end()
        self._inner.close()

    def end(self) -> None:
        """End the process now: to take its libraries down in order would take seconds."""
        if sys.stderr.isatty():
            print("\x1b[?25h", end="", file=sys.stderr)  # a progress bar hides the cursor
        self.say()
        os._exit(130)


def how_to_go_on() -> str:
    """Say how the work of this moment goes on, with the run folder where there is one."""
    run = sys.modules.get("nastk.core.run")  # no run is held where it is not loaded
    folder = None if run is None else run.held_folder()
    if folder is None:
        return _IN_GENERAL
    if sys.argv[1:2] == ["search"]:
        return f"stopped; the search goes on with nastk search --resume {shlex.quote(str(folder))}"
    return f"stopped, with {folder} as it is; the same command again goes on"
