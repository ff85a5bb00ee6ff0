"""What is shown: results on stdout, progress and errors on stderr; with --json only JSON, on stdout."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from polis import events
from polis.errors import ExitCode
from polis.redaction import redact_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polis.errors import PolisError

PROGRESS_INTERVAL = 1.0
"""Seconds between two lines of progress within one phase: a person reads no faster."""

CAUSE_LINES = 15

STYLES = {"error": "bold red", "  | ": "dim", "next": "bold"}
"""How the parts of an error look on a terminal."""

WHOLE = ("  | ", "next")
"""Those of them that have their style to the end of the line."""

_diverted: list[Callable[[str], None]] = []
"""What takes the lines for people while something is drawn on their terminal; at most one."""


class PlainLines:
    """A sink for people and logs: a line with the time for each thing that happens."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._begun = time.monotonic()
        self._last_progress = 0.0
        self._last_line = ""

    def take(self, event: events.Event) -> None:
        """Print the event, unless it is one of too many."""
        line = one_line(words(event))
        if not line or line == self._last_line or (self._quiet and not isinstance(event, events.Warned)):
            return
        if isinstance(event, events.PhaseProgress):
            now = time.monotonic()
            if now - self._last_progress < PROGRESS_INTERVAL:
                return
            self._last_progress = now
        self._last_line = line
        elapsed = int(time.monotonic() - self._begun)
        write(f"{elapsed // 60:02d}:{elapsed % 60:02d}  {printable(line)}", sys.stderr)


class JsonLines:
    """A sink for scripts: one JSON object a line, on stdout."""

    def take(self, event: events.Event) -> None:
        """Print the event."""
        write(as_json(event.payload()), sys.stdout)


def say(text: str) -> None:
    """Print a line for people, on stderr. If nobody reads it, the exit code has to say it all."""
    if _diverted:
        _diverted[-1](printable(text))
    else:
        _say(printable(text))


def divert(taker: Callable[[str], None] | None) -> None:
    """Give the lines for people to somebody who draws on their terminal and shows them above; None ends that."""
    _diverted[:] = [taker] if taker is not None else []


def result(text: str) -> None:
    """Print the result of a command, on stdout."""
    _print(printable(text), sys.stdout)


def document(value: dict[str, Any], *, compact: bool = False) -> None:
    """Print a JSON object on stdout, without any secret."""
    _print(as_json(redact_all(value), indent=None if compact else 2), sys.stdout)


def verbatim(text: str) -> None:
    """Print the content of a file on stdout, to be redirected into one."""
    _print(printable(text).removesuffix("\n"), sys.stdout)


def error(problem: PolisError, *, log: Path | None = None, colour: bool = True) -> None:
    """Print an error in its four parts: what and where, the cause, what is still there, what to type next.

    Behind them stands where the `log` is, if there is one. On a terminal the parts have styles, and colours unless
    `colour` (or NO_COLOR) says no.
    """
    told = events.describe(problem)
    where = f" (phase {told['phase']})" if told["phase"] is not None else ""
    parts = [("error", f": {one_line(told['message'])}{where}")]
    parts += [("  | ", line) for line in told["cause"].strip().splitlines()[-CAUSE_LINES:]]
    if told["remains"]:
        parts.append(("still there", f": {one_line(told['remains'])}"))
    if told["hint"]:
        parts.append(("next", f": {one_line(told['hint'])}"))
    if log is not None:
        parts.append(("log", f": {one_line(str(log))}"))
    shown = [(label, printable(text)) for label, text in parts]
    for line in _styled(shown, colour=colour) or [label + text for label, text in shown]:
        _say(line)


def _styled(parts: list[tuple[str, str]], *, colour: bool) -> list[str]:
    """Return the lines with a terminal's codes for their styles; none where stderr is no such terminal."""
    from polis.cli import terminal

    if not terminal.can_be_drawn_on(sys.stderr):
        return []
    from rich.text import Text

    screen = terminal.Terminal(sys.stderr, colour=colour)
    return [
        screen.paint(Text.assemble((label, STYLES.get(label, "")), (text, STYLES[label] if label in WHOLE else "")))
        for label, text in parts
    ]


def silence(stream: TextIO) -> None:
    """Let nothing more be written to a stream that nobody reads; Python flushes it once more on its way out."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def one_line(text: str) -> str:
    """Return the text without line breaks: what a guest says must not look like a line of ours."""
    return " ".join(text.splitlines())


def printable(text: str) -> str:
    """Return the text without control characters: what a guest or registry says must not steer the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def as_json(value: dict[str, Any], *, indent: int | None = None) -> str:
    """Return a JSON object as text, on one line without `indent`."""
    # A file's name may hold bytes that are no UTF-8; Python keeps them as what cannot be written.
    return json.dumps(value, ensure_ascii=False, indent=indent).encode(errors="replace").decode()


def _print(text: str, stream: TextIO) -> None:
    """Print what a command ends with; without anybody to read it, the command has nothing more to do."""
    try:
        write(text, stream)
    except BrokenPipeError as error:
        raise SystemExit(ExitCode.READER_GONE) from error


def write(text: str, stream: TextIO, end: str = "\n") -> None:
    """Print a line. Raises BrokenPipeError if its reader went away: a pipe's end, or a terminal that was closed."""
    try:
        print(text, file=stream, end=end, flush=True)
    except OSError as error:
        if error.errno == errno.EIO:
            raise BrokenPipeError(error.errno, error.strerror) from error
        raise


def _say(line: str) -> None:
    try:
        write(line, sys.stderr)
    except BrokenPipeError:
        silence(sys.stderr)


def words(event: events.Event) -> str:  # noqa: PLR0911 -- one line for each kind of event
    """Return what happened, for people; nothing for what is told otherwise."""
    match event:
        case events.PhaseStarted(phase=phase, attempt=attempt):
            return f"{phase}: begun" + (f" (attempt {attempt})" if attempt > 1 else "")
        case events.PhaseProgress(phase=phase, detail=detail, done=done, total=total):
            return f"{phase}: {f'[{done}/{total}] ' if total else ''}{detail}"
        case events.PhaseRetry(phase=phase, reason=reason, attempt=attempt, attempts=attempts, delay_s=delay):
            return f"{phase}: attempt {attempt} of {attempts} failed, next in {delay:.1f} s: {reason}"
        case events.PhaseCompleted(phase=phase, duration_s=seconds):
            return f"{phase}: done in {seconds:.1f} s"
        case events.PhaseSkipped(phase=phase):
            return f"{phase}: holds already"
        case events.PhaseLeft(phase=phase, duration_s=seconds):
            return f"{phase}: left in {seconds:.1f} s"
        case events.DriftFound(phase=phase, reason=reason):
            return f"{phase}: no longer holds: {reason}"
        case events.Warned(message=message):
            return f"warning: {message}"
        case events.Disclosed(message=message):
            return message
    return ""
