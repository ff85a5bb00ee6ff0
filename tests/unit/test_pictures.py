"""What is drawn: the same picture for the same journal, and a harmless one for any journal."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polis import redaction, timeline
from polis.errors import HostUnsuitable, UsageError
from polis.pictures import drawing, files, page
from polis.pictures import timeline as pictured
from polis.timeline import MOST_ROWS, MOST_SPANS, Part, Row, Span, Timeline
from tests.unit.test_timeline import BEGAN, DATA, ENTRIES, begin, end, journal, of

SVG = "{http://www.w3.org/2000/svg}"
LARGEST = 4_000_000
"""Bytes of a picture of which nobody says that it fills the disk."""


def drawn(name: str) -> Timeline:
    found = timeline.find("polis", journal(name), 1, BEGAN)
    assert found is not None
    return found


def svg(found: Timeline) -> str:
    return drawing.render(pictured.draw(found))


def parsed(text: str) -> Element:
    """Return the elements of a file that we wrote ourselves. Raises ParseError if it is not well-formed."""
    return ET.fromstring(text)  # noqa: S314 -- as said


def texts(picture: Element) -> list[str]:
    return [each.text or "" for each in picture.iter() if each.tag in (f"{SVG}text", f"{SVG}title", f"{SVG}desc")]


# ---- the same journal, the same picture


@pytest.mark.parametrize("name", ["outage", "first-launch"])
@pytest.mark.parametrize("form", ["svg", "html"])
def test_a_known_journal_gives_the_known_picture(name: str, form: str) -> None:
    """With POLIS_REDRAW=1 the pictures are written anew; look at them before they are kept."""
    text = svg(drawn(name)) if form == "svg" else page.render(drawn(name))
    kept = DATA / f"{name}.{form}"
    if os.environ.get("POLIS_REDRAW"):
        kept.write_text(text, encoding="utf-8")
    assert text == kept.read_text(encoding="utf-8")


def test_the_picture_tells_what_happened_in_words_too() -> None:
    picture = parsed(svg(drawn("outage")))
    said = texts(picture)
    for words in (
        "polis up, workspace polis: failed",
        "2026-11-03 10:00:00 UTC · 3 min 17 s · exit code 75",
        "modules-final", "install-packages", "images-pulled", "failed", "between phases", "in all", "100 %",
    ):  # fmt: skip
        assert any(words in text for text in said), words
    assert any("tried again 5 times, the last because: received unexpected" in text for text in said)
    described = picture.find(f"{SVG}desc")
    assert described is not None
    assert "launched completed, 1 min 57 s, 59 %" in (described.text or "")
    assert picture.get("role") == "img"
    assert picture.get("aria-labelledby") == "polis-title polis-description"


def bars(picture: Element, kind: str) -> list[tuple[float, float]]:
    """Return where bars of a kind begin and how wide they are, without the legend's."""
    found = [each for each in picture.iter(f"{SVG}rect") if each.get("class") == kind]
    return [
        (float(each.get("x", "")), float(each.get("width", ""))) for each in found if float(each.get("y", "")) > 100
    ]


def test_the_axis_of_time_is_true() -> None:
    found = Timeline(
        "polis", "up", "healthy", "2026-11-03T10:00:00Z", "failed", 75, 100.0,
        rows=[
            Row("launched", "completed", 0, 50, spans=[Span("tried", 0, 50)]),
            Row("images-pulled", "failed", 60, 100, spans=[
                Span("failed", 60, 70), Span("waited", 70, 90), Span("failed", 90, 100),
            ]),
        ],
        gaps=[Span("gap", 50, 60)],
    )  # fmt: skip
    picture = parsed(svg(found))
    one = pictured.PLOT_WIDTH / 100
    assert bars(picture, "tried") == [(pictured.PLOT, 50 * one)]
    assert bars(picture, "gap") == [(pictured.PLOT + 50 * one, 10 * one)]
    assert bars(picture, "waited") == [(pictured.PLOT + 70 * one, 20 * one)]
    assert bars(picture, "failed") == [(pictured.PLOT + 60 * one, 10 * one), (pictured.PLOT + 90 * one, 10 * one)]


@pytest.mark.parametrize("total", [0.001, 0.003, 0.5, 1.0, 7.0, 59.0, 61.0, 600.0, 4000.0, 90_000.0, 2.0**31])
def test_the_axis_has_a_bearable_number_of_marks(total: float) -> None:
    axis = pictured._Axis(total)
    marks = axis.marks()
    assert 1 <= len(marks) <= pictured.MOST_TICKS + 1
    assert marks[0] == 0
    assert marks[-1] <= total
    assert len(marks) > 2
    assert len({axis.label(mark) for mark in marks}) == len(marks)


@pytest.mark.parametrize("outcome", [*pictured.MARKS])
def test_each_outcome_has_a_sign_of_its_own_in_picture_and_legend(outcome: str) -> None:
    found = Timeline("p", "up", "healthy", "", outcome, None, 9.0, [Row("running", outcome, 1, 5)], [])
    picture = parsed(svg(found))
    signs = [each for each in picture.iter(f"{SVG}path") if each.find(f"{SVG}title") is not None]
    assert [each.findtext(f"{SVG}title") for each in signs] == [pictured.MARKS[outcome]] * 2


def test_a_target_is_named_where_somebody_typed_it() -> None:
    for command, target, words in (
        ("up", "running", "polis up --to running, workspace p: done"),
        ("up", "healthy", "polis up, workspace p: done"),
        ("reset", "absent", "polis reset, workspace p: done"),
    ):
        assert pictured.heading(Timeline("p", command, target, "", "done", 0, 1.0, [], [])) == words


