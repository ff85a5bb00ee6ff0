"""The timeline of a command as a drawing: a row a phase on one axis of time, and below it what went wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from polis import history, timeline
from polis.durations import HOUR, MINUTE, readable
from polis.pictures.drawing import Drawing, wrap

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from polis.timeline import Part, Row, Span, Timeline

WIDTH = 960
PLOT = 190
"""Where the axis begins; left of it are the names."""
PLOT_WIDTH = 600
SECONDS = WIDTH - 74
SHARE = WIDTH - 20
"""Where the columns of the figures end."""
LEGEND = 72.0
TOP = 124
ROW = 28
BAR = 16
STAGE = 17
STAGE_BAR = 10
SHORTEST = 1.5
"""Pixels of the shortest bar: what took a moment must be seen."""

NOTE_WIDTH = 150
NOTE_LINES = 3
MOST_NOTES = 14
MOST_TICKS = 8

STEPS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds between two marks of the axis, from a minute on; below they are 1, 2 or 5 times a power of ten."""

MOMENT = 0.001
"""Seconds of the shortest axis."""

MARKS = {
    history.HOLDS: "held already",
    history.FAILED: "failed here",
    history.INTERRUPTED: "interrupted here",
    history.BROKEN_OFF: "broken off: nothing is known from here on",
    history.AT_WORK: "still at work",
    history.DRIFTED: "lost, and not done again",
}
"""What the sign at the end of a row means."""


def draw(found: Timeline) -> Element:
    """Return the picture."""
    drawing = Drawing(WIDTH, heading(found), summary(found))
    drawing.text(heading(found), 20, 32, kind="loud")
    drawing.text(subtitle(found), 20, 54, kind="quiet")
    _legend(drawing, found)
    axis = _Axis(max(found.total_s, MOMENT))
    bottom = TOP + sum(_height(row) for row in found.rows) + 2 * ROW
    _grid(drawing, axis, bottom)
    top: float = TOP
    for row in found.rows:
        _row(drawing, axis, found, row, top)
        top += _height(row)
    _gaps(drawing, axis, found, top)
    drawing.text("in all", 20, top + ROW + BAR - 3, kind="strong")
    _figures(drawing, found, found.total_s, top + ROW + BAR - 3, kind="strong")
    return drawing.finish(_notes(drawing, found, bottom + 26) + 6)


def heading(found: Timeline) -> str:
    """Return what was done and how it ended."""
    # A `reset` without `--to` names a target too, which nobody typed.
    to = f" --to {found.target}" if found.command == "up" and found.target not in ("", "healthy") else ""
    return f"polis {found.command}{to}, workspace {found.workspace}: {found.outcome.replace('-', ' ')}"


def subtitle(found: Timeline) -> str:
    """Return when it was, how long it took and how it ended."""
    code = f"exit code {found.exit_code}" if found.exit_code is not None else ""
    return "  ·  ".join(word for word in (when(found.started_at), readable(found.total_s), code) if word)


def summary(found: Timeline) -> str:
    """Return the picture in words, for those who do not see it."""
    rows = "; ".join(f"{row.phase} {told(row)}, {figure(found, row.seconds)}" for row in found.rows)
    idle = sum(gap.end_s - gap.start_s for gap in found.gaps)
    return f"{subtitle(found)}. {rows or 'No phase was touched'}. Between phases: {figure(found, idle)}."


def figure(found: Timeline, seconds: float) -> str:
    """Return a duration and its part of the whole."""
    return f"{readable(seconds)}, {100 * found.share(seconds):.0f} %"


def told(row: Row) -> str:
    """Return what became of a phase."""
    outcome = row.outcome.replace("-", " ")
    return f"{outcome} (attempt {row.attempt})" if row.attempt > 1 else outcome


