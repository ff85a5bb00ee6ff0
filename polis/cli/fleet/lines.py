"""A fleet's command without a terminal: a line with the time for each thing that happens, or an event as JSON."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from polis import events
from polis.cli import output
from polis.cli.fleet.board import counted
from polis.cli.progress.frame import clock
from polis.cli.progress.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.cli.fleet.board import Board
    from polis.fleet.outcome import Outcome

INTERVAL = 10.0
"""Seconds between two lines of progress of one member: with many at work, there are many lines."""

SILENCE = 20.0
"""Seconds after which a reader begins to wonder."""

ONCE = (events.Warned, events.Disclosed)
"""What is said once where many members say the same."""


class PlainLines:
    """Lines for people and logs, on stderr. With `quiet` only warnings and failures."""

    def __init__(
        self,
        board: Board,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        interval: float | None = 1.0,
    ) -> None:
        self._board = board
        self._quiet = quiet
        self._clock = clock
        self._interval = interval
        self._said: set[str] = set()
        self._progress: dict[str, float] = {}
        self._told_at = clock()
        self._lock = threading.Lock()
        self._ticker: Ticker | None = None

    def open(self) -> None:
        """Look at the clock from now on, so that no minute is silent."""
        if self._interval is not None and not self._quiet:
            self._ticker = Ticker(self._interval, self.tick)
            self._ticker.start()

    def close(self) -> None:
        """Tell nothing more."""
        if self._ticker is not None:
            self._ticker.stop()

    def begun(self, member: str) -> None:
        """See `polis.fleet.run.Watcher`."""
        self._board.begin(member)

    def happened(self, member: str, event: events.Event) -> None:
        """See `polis.fleet.run.Watcher`."""
        self._board.take(member, event)
        words = output.one_line(output.words(event))
        if words and self._is_worth_it(member, event, words):
            self._write(f"{member}  {words}")

    def ended(self, outcome: Outcome) -> None:
        """See `polis.fleet.run.Watcher`."""
        self._board.end(outcome)
        with self._lock:
            self._progress.pop(outcome.member, None)
        told = output.one_line(outcome.error["message"]) if outcome.error is not None else ""
        if told or not self._quiet:
            words = f"{outcome.outcome} in {outcome.duration_s:.1f} s"
            self._write(f"{outcome.member}  {f'{outcome.outcome}: {told}' if told else words}")

    def tick(self) -> None:
        """Say what is at work, if nothing was told for long enough."""
        with self._board.lock:
            working = sorted(self._board.at_work.values(), key=lambda row: row.begun)
            counts = ", ".join(f"{count} {word}" for word, count in counted(self._board.counts))
            now = self._board.now()
            told = [f"{row.member} {row.phase or 'begun'} ({clock(row.elapsed(now) or 0.0)})" for row in working[:3]]
        if working and self._clock() - self._told_at >= SILENCE:
            self._write(f"still at it: {counts}; longest {', '.join(told)}")

    def _is_worth_it(self, member: str, event: events.Event, words: str) -> bool:
        with self._lock:
            if isinstance(event, ONCE):
                is_new = words not in self._said
                self._said.add(words)
                return is_new and (not self._quiet or isinstance(event, events.Warned))
            if self._quiet or isinstance(event, events.PhaseSkipped):
                return False
            if isinstance(event, events.PhaseProgress):
                now = self._clock()
                if now - self._progress.get(member, -INTERVAL) < INTERVAL:
                    return False
                self._progress[member] = now
            return True

    def _write(self, line: str) -> None:
        with self._lock:
            self._told_at = self._clock()
            output.write(f"{clock(self._board.elapsed())}  {output.printable(line)}", sys.stderr)


class JsonLines:
    """Events for scripts, on stdout: those of each member with its name, and `member.result` when it ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def open(self) -> None:
        """Nothing is to be done first."""

    def close(self) -> None:
        """Nor last."""

    def begun(self, member: str) -> None:
        """See `polis.fleet.run.Watcher`; the events tell."""

    def happened(self, member: str, event: events.Event) -> None:
        """See `polis.fleet.run.Watcher`."""
        self._write({"event": event.name, "member": member, **event.payload()})

    def ended(self, outcome: Outcome) -> None:
        """See `polis.fleet.run.Watcher`."""
        at = events.timestamp(events.now())
        self._write({"event": "member.result", "at": at, **outcome.document()})

    def _write(self, value: dict[str, object]) -> None:
        with self._lock:  # a line is written whole
            output.write(output.as_json(value), sys.stdout)