def test_light_and_dark_and_nothing_that_acts_or_loads() -> None:
    for text in (svg(drawn("outage")), page.render(drawn("outage"))):
        assert "@media (prefers-color-scheme: dark)" in text
        assert not re.search(r"<script|javascript:|href|@import|<image|<foreignObject|\son\w+=", text, re.IGNORECASE)
        assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#polis-hatch"}
        assert set(re.findall(r"https?://[^\"\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_every_class_has_a_style() -> None:
    picture = parsed(svg(drawn("outage")))
    used = {word for each in picture.iter() for word in (each.get("class") or "").split()} - {"polis"}
    assert {word for word in used if f".{word} {{" not in drawing.STYLE} == set()


def test_the_page_has_the_figures_of_the_picture() -> None:
    text = page.render(drawn("outage"))
    root = parsed(text)
    rows = [["".join(cell.itertext()) for cell in line] for line in root.iter("tr")]
    assert rows[0] == list(page.COLUMNS)
    assert ["launched", "1.2 s", "118.0 s", "1 min 57 s", "59.3 %", "completed"] in rows
    assert ["install-packages", "66.5 s", "97.5 s", "31.0 s", "15.7 %", ""] in rows
    assert sum(line[0] == "wait" for line in rows) == 5
    assert rows[-1][0] == "in all"
    assert text.startswith("<!DOCTYPE html>")


# ---- hostile journals

HOSTILE = "</text><script>alert(1)</script>&\"' ]]> \x00\x1b[2J\u202e\ufffe\ud800 é 漢"


def hostile() -> Timeline:
    found = timeline.find(
        "polis",
        [
            {**begin(), "target": HOSTILE},
            of("drift", 0, reason=HOSTILE),
            of("phase.started", 1),
            of("phase.retry", 2, reason=HOSTILE, attempt=1, attempts=2, delay_s=1),
            of("phase.failed", 4, kind="x", message=HOSTILE, duration_s=3.0),
            of("warning", 4) | {"message": HOSTILE},
            end(5, outcome="failed", error={"message": HOSTILE}),
        ],
        1,
        BEGAN,
    )
    assert found is not None
    return found


def test_what_a_journal_says_is_text_and_nothing_else() -> None:
    for root in (parsed(svg(hostile())), parsed(page.render(hostile()))):
        assert not [each for each in root.iter() if each.tag.endswith("script")]
        said = "".join(root.itertext())
        assert "<script>alert(1)</script>" in said
        assert "é 漢" in said
        assert not {"\x00", "\x1b", "\u202e", "\ufffe", "\ud800"} & set(said)


def test_a_secret_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", {"hunter2hunter2"})
    found = hostile()
    found.rows[0].reason = f"key hunter2hunter2 {'x' * 900}"
    found.rows[0].drift = timeline.shortened(f"{'x' * (timeline.TEXT_LIMIT - 8)}hunter2hunter2")
    for text in (svg(found), page.render(found)):
        assert "hunter2" not in text
        assert "[redacted]" in text


def test_the_largest_picture_is_bounded() -> None:
    words = "&" * 400
    spans = [Span("failed", 0, 1, words) for _ in range(MOST_SPANS + 2)]
    rows = [Row("launched", "failed", 0, 1, spans=spans, stages=[Part("kernel", 0, 1)] * 12, reason=words)] * MOST_ROWS
    found = Timeline(words, "up", words, words, "failed", 75, 1.0, rows, spans, words, [words] * 99, [words])
    assert len(svg(found).encode()) < LARGEST
    assert len(page.render(found).encode()) < LARGEST


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=12), st.text(max_size=20))
def test_no_journal_whatsoever_gives_a_broken_or_boundless_picture(entries: list[Any], name: str) -> None:
    found = timeline.find(name, [begin(), *entries], 1, datetime(2026, 11, 3, 10, 0, 9, tzinfo=UTC))
    if found is None:
        return
    for text in (svg(found), page.render(found)):
        parsed(text)
        assert len(text.encode()) < LARGEST


# ---- the file


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run.svg"


def test_a_picture_of_ours_is_replaced_and_nothing_else(target: Path) -> None:
    files.require(target, [".svg"], force=False)
    files.write(target, svg(drawn("outage")))
    files.require(target, [".svg"], force=False)
    files.write(target, svg(drawn("first-launch")))
    assert target.read_text(encoding="utf-8") == svg(drawn("first-launch"))
    target.write_text("<svg>drawn by hand</svg>")
    with pytest.raises(UsageError, match="polis did not draw it"):
        files.require(target, [".svg"], force=False)
    files.require(target, [".svg"], force=True)


def test_a_page_is_known_as_ours_too(tmp_path: Path) -> None:
    target = tmp_path / "run.HTML"
    files.write(target, page.render(drawn("outage")))
    files.require(target, [".svg", ".html"], force=False)


@pytest.mark.parametrize("name", ["run.png", "run", "run.svg/", "missing/run.svg", ".svg"])
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, name: str) -> None:
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError):
        files.require(tmp_path / name, [".svg", ".html"], force=True)


def test_a_file_that_cannot_be_written_is_an_error_and_stays(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.write_text("before")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostUnsuitable, match="No space left"):
        files.write(target, "after")
    assert target.read_text() == "before"
    assert list(target.parent.iterdir()) == [target]
