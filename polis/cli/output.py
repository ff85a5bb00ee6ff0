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
    from polis.errors import PolisError

PROGRESS_INTERVAL = 1.0
"""Seconds between two lines of progress within one phase: a person reads no faster."""

CAUSE_LINES = 15


class PlainLines:
    """A sink for people and logs: a line with the time for each thing that happens."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._begun = time.monotonic()
        self._last_progress = 0.0
        self._last_line = ""

    def take(self, event: events.Event) -> None:
        """Print the event, unless it is one of too many."""
        line = one_line(_line(event))
        if not line or line == self._last_line or (self._quiet and not isinstance(event, events.Warned)):
            return
        if isinstance(event, events.PhaseProgress):
            now = time.monotonic()
            if now - self._last_progress < PROGRESS_INTERVAL:
                return
            self._last_progress = now
        self._last_line = line
        elapsed = int(time.monotonic() - self._begun)
        _write(f"{elapsed // 60:02d}:{elapsed % 60:02d}  {printable(line)}", sys.stderr)


class JsonLines:
    """A sink for scripts: one JSON object a line, on stdout."""

    def take(self, event: events.Event) -> None:
        """Print the event."""
        _write(_json(event.payload()), sys.stdout)


def say(text: str) -> None:
    """Print a line for people, on stderr. If nobody reads it, the exit code has to say it all."""
    try:
        _write(printable(text), sys.stderr)
    except BrokenPipeError:
        silence(sys.stderr)


def result(text: str) -> None:
    """Print the result of a command, on stdout."""
    _print(printable(text), sys.stdout)


def document(value: dict[str, Any], *, compact: bool = False) -> None:
    """Print a JSON object on stdout, without any secret."""
    _print(_json(redact_all(value), indent=None if compact else 2), sys.stdout)


def verbatim(text: str) -> None:
    """Print the content of a file on stdout, to be redirected into one."""
    _print(printable(text).removesuffix("\n"), sys.stdout)


def error(problem: PolisError) -> None:
    """Print an error in its four parts: what and where, the cause, what is still there, what to type next."""
    told = events.describe(problem)
    where = f" (phase {told['phase']})" if told["phase"] is not None else ""
    say(f"error: {one_line(told['message'])}{where}")
    for line in told["cause"].strip().splitlines()[-CAUSE_LINES:]:
        say(f"  | {line}")
    if told["remains"]:
        say(f"still there: {one_line(told['remains'])}")
    if told["hint"]:
        say(f"next: {one_line(told['hint'])}")


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


def _json(value: dict[str, Any], *, indent: int | None = None) -> str:
    # A file's name may hold bytes that are no UTF-8; Python keeps them as what cannot be written.
    return json.dumps(value, ensure_ascii=False, indent=indent).encode(errors="replace").decode()


def _print(text: str, stream: TextIO) -> None:
    """Print what a command ends with; without anybody to read it, the command has nothing more to do."""
    try:
        _write(text, stream)
    except BrokenPipeError as error:
        raise SystemExit(ExitCode.READER_GONE) from error


def _write(text: str, stream: TextIO) -> None:
    """Print a line. Raises BrokenPipeError if its reader went away: a pipe's end, or a terminal that was closed."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if error.errno == errno.EIO:
            raise BrokenPipeError(error.errno, error.strerror) from error
        raise


def _line(event: events.Event) -> str:  # noqa: PLR0911 -- one line for each kind of event
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
