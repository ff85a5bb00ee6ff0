"""Calling something again and again beside the work, until it is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Ticker:
    """Calls `tick` every `interval` seconds from a thread that never keeps the process alive.

    An OSError (nobody reads any more) ends it without a word.
    """

    def __init__(self, interval: float, tick: Callable[[], None]) -> None:
        self._interval = interval
        self._tick = tick
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with a first tick at once."""
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; after that, nothing is called any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._tick()
            except OSError:
                return
            self._over.wait(self._interval)
