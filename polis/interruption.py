"""Asking work in other threads to stop: a signal reaches the main thread only (Python's `signal` module says so).

Where several workspaces are at work in one process, each in a thread of its own, the main thread passes a signal on by
an `Interruption`. The thread notices it where it would have waited anyway (a pause, a child process, a lock) and before
each driver call, as the same KeyboardInterrupt that a signal is in the main thread. Nothing is cut off anywhere else,
so what a single command promises about Ctrl-C holds here as well.
"""

from __future__ import annotations

import contextlib
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interruption:
    """One request to stop, for any number of threads. `signal` is the name of the signal that asked first."""

    def __init__(self) -> None:
        self.signal = ""
        self._asked = threading.Event()

    @property
    def is_asked(self) -> bool:
        """Return whether anybody asked."""
        return self._asked.is_set()

    def ask(self, signal: str = "SIGINT") -> None:
        """Ask all who heed this to stop."""
        self.signal = self.signal or signal
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        """Return True as soon as it is asked, False if it was not within so many seconds."""
        return self._asked.wait(seconds)

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Let the work of this thread notice it: once, for what cleans up afterwards must come to its end."""
        token = _heeding.set(_Heed(self))
        try:
            yield
        finally:
            _heeding.reset(token)


class _Heed:
    """What one piece of work has noticed."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._is_noticed = False

    def check(self) -> None:
        if self._interruption.is_asked and not self._is_noticed:
            self._is_noticed = True
            raise KeyboardInterrupt(self._interruption.signal)

    def sleep(self, seconds: float) -> None:
        if self._is_noticed:
            time.sleep(seconds)
        elif self._interruption.wait(seconds):
            self.check()


_heeding: ContextVar[_Heed | None] = ContextVar("polis_interruption", default=None)


def check() -> None:
    """Raise KeyboardInterrupt if the work of this thread was asked to stop and has not noticed yet."""
    heed = _heeding.get()
    if heed is not None:
        heed.check()


def sleep(seconds: float) -> None:
    """Do what `time.sleep` does; raises KeyboardInterrupt as `check` does, as soon as it is asked."""
    heed = _heeding.get()
    if heed is not None:
        heed.sleep(seconds)
    else:
        time.sleep(seconds)
