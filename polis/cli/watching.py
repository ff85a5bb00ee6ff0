"""`polis status --watch`: look again and again, and show what changed."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from polis.cli import output
from polis.errors import PolisError, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.cli.globals import Globals
    from polis.status import Status

LIMIT = 3600.0
"""Seconds between two looks at most: Windows sleeps no longer than some weeks, and nobody waits an hour."""


class Sink(Protocol):
    """Shows what was seen."""

    def show(self, seen: Status | PolisError) -> None:
        """Show a status, or why it could not be had."""


def watch(
    look: Callable[[], Status],
    interval: float,
    sink: Sink,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Look every `interval` seconds until a signal; return the exit code that it means. A failed look is shown."""
    try:
        while True:
            try:
                seen: Status | PolisError = look()
            except PolisError as error:
                seen = error
            sink.show(seen)
            sleep(min(interval, LIMIT))
    except KeyboardInterrupt as interruption:
        return int(interrupted(interruption, "").exit_code)


def sink(options: Globals, text: Callable[[Status], str]) -> Sink:
    """Return the way of showing that fits: documents, a screen, or lines."""
    if options.json:
        return Documents()
    from polis.cli.terminal import can_be_drawn_on

    return Screen(text) if can_be_drawn_on(sys.stdout) else Lines(text)


class Documents:
    """A document a line, whenever it differs from the one before."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def show(self, seen: Status | PolisError) -> None:
        """Print the document of a status, or that of an error."""
        if isinstance(seen, PolisError):
            from polis.events import describe

            document = {"schema": 1, "exit_code": int(seen.exit_code), "error": describe(seen)}
        else:
            document = seen.document
        if document != self._last:
            self._last = document
            output.document(document, compact=True)


class Lines:
    """The lines that are new since the look before, each with the time; for pipes and logs."""

    def __init__(self, text: Callable[[Status], str], clock: Callable[[], str] | None = None) -> None:
        self._text = text
        self._clock = clock or _clock
        self._last: list[str] = []

    def show(self, seen: Status | PolisError) -> None:
        """Print what was not there before, and what is there no more."""
        lines = _lines(seen, self._text)
        new = [line for line in lines if line not in self._last]
        begun = {line.split(" ", 1)[0] for line in lines}
        gone = [line for line in self._last if line not in lines and line.split(" ", 1)[0] not in begun]
        for line in [*new, *(f"{line}  (no more)" for line in gone)]:
            output.result(f"{self._clock()}  {line}")
        self._last = lines


class Screen:
    """All of it, drawn over what was there."""

    def __init__(
        self,
        text: Callable[[Status], str],
        clock: Callable[[], str] | None = None,
        size: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._text = text
        self._clock = clock or _clock
        self._size = size or shutil.get_terminal_size
        self._begun = False

    def show(self, seen: Status | PolisError) -> None:
        """Draw what was seen, and when; no line is longer than the screen, and none scrolls away."""
        from polis.cli.terminal import cut

        columns, rows = self._size()
        lines = [f"{self._clock()}  Ctrl-C ends", "", *_lines(seen, self._text)]
        if len(lines) > rows - 1:
            lines = [*lines[: max(rows - 2, 1)], f"… {len(lines) - max(rows - 2, 1)} more lines"]
        home = "\x1b[H" if self._begun else "\x1b[2J\x1b[H"
        self._begun = True
        room = max(columns - 1, 1)
        drawn = "".join(f"{cut(output.printable(line), room, '…')}\x1b[K\n" for line in lines)
        try:
            sys.stdout.write(f"{home}{drawn}\x1b[J")
            sys.stdout.flush()
        except OSError as error:  # nobody looks any more
            raise BrokenPipeError(error.errno, error.strerror) from error


def _lines(seen: Status | PolisError, text: Callable[[Status], str]) -> list[str]:
    if isinstance(seen, PolisError):
        from polis.events import describe

        told = describe(seen)
        return [f"error      {output.one_line(told['message'])}", f"hint       {output.one_line(told['hint'])}"]
    return text(seen).splitlines()


def _clock() -> str:
    return time.strftime("%H:%M:%S")
