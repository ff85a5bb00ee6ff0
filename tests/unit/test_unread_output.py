"""A reader that goes away, as `head` does, ends polis as it ends other Unix tools: without a word, with 141."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polis import events
from polis.cli import output
from polis.phase import Phase

POLIS = [sys.executable, "-m", "polis"]
BUFFERED = {"PYTHONUNBUFFERED": ""}
"""As users have it; without a buffer, nothing is left to be written at the end."""


def unread(*words: str, silent: str = "stdout", **environ: str) -> tuple[int, bytes]:
    """Run polis with a stream that nobody reads; return its exit code and what comes from the other one."""
    reading, writing = os.pipe()
    os.close(reading)
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, silent: writing}
    environment = {**os.environ, **BUFFERED, **environ}
    try:
        done = subprocess.run([*POLIS, *words], env=environment, check=False, timeout=60, **streams)
    finally:
        os.close(writing)
    return done.returncode, done.stdout or done.stderr or b""


@pytest.mark.processes
@pytest.mark.parametrize("line", ["--version", "--help", "version", "status", "status --json", "cloud-init show"])
def test_a_result_that_nobody_reads(line: str) -> None:
    assert unread(*line.split()) == (141, b"")


@pytest.mark.processes
def test_a_completion_that_nobody_reads() -> None:
    assert unread(_POLIS_COMPLETE="source_bash") == (141, b"")


@pytest.mark.processes
@pytest.mark.parametrize(("line", "code"), [("-n 9lives status", 78), ("no-such-command", 141)])
def test_an_error_that_nobody_reads(line: str, code: int) -> None:
    assert unread(*line.split(), silent="stderr") == (code, b"")


@pytest.mark.processes
def test_a_reader_that_has_seen_enough_sees_that_much(tmp_path: Path) -> None:
    status = tmp_path / "status"
    script = '{ "$@"; echo $? > "$0"; } | head -n 1'
    done = subprocess.run(
        ["sh", "-c", script, str(status), *POLIS, "cloud-init", "show"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("#cloud-config\n", "")
    assert status.read_text() in ("0\n", "141\n"), "0 if all was written before head ended"


@contextmanager
def nobody_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_what_is_being_done_goes_on_when_nobody_looks_on_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = events.Stream([output.JsonLines()])
    with nobody_reads(monkeypatch):
        stream.emit(events.PhaseStarted(phase=Phase.LAUNCHED, attempt=1))
        stream.emit(events.PhaseCompleted(phase=Phase.LAUNCHED, duration_s=1.0))
        with pytest.raises(SystemExit) as ending:
            output.document({"event": "result"})
    assert ending.value.code == 141