def when(text: str) -> str:
    """Return a time in UTC, or what was written instead."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return text[:40]


def notes(found: Timeline) -> list[str]:
    """Return what has to be said in words: why something failed or was tried again, and what was noticed."""
    lines = []
    for row in found.rows:
        retries = [span for span in row.spans if span.kind == timeline.WAITED]
        if row.drift:
            lines.append(f"{row.phase} did not hold any more: {row.drift}")
        if retries:
            times = "once" if len(retries) == 1 else f"{len(retries)} times"
            lines.append(f"{row.phase} was tried again {times}, the last because: {retries[-1].text}")
        if row.reason:
            lines.append(f"{row.phase} {row.outcome}: {row.reason}")
    if found.error and not any(row.reason for row in found.rows):
        lines.append(f"error: {found.error}")
    return [*lines, *[f"warning: {text}" for text in found.warnings], *found.notes]


@dataclass(frozen=True)
class _Axis:
    """Where in the picture a moment is. `total` is in seconds."""

    total: float

    def at(self, seconds: float) -> float:
        return PLOT + PLOT_WIDTH * min(seconds, self.total) / self.total

    @property
    def step(self) -> float:
        """Return the seconds between two marks."""
        if self.total < MINUTE:
            power = 10.0 ** math.floor(math.log10(self.total / MOST_TICKS))
            steps = [power * digit for digit in (1, 2, 5, 10, 20)]
        else:
            steps = [float(step) for step in STEPS]
            while self.total / steps[-1] > MOST_TICKS:
                steps.append(steps[-1] * 2)
        return next(step for step in steps if self.total / step <= MOST_TICKS)

    def marks(self) -> list[float]:
        """Return the moments that are marked, the first at 0."""
        return [self.step * place for place in range(int(self.total / self.step) + 1)]

    def label(self, seconds: float) -> str:
        """Return how a mark is named; the last ones tell the unit by their form."""
        if self.step < 1:
            return f"{seconds:.4g} s"
        whole = round(seconds)
        if self.total >= HOUR:
            return f"{whole // HOUR}:{whole // MINUTE % MINUTE:02d}:{whole % MINUTE:02d}"
        return f"{whole // MINUTE}:{whole % MINUTE:02d}" if whole >= MINUTE else f"{whole} s"


def _grid(drawing: Drawing, axis: _Axis, bottom: float) -> None:
    for mark in axis.marks():
        drawing.path("grid", f"M{axis.at(mark):.1f} {TOP - 6} V{bottom:.1f}")
        drawing.text(axis.label(mark), axis.at(mark), TOP - 12, kind="quiet small", anchor="middle")


def _height(row: Row) -> float:
    return ROW + STAGE * len(row.stages)


def _row(drawing: Drawing, axis: _Axis, found: Timeline, row: Row, top: float) -> None:
    base = top + BAR - 3
    drawing.text(row.phase, 20, base, kind="strong")
    for span in row.spans:
        kind = "left" if row.outcome == history.LEFT else span.kind
        _bar(drawing, axis, kind, span, top, BAR, title=f"{_named(span)}, {readable(span.end_s - span.start_s)}")
    _sign(drawing, row, axis.at(row.end_s), top + BAR / 2)
    drawing.text(_outcome(row), PLOT - 8, base, kind="alarm small" if _went_wrong(row) else "quiet small", anchor="end")
    if row.outcome not in (history.HOLDS, history.DRIFTED):
        _figures(drawing, found, row.seconds, base)
    for place, stage in enumerate(row.stages):
        at = top + ROW - 5 + STAGE * place
        indent = 46 if stage.within else 34
        drawing.text(stage.name, indent, at + STAGE_BAR, kind="quiet small")
        seconds = stage.end_s - stage.start_s
        _bar(drawing, axis, "step" if stage.within else "stage", stage, at + 1, STAGE_BAR, title=stage.name)
        _figures(drawing, found, seconds, at + STAGE_BAR, kind="quiet small")


def _named(span: Span) -> str:
    names = {timeline.TRIED: "at work", timeline.FAILED: "attempt failed", timeline.WAITED: "waited"}
    return f"{names.get(span.kind, span.kind)}{f': {span.text}' if span.text else ''}"


def _bar(drawing: Drawing, axis: _Axis, kind: str, span: Span | Part, top: float, height: float, *, title: str) -> None:
    left, right = axis.at(span.start_s), axis.at(span.end_s)
    drawing.rectangle(kind, left, top, max(SHORTEST, right - left), height, title=title)


def _figures(drawing: Drawing, found: Timeline, seconds: float, base: float, *, kind: str = "") -> None:
    drawing.text(readable(seconds), SECONDS, base, kind=kind, anchor="end")
    drawing.text(f"{100 * found.share(seconds):.0f} %", SHARE, base, kind=kind, anchor="end")


def _outcome(row: Row) -> str:
    if row.outcome == history.COMPLETED:
        return f"attempt {row.attempt}" if row.attempt > 1 else ""
    return row.outcome.replace("-", " ")


def _went_wrong(row: Row) -> bool:
    return row.outcome in (history.FAILED, history.INTERRUPTED, history.BROKEN_OFF, history.DRIFTED)


def _sign(drawing: Drawing, row: Row, left: float, middle: float) -> None:
    """Draw what tells the outcome without colour, right of the bar's end."""
    title, at = MARKS.get(row.outcome, ""), f"{left + 5:.1f} {middle:.1f}"
    ways = {
        history.HOLDS: ("good", f"M{at} m-5 0 l4 4 l7 -8"),
        history.FAILED: ("bad", f"M{at} m-1 -5 l10 10 m0 -10 l-10 10"),
        history.DRIFTED: ("bad", f"M{at} m-1 -5 l10 10 m0 -10 l-10 10"),
        history.INTERRUPTED: ("bad", f"M{at} m0 -6 v12 m5 -12 v12"),
        history.BROKEN_OFF: ("bad", f"M{at} m-3 -9 l5 4 l-5 5 l5 5 l-5 4"),
        history.AT_WORK: ("good", f"M{at} m0 -5 l7 5 l-7 5"),
    }
    if row.outcome in ways:
        kind, way = ways[row.outcome]
        drawing.path(kind, way, title=title)


