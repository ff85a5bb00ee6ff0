"""The only place that starts a process.

Every child gets: no stdin unless given, a limit in seconds, its own session (so that the terminal's Ctrl-C reaches
polis alone, which then decides), `LANG=C.UTF-8`, stdout and stderr apart. A missing binary is a `DriverMissing`.
"""

from __future__ import annotations

import codecs
import contextlib
import contextvars
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from polis import interruption
from polis.errors import DriverMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

KILL_GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL for a child that outlived its limit."""

OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes kept of each stream: a guest must not be able to fill the host's memory."""

LINE_LIMIT = 64 * 1024
"""Characters of a line after which it is cut: a guest may print one without end."""


@dataclass(frozen=True)
class Completed:
    """What a finished command left behind. A negative `code` is the number of the signal that ended it."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Return whether the command ended with 0."""
        return self.code == 0

    def last_words(self, count: int = 5) -> str:
        """Return the last lines of stderr, or of stdout if stderr is empty."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(line.rstrip() for line in text.splitlines()[-count:])


class ProcessTimeout(Exception):
    """A child outlived its limit and was ended. Callers turn it into an error that names the deed."""

    def __init__(self, completed: Completed, limit: float) -> None:
        super().__init__(f"{completed.argv[0]} did not end within {limit:.0f} s")
        self.completed = completed
        self.limit = limit


class Runner(Protocol):
    """How drivers call `run`, so that tests can put a scripted stand-in in its place."""

    def __call__(  # noqa: D102 -- see run
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Path | None = None,
        stdout_to: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        cwd: Path | None = None,
    ) -> Completed: ...


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: bytes | Path | None = None,
    stdout_to: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a command to its end; `on_line` receives each line of stdout while it runs.

    A file of any size may be given as `stdin`, and `stdout_to` takes stdout instead of memory: both are passed to
    the child as they are. OSError if such a file cannot be opened.

    Raises ProcessTimeout after `timeout` seconds and DriverMissing if the binary is not there. If anything else
    interrupts (Ctrl-C), the child and what it started are ended before the interruption goes on.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as files:
        child = _start(
            argv, stdin=_source(stdin, files), stdout=_sink(stdout_to, files), env=env, cwd=cwd
        )  # the child has its own copies of the files
    stdout = _Drain(child.stdout, on_line)
    stderr = _Drain(child.stderr, None)
    expired = False
    try:
        _wait(child, stdout, until=begun + timeout)
    except subprocess.TimeoutExpired:
        expired = True
        end(child)
    except BaseException:
        end(child)
        raise
    finally:
        stdout.join()
        stderr.join()
    done = Completed(tuple(argv), child.returncode, stdout.text, stderr.text, time.monotonic() - begun)
    if stdout.failure is not None:
        raise stdout.failure
    if expired:
        raise ProcessTimeout(done, timeout)
    return done


def interactive(argv: Sequence[str]) -> int:
    """Run a command on the caller's own terminal (stdin, stdout, stderr) and return its exit code.

    128+n if signal n ended it, as a shell has it: a process's exit code is never negative.
    """
    try:
        child = subprocess.Popen(list(argv), env=_environment(None))
    except FileNotFoundError as error:
        raise _missing(argv) from error
    with _ignored(signal.SIGINT):  # the terminal sends it to the child, whose answer counts
        code = child.wait()
    return code if code >= 0 else 128 - code


def end(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that shares its session: SIGTERM, a grace period, SIGKILL."""
    _signal(child, signal.SIGTERM)
    try:
        child.wait(KILL_GRACE)
    except subprocess.TimeoutExpired:
        _signal(child, getattr(signal, "SIGKILL", signal.SIGTERM))
        child.wait()


def _source(stdin: bytes | Path | None, files: contextlib.ExitStack) -> int | IO[bytes]:
    if stdin is None:
        return subprocess.DEVNULL
    if not isinstance(stdin, bytes):
        return files.enter_context(stdin.open("rb"))
    # A file, not a pipe: a child that does not read it cannot make us wait.
    spool: IO[bytes] = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 -- entered just here
    spool.write(stdin)
    spool.seek(0)
    return spool


def _sink(stdout: Path | None, files: contextlib.ExitStack) -> int | IO[bytes]:
    if stdout is None:
        return subprocess.PIPE
    descriptor = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return files.enter_context(os.fdopen(descriptor, "wb"))


def _start(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    env: Mapping[str, str] | None,
    cwd: Path | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=_environment(env),
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _missing(argv) from error
    except PermissionError as error:
        raise DriverMissing(f"{argv[0]} cannot be executed", cause=str(error)) from error


def _missing(argv: Sequence[str]) -> DriverMissing:
    return DriverMissing(f"{argv[0]} is not installed", hint=f"install {argv[0]} and run the command again")


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(extra or {})}


def _wait(child: subprocess.Popen[bytes], stdout: _Drain, *, until: float) -> None:
    # An interruption must be noticed at once, so the callback's failure is looked for while waiting.
    while True:
        interruption.check()
        try:
            child.wait(min(0.5, max(0.0, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if stdout.failure is not None:
                raise stdout.failure from None
            if time.monotonic() >= until:
                raise
        else:
            return


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, number)
        else:
            child.kill()


@contextlib.contextmanager
def _ignored(number: signal.Signals) -> Iterator[None]:
    previous = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, previous)


class _Drain:
    """Reads one stream in a thread, so that neither stream can block the child by filling its pipe."""

    def __init__(self, stream: IO[bytes] | None, on_line: Callable[[str], None] | None) -> None:
        self.failure: BaseException | None = None
        self._chunks: list[str] = []
        self._kept = 0
        self._on_line = on_line
        # In the context of who started it: what is a secret there is one here.
        read = contextvars.copy_context().run
        self._thread = threading.Thread(target=read, args=(self._read, stream), daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return "".join(self._chunks)

    def join(self) -> None:
        # A background child of the command may keep the pipe open for ever; what was printed by now counts.
        self._thread.join(KILL_GRACE)

    def _read(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        # One decoder for the whole stream: a character may lie across the place where a long line is cut.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with stream:
            while raw := stream.readline(LINE_LIMIT):
                self._take(decoder.decode(raw))
        if rest := decoder.decode(b"", final=True):
            self._take(rest)

    def _take(self, line: str) -> None:
        if self._kept < OUTPUT_LIMIT:
            self._chunks.append(line)
            self._kept += len(line)
        if self._on_line is not None and self.failure is None:
            try:
                self._on_line(line.rstrip("\r\n"))
            except BaseException as error:  # noqa: BLE001 -- carried to the waiting thread, raised there
                self.failure = error
