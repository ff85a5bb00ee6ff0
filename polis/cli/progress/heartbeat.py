"""No silent minute: where lines are read, a phase at work tells from time to time that it is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from polis import events
from polis.cli.progress.model import Progress
from polis.cli.progress.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

SILENCE = 20.0
"""Seconds after which a reader begins to wonder."""

LOOK = 1.0
"""Seconds between two looks at the clock."""

TOLD = (
    events.PhaseStarted,
    events.PhaseProgress,
    events.PhaseRetry,
    events.PhaseCompleted,
    events.PhaseSkipped,
    events.PhaseLeft,
    events.DriftFound,
    events.Warned,
    events.Disclosed,
)
"""What a reader is told of; anything else is for the record."""


class Heartbeat:
    """A sink before another one, to which it adds a `phase.progress` when nothing new was told for a while.

    Without an `interval` nobody looks at the clock but who calls `tick`.
    """

    def __init__(
        self, inner: events.Sink, *, clock: Callable[[], float] = time.monotonic, interval: float | None = LOOK
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._interval = interval
        self._progress = Progress()
        self._told_at = clock()
        self._last: tuple[object, ...] = ()
        self._lock = threading.Lock()
        self._ticker: Ticker | None = None

    def take(self, event: events.Event) -> None:
        """Hand the event on, and note when something new was told."""
        if isinstance(event, events.CommandEnded):
            self._stop()
        with self._lock:
            now = self._clock()
            self._progress.take(event, now)
            if isinstance(event, TOLD) and self._is_new(event):
                self._told_at = now
            self._inner.take(event)
        if isinstance(event, events.CommandStarted):
            self._start()

    def tick(self) -> None:
        """Say that the phase is still at work, if nothing else was told for long enough."""
        with self._lock:
            now, row = self._clock(), self._progress.at_work
            if row is None or now - self._told_at < SILENCE:
                return
            self._told_at = now
            news = row.detail if row.retry is None else f"{row.retry.words(now)}: {row.retry.reason}"
            words = f"still at it ({_duration(row.elapsed(now) or 0.0)})" + (f": {news}" if news else "")
            self._inner.take(events.PhaseProgress(phase=row.phase, detail=words, done=row.done, total=row.total))

    def _is_new(self, event: events.Event) -> bool:
        """Return whether it says anything that the one before did not: a guest repeats itself while it waits."""
        said = tuple(value for key, value in vars(event).items() if key != "at")
        is_new = said != self._last
        self._last = said
        return is_new

    def _start(self) -> None:
        self._stop()
        if self._interval is not None:
            self._ticker = Ticker(self._interval, self.tick)
            self._ticker.start()

    def _stop(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
