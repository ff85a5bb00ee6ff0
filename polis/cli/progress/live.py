"""A sink for a terminal: the phases in a list that is drawn anew while they are at work, and what must stay above it.

The cursor waits at the start of the list, not beneath it. A terminal that is made narrower wraps the lines that are
there, and none tells how many they have become; but the cursor stays with its line, so the next drawing begins where
the last one did. It is hidden only within one write, so that even after a `kill -9` it is there.
"""

from __future__ import annotations

import atexit
import threading
import time
from typing import TYPE_CHECKING

from polis import events
from polis.cli import output
from polis.cli.progress import frame
from polis.cli.progress.model import Progress
from polis.cli.progress.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

    from polis.cli.terminal import Terminal

REFRESH = 0.25
"""Seconds between two drawings."""

PERMANENT = (events.Warned, events.DriftFound, events.Disclosed)
"""What stays on the screen above the list."""

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
CLEAR_REST_OF_LINE, CLEAR_REST_OF_SCREEN = "\x1b[K", "\x1b[J"


class LiveList:
    """Draws from the command's start to its end, from a thread of its own.

    A signal's exception comes to the main thread only, so none cuts a drawing in two. Without an `interval` nothing is
    drawn but by `draw` and at the end.
    """

    def __init__(
        self,
        terminal: Terminal,
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float | None = REFRESH,
    ) -> None:
        self._terminal = terminal
        self._clock = clock
        self._interval = interval
        self._opened = clock()
        self._progress = Progress()
        self._above: list[Text] = []
        self._lock = threading.Lock()
        self._ticker: Ticker | None = None
        self._is_drawing = False

    def take(self, event: events.Event) -> None:
        """Note the event; what must stay is shown with the next drawing, or at once where there is no list."""
        if isinstance(event, PERMANENT):
            self._add(output.words(event), "" if isinstance(event, events.Disclosed) else "yellow")
        with self._lock:
            self._progress.take(event, self._clock())
        if isinstance(event, events.CommandStarted):
            self._opened = self._clock()
            self._begin()
        elif isinstance(event, events.CommandEnded):
            self.close()
        elif not self._is_drawing:
            self._write_above()

    def draw(self) -> None:
        """Draw the list as it is now. Raises OSError if the terminal is gone."""
        with self._lock:
            width, height = self._terminal.size()
            self._write(self._lines(width, height), is_last=False)

    def close(self) -> None:
        """Draw the list for the last time, whole, and leave the cursor beneath it."""
        if not self._is_drawing:
            return
        self._is_drawing = False
        atexit.unregister(self.close)
        output.divert(None)
        if self._ticker is not None:
            self._ticker.stop()
        with self._lock:
            width, _ = self._terminal.size()
            self._write(self._lines(width, None), is_last=True)

    # ---- parts

    def _begin(self) -> None:
        self._is_drawing = True
        atexit.register(self.close)
        output.divert(self._divert)
        if self._interval is not None:
            self._ticker = Ticker(self._interval, self.draw)
            self._ticker.start()

    def _divert(self, text: str) -> None:
        from rich.text import Text

        with self._lock:
            self._above += [Text(line) for line in text.split("\n")]

    def _add(self, words: str, style: str) -> None:
        from rich.text import Text

        line = Text(f"{frame.clock(self._clock() - self._opened)}  ")
        line.append(output.printable(output.one_line(words)), style)
        with self._lock:
            self._above.append(line)

    def _lines(self, width: int, height: int | None) -> list[Text]:
        alphabet = frame.ASCII if self._terminal.is_plain else frame.FULL
        # In the last column a terminal waits with the line's end, and erases differ in what they take.
        return frame.lines(self._progress, self._clock(), frame.Sheet(max(1, width - 1), alphabet), height)

    def _write_above(self) -> None:
        with self._lock:
            above, self._above = self._above, []
            for line in above:
                output.write(self._terminal.paint(line), self._terminal.stream)

    def _write(self, lines: list[Text], *, is_last: bool) -> None:
        above, self._above = self._above, []
        paint = self._terminal.paint
        parts = [HIDE, "\r"]
        if above:
            parts += [CLEAR_REST_OF_SCREEN, *(f"{paint(line)}\r\n" for line in above)]
        parts.append("\r\n".join(paint(line) + CLEAR_REST_OF_LINE for line in lines))
        if is_last:
            parts.append("\r\n")
        parts.append(CLEAR_REST_OF_SCREEN)
        if not is_last and len(lines) > 1:
            parts.append(f"\x1b[{len(lines) - 1}A")
        output.write("".join([*parts, "\r", SHOW]), self._terminal.stream, end="")
