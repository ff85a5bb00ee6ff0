"""Whatever is in the journal: what makes sense is told, the rest is passed over, and further lines can be read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis import events, history
from polis.cli import output
from polis.cli.history import render
from polis.errors import PolisError
from polis.journal import FILE, Journal
from polis.phase import Phase
from tests.fuzz.damage import TOKENS, broken, deformed, misspelt, odd_text, values
from tests.fuzz.effort import examples

FAILURE = events.describe(PolisError("it failed", cause="a\nb", hint="polis up", phase=Phase.LAUNCHED))
ENTRIES = [
    event.payload()
    for event in (
        events.CommandStarted(command="up", target=Phase.HEALTHY),
        events.Warned(message="the record was lost"),
        events.DriftFound(phase=Phase.RUNNING, reason="gate is not running"),
        events.PhaseSkipped(phase=Phase.LAUNCHED),
        events.PhaseStarted(phase=Phase.CONFIGURED, attempt=2),
        events.PhaseCompleted(phase=Phase.CONFIGURED, duration_s=1.5),
        events.PhaseStarted(phase=Phase.IMAGES_PULLED),
        events.PhaseRetry(phase=Phase.IMAGES_PULLED, reason="503", attempt=1, attempts=6, delay_s=0.5),
        events.PhaseFailed(phase=Phase.IMAGES_PULLED, kind="transient", message="503"),
        events.CommandEnded(command="up", outcome="failed", exit_code=75, duration_s=3.0, error=FAILURE),
        events.CommandStarted(command="reset", target=Phase.ABSENT),
        events.PhaseLeft(phase=Phase.CONFIGURED, duration_s=0.1),
        events.CommandEnded(command="reset", outcome="done", exit_code=0, duration_s=3.0, phase=Phase.LAUNCHED),
        events.CommandStarted(command="up", target=Phase.HEALTHY),
    )
]
LINES = [json.dumps(entry).encode() for entry in ENTRIES]


@st.composite
def journals(draw: st.DrawFn) -> bytes:
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        token = st.sampled_from(TOKENS).map(str.encode)
        lines[at] = draw(misspelt(ENTRIES[at % len(ENTRIES)]) | broken(LINES[at % len(LINES)]) | token)
    draw(st.randoms()).shuffle(lines) if draw(st.integers(0, 5)) == 0 else None
    return draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b""])).join(lines)


@examples(300)
@given(content=journals() | broken(b"\n".join(LINES)) | st.binary(max_size=300))
@example(content=b"[" * 100_000)
@example(content=b'{"event": ' * 100_000)
@example(content=b"9" * 100_000)
@example(content=b"\x00" * 100_000)
@example(content=b'{"event": "command.started", "command": "up", "pid": -1, "at": "0001-01-01T00:00:00+23:59"}')
@example(content=b'{"event": "command.started", "command": "\\ud800", "pid": 1, "at": "0001-01-01T00:00:00"}')
def test_no_content_of_the_file_is_a_traceback(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        (Path(directory) / FILE).write_bytes(content)
        tell(list(Journal(Path(directory)).read()))
        capsys.readouterr()


@examples(300)
@given(entries=deformed(ENTRIES) | st.lists(values, max_size=3))
def test_no_entry_is_a_traceback(entries: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tell(entries if isinstance(entries, list) else [entries])
    capsys.readouterr()


def tell(entries: list[Any]) -> None:
    """Do what `polis history` does."""
    found = history.runs(entries)
    history.mark_at_work(found)
    summaries = history.summarise(found)
    output.document({"runs": [run.document() for run in found], "phases": [each.document() for each in summaries]})
    output.result(render(found, len(found) + 1, summaries))


@examples(200)
@given(
    text=odd_text,
    before=st.sampled_from([b"", b"{", b"x\n", b'{"event":"warning","message":"\xff']) | broken(b"\n".join(LINES)),
)
@example(text="\ud800", before=b"")
def test_whatever_an_event_says_is_one_line_that_can_be_read(text: str, before: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        (Path(directory) / FILE).write_bytes(before)
        journal = Journal(Path(directory))
        journal.take(events.Warned(message=text))
        *_, last = journal.read()
    assert last["event"] == "warning"
    assert last["message"] == text or not is_unicode(text)


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
