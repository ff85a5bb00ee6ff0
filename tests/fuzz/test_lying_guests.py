"""Whatever a guest says: a report or a PolisError; never a traceback, never a terminal that obeys it."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis import events
from polis.cli import output
from polis.cli.status import render
from polis.errors import GuestCommandFailed, PolisError
from polis.guest.report import GuestReport
from polis.guest.session import Guest
from polis.phase import Phase
from polis.states import launched
from polis.workspace import UpOptions
from tests.fuzz import lies
from tests.fuzz.damage import odd_text
from tests.fuzz.effort import examples
from tests.fuzz.lies import Liar
from tests.fuzz.worlds import Place, copy_of

LABELS = {
    *("workspace", "phase", "instance", "note", "drift", "pending", "because", "at work", "broken off", "last error"),
    *("hint", "failing", "service", "next", ""),
}


def liar(place: Place, **settings: Any) -> Liar:
    return Liar(path=place.root / "world.json", **settings)


def honest_report(place: Place) -> GuestReport:
    return Guest(place.driver(), "polis").probe()


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launched, "DOCKER_GRACE", 0.0)
    monkeypatch.setattr(launched, "INTERVAL", 0.0)


@examples(200)
@given(data=st.data())
def test_a_probe_is_a_report_or_cannot_be_understood(healthy: Place, data: st.DataObject) -> None:
    answer = {"answer": json.loads(honest_report(healthy).model_dump_json())}
    text = data.draw(lies.said(answer))
    try:
        report = Guest(liar(healthy, lies={"probe": text}), "polis").probe()
    except GuestCommandFailed as error:
        error_can_be_told(error)
    else:
        assert GuestReport.model_validate(json.loads(report.model_dump_json())) == report


@pytest.mark.parametrize("text", ["", "\n", "[" * 100_000, '{"answer": ' * 100_000, "9" * 10_000, "x" * 1_000_000])
def test_an_answer_that_is_none_is_a_failed_command(healthy: Place, text: str) -> None:
    with pytest.raises(GuestCommandFailed):
        Guest(liar(healthy, lies={"probe": text}), "polis").probe()


@examples(200)
@given(text=st.sampled_from(sorted(lies.HONEST)).flatmap(lies.answers))
@example(text='{"answer": {"words": "\\ud800"}}')
@example(text='{"answer": {"\\ud800": ["\\udfff"]}}')
def test_whatever_a_call_returns_can_be_written_down(healthy: Place, text: str) -> None:
    try:
        answer = Guest(liar(healthy, lies={"stop": text}), "polis").call("stop", {}, timeout=1)
    except GuestCommandFailed as error:
        error_can_be_told(error)
    else:
        json.dumps(answer, ensure_ascii=False).encode()


@pytest.mark.parametrize("command", ["wait", "sign", "place", "pull", "up", "watch"])
@examples(30)
@given(data=st.data())
def test_after_any_answer_up_ends_in_words_and_the_next_up_heals(
    absent: Place, command: str, data: st.DataObject
) -> None:
    lie, news = data.draw(lies.answers(command)), data.draw(lies.news)
    with copy_of(absent) as place:
        told(place, liar(place, lies={command: lie}, news=news))
        assert place.open().up(UpOptions()) is Phase.HEALTHY


def told(place: Place, driver: Liar) -> Phase | None:
    try:
        return place.open(driver).up(UpOptions())
    except PolisError as error:
        error_can_be_told(error)
        return None


LIES = [
    ("wait", {"cloud_init": None}),
    ("wait", {}),
    ("wait", {"cloud_init": []}),
    ("pull", {"pulled": None}),
    ("pull", {"pulled": 5, "failed": 5}),
    ("pull", {"failed": {}}),
    ("pull", {"failed": "\ud800"}),
    ("up", {"code": 1, "words": "\ud800"}),
    ("watch", {"waiting": {"\ud800": "\x1b"}}),
]
NEWS = [
    ("pull", {"bytes": "x", "of": "y"}),
    ("pull", {"bytes": None, "of": 1e400}),
    ("pull", {"bytes": 1, "of": 2, "pulled": []}),
    ("wait", {"line": "\ud800"}),
    ("up", {"services": {"\ud800": []}, "expected": True}),
]


@pytest.mark.parametrize(("command", "answer"), LIES)
def test_these_answers_were_tracebacks(absent: Place, command: str, answer: dict[str, Any]) -> None:
    with copy_of(absent) as place:
        told(place, liar(place, lies={command: json.dumps({"answer": answer})}))
        assert place.open().up(UpOptions()) is Phase.HEALTHY


@pytest.mark.parametrize(("command", "progress"), NEWS)
def test_these_news_were_tracebacks(absent: Place, command: str, progress: dict[str, Any]) -> None:
    with copy_of(absent) as place:
        honest = json.dumps({"answer": lies.HONEST[command]})
        told(place, liar(place, lies={command: honest}, news=(json.dumps({"progress": progress}),)))
        assert place.open().up(UpOptions()) is Phase.HEALTHY


@pytest.mark.parametrize("answer", [{}, {"pulled": []}, {"pulled": ["another"]}])
def test_a_guest_that_pulls_nothing_does_not_keep_us_for_ever(absent: Place, answer: dict[str, Any]) -> None:
    with copy_of(absent) as place:
        driver = liar(place, lies={"pull": json.dumps({"answer": answer})}, always=True)
        with pytest.raises(PolisError):
            place.open(driver).up(UpOptions())


@pytest.mark.parametrize("command", ["down", "remove-images", "remove-bundle"])
@examples(30)
@given(data=st.data())
def test_after_any_answer_reset_ends_in_words(healthy: Place, command: str, data: st.DataObject) -> None:
    lie = data.draw(lies.answers(command))
    with copy_of(healthy) as place:
        try:
            place.open(liar(place, lies={command: lie})).reset(Phase.LAUNCHED)
        except PolisError as error:
            error_can_be_told(error)
        assert place.open().up(UpOptions()) is Phase.HEALTHY


@pytest.mark.parametrize(
    "answer", [{}, {"code": 1}, {"code": None, "words": 5}, {"problems": 5}, {"problems": {"a": 1}}]
)
@pytest.mark.parametrize("command", ["down", "remove-images", "remove-bundle"])
def test_these_answers_end_reset_in_words(healthy: Place, command: str, answer: dict[str, Any]) -> None:
    with copy_of(healthy) as place, contextlib.suppress(PolisError):
        place.open(liar(place, lies={command: json.dumps({"answer": answer})})).reset(Phase.LAUNCHED)


@examples(80)
@given(data=st.data())
def test_up_over_a_strange_report_ends_in_words(healthy: Place, data: st.DataObject) -> None:
    report = data.draw(lies.twisted(honest_report(healthy)))
    with copy_of(healthy) as place:
        told(place, liar(place, lies={"probe": lies.report_answer(report)}, always=True))
        place.store.load()
        assert place.open().up(UpOptions(adopt=True)) is Phase.HEALTHY


@examples(200)
@given(data=st.data())
def test_status_of_a_strange_report_is_shown_line_by_line(
    healthy: Place, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    report = data.draw(lies.twisted(honest_report(healthy)) | lies.reports)
    driver = liar(healthy, lies={"probe": lies.report_answer(report)}, always=True)
    found = healthy.open(driver).status()
    output.document(found.document)
    assert json.loads(capsys.readouterr().out) == found.document
    output.result(render(found))
    shown = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert {line[:11].rstrip() for line in shown.splitlines()} <= LABELS
    commands = [line[11:] for line in shown.splitlines() if line.startswith("next ")]
    assert commands == ([found.next_command] if found.next_command else [])


@examples(200)
@given(text=odd_text, number=st.integers(0, 10**6))
def test_no_event_is_more_than_one_line(capsys: pytest.CaptureFixture[str], text: str, number: int) -> None:
    phase = Phase.LAUNCHED
    sink = output.PlainLines()
    for event in (
        events.PhaseProgress(phase=phase, detail=text, done=number, total=number),
        events.PhaseRetry(phase=phase, reason=text, attempt=1, attempts=2, delay_s=0.5),
        events.DriftFound(phase=phase, reason=text),
        events.Warned(message=text),
    ):
        sink.take(event)
        told = capsys.readouterr().err.splitlines()
        assert all(re.match(r"\d\d:\d\d  ", line) for line in told)


@examples(100)
@given(parts=st.tuples(odd_text, odd_text, odd_text, odd_text))
@example(parts=("a\nnext: evil", "a\nnext: evil", "a\nnext: evil", "a\nnext: evil"))
def test_no_error_has_lines_that_are_not_ours(capsys: pytest.CaptureFixture[str], parts: tuple[str, ...]) -> None:
    message, cause, remains, hint = parts
    output.error(PolisError(message, cause, remains, hint))
    shown = capsys.readouterr().err.splitlines()
    labels = [line.partition(":")[0] for line in shown if not line.startswith("  | ")]
    assert labels == ["error", *(["still there"] if remains else []), "next"]


def error_can_be_told(error: PolisError) -> None:
    output.error(error)
    output.document(events.describe(error))