def _gaps(drawing: Drawing, axis: _Axis, found: Timeline, top: float) -> None:
    drawing.text("between phases", 20, top + BAR - 3, kind="quiet")
    for gap in found.gaps:
        seconds = gap.end_s - gap.start_s
        _bar(drawing, axis, "gap", gap, top + 4, BAR - 8, title=f"no phase at work, {readable(seconds)}")
    idle = sum(gap.end_s - gap.start_s for gap in found.gaps)
    _figures(drawing, found, idle, top + BAR - 3, kind="quiet")


def _legend(drawing: Drawing, found: Timeline) -> None:
    """Name the colours and signs that occur."""
    kinds = {span.kind for row in found.rows if row.outcome != history.LEFT for span in row.spans}
    outcomes = {row.outcome for row in found.rows}
    stages = [stage for row in found.rows for stage in row.stages]
    entries = [
        ("tried", "at work", timeline.TRIED in kinds),
        ("failed", "attempt that failed", timeline.FAILED in kinds),
        ("waited", "wait before the next attempt", timeline.WAITED in kinds),
        ("left", "being left", history.LEFT in outcomes),
        ("stage", "the VM's own boot", bool(stages)),
        ("step", "its script", any(stage.within for stage in stages)),
        ("gap", "between phases", bool(found.gaps)),
    ]
    line = _Line()
    for kind, words, occurs in entries:
        if occurs:
            left, top = line.place(words)
            drawing.rectangle(kind, left, top, 18, 10)
            drawing.text(words, left + 24, top + 9, kind="quiet small")
    for outcome in (outcome for outcome in MARKS if outcome in outcomes):
        words = MARKS[outcome].partition(":")[0]
        left, top = line.place(words)
        _sign(drawing, _blank(outcome), left, top + 5)
        drawing.text(words, left + 24, top + 9, kind="quiet small")


class _Line:
    """Places words beside each other, and in a second line where the first is full."""

    def __init__(self) -> None:
        self._left, self._top = 20.0, LEGEND

    def place(self, words: str) -> tuple[float, float]:
        """Return where the sign before some words begins."""
        width = 42 + 5.8 * len(words)
        if self._left + width > WIDTH:
            self._left, self._top = 20.0, self._top + 16
        left, self._left = self._left, self._left + width
        return left, self._top


def _blank(outcome: str) -> Row:
    return timeline.Row("", outcome, 0.0, 0.0)


def _notes(drawing: Drawing, found: Timeline, top: float) -> float:
    lines = notes(found)
    for note in lines[:MOST_NOTES]:
        for place, line in enumerate(wrap(note, NOTE_WIDTH, NOTE_LINES)):
            drawing.text(line, 20 if place == 0 else 32, top, kind="small")
            top += 16
    if len(lines) > MOST_NOTES:
        drawing.text(f"and {len(lines) - MOST_NOTES} more: `polis history`", 20, top, kind="quiet small")
        top += 16
    return top
