"""When the phases of one command began, were tried again, waited and ended, read from the journal: a timeline to draw.

Nothing here trusts the journal. Times are taken from when each event was written; where the clock was set meanwhile,
they are moved to where they can be, and that is said. Sizes are bounded, whatever a journal holds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from polis import bootstages, entries, history
from polis.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polis.history import Run

COMMANDS = ("up", "reset")
"""Of which commands there is a timeline."""

MOST_ENTRIES = 10_000
MOST_ROWS = 24
MOST_SPANS = 60
"""Of one command, of one timeline, of one row. What is beyond is left out, and that is said."""

TEXT_LIMIT = 300
"""Characters of a reason."""

CLOCK_SLACK = 1.0
"""Seconds by which the times of two events may contradict what was measured between them."""

TRIED = "tried"
FAILED = "failed"
WAITED = "waited"


@dataclass(slots=True)
class Span:
    """A part of a row: what was tried, what was tried in vain, or a wait before it was tried again.

    Times are seconds since the command began.
    """

    kind: str
    start_s: float
    end_s: float
    text: str = ""


@dataclass(slots=True)
class Part:
    """A stage of the guest's boot, cut to a row; `within` is the stage that it is a part of, or nothing."""

    name: str
    start_s: float
    end_s: float
    within: str = ""


@dataclass(slots=True)
class Row:
    """One phase. `outcome` is that of `polis.history.PhaseRun`; `stages` are those of the guest's boot, cut to it."""

    phase: str
    outcome: str
    start_s: float
    end_s: float
    duration_s: float | None = None
    attempt: int = 0
    spans: list[Span] = field(default_factory=list)
    stages: list[Part] = field(default_factory=list)
    reason: str = ""
    drift: str = ""

    @property
    def seconds(self) -> float:
        """Return how long it took: as it was measured, or else as the times say."""
        return self.duration_s if self.duration_s is not None else self.end_s - self.start_s


@dataclass(slots=True)
class Timeline:
    """One command, as long as it took; `gaps` are when no phase was at work. `notes` say what is not as it seems."""

    workspace: str
    command: str
    target: str
    started_at: str
    outcome: str
    exit_code: int | None
    total_s: float
    rows: list[Row]
    gaps: list[Span]
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def share(self, seconds: float) -> float:
        """Return which part of the whole this is, from 0 to 1."""
        return min(1.0, seconds / self.total_s) if self.total_s > 0 else 0.0

    def document(self) -> dict[str, Any]:
        """Return the timeline as JSON-ready values."""
        return asdict(self)


def find(workspace: str, journal: Iterable[object], back: int, now: datetime) -> Timeline | None:
    """Return the timeline of the last `up` or `reset` (`back` 1) or of an earlier one; None if there is none such."""
    last: object = None
    kept: deque[list[dict[str, Any]]] = deque(maxlen=back)
    for command in _commands(journal):
        last = command
        if command[0].get("command") in COMMANDS:
            kept.append(command)
    if len(kept) < back:
        return None
    found = kept[0]
    runs = history.runs(found)
    if found is last:
        history.mark_at_work(runs)
    return build(workspace, found, runs[0], now) if runs else None


def build(workspace: str, command: list[dict[str, Any]], run: Run, now: datetime) -> Timeline:
    """Return the timeline of one command from its entries and from what the history tells of it."""
    reader = _Reader(command, run)
    for entry in command:
        reader.take(entry)
    total = reader.close(now if run.outcome == history.AT_WORK else None)
    error = run.error["message"] if run.error is not None else ""
    return Timeline(
        workspace=workspace,
        command=run.command,
        target=run.target,
        started_at=run.started_at,
        outcome=run.outcome,
        exit_code=run.exit_code,
        total_s=total,
        rows=reader.rows,
        gaps=_gaps(reader.rows, total),
        error=shortened(error),
        warnings=[shortened(text) for text in run.warnings[:MOST_ROWS]],
        notes=reader.notes(),
    )


def shortened(text: str) -> str:
    """Return a text on one line, without any secret, and only then cut to a bearable length."""
    line = " ".join(redact(text)[: 4 * TEXT_LIMIT].split())
    return line if len(line) <= TEXT_LIMIT else f"{line[:TEXT_LIMIT]}…"


def _commands(journal: Iterable[object]) -> Iterable[list[dict[str, Any]]]:
    """Yield the entries of each command, once the next begins or there are no more."""
    current: list[dict[str, Any]] = []
    for entry in journal:
        if not isinstance(entry, dict):
            continue
        kind = entry.get("event")
        if kind == "command.started":
            if current:
                yield current
            current = [entry]
        elif current and (len(current) < MOST_ENTRIES or kind == "command.ended"):
            current.append(entry)
    if current:
        yield current


class _Reader:
    """Lays the entries of one command out in time."""

    def __init__(self, command: list[dict[str, Any]], run: Run) -> None:
        self.rows: list[Row] = []
        self._run = run
        self._began = _moment(run.started_at)
        self._limit = run.duration_s if run.duration_s is not None else float(entries.LARGEST)
        self._now = 0.0
        self._open: Row | None = None
        self._drifts: dict[str, str] = {}
        self._clock_was_set = False
        self._left_out = len(command) >= MOST_ENTRIES

    def take(self, entry: dict[str, Any]) -> None:
        """Read one entry."""
        at = self._place(entry)
        kind, phase = entry.get("event"), entries.phase(entry)
        if phase is None:
            return
        match kind:
            case "phase.started":
                self._begin(phase, at, max(1, entries.whole(entry, "attempt") or 1))
            case "phase.retry":
                self._retry(phase, at, entry)
            case "phase.completed":
                self._end(phase, at, history.COMPLETED, entry)
            case "phase.left":
                self._end(phase, at, history.LEFT, entry)
            case "phase.failed":
                interrupted = entry.get("kind") == history.INTERRUPTED
                self._end(phase, at, history.INTERRUPTED if interrupted else history.FAILED, entry)
            case "phase.skipped":
                self._add(Row(phase, history.HOLDS, at, at))
            case "drift":
                self._drifts[phase] = shortened(entries.text(entry, "reason"))
            case "guest.stages":
                self._boot(at, entry)

    def close(self, now: datetime | None) -> float:
        """End what is open, and return how long the command took; `now` is given while it is still at work."""
        if now is not None and self._began is not None:
            self._now = max(self._now, min(self._limit, (now - self._began).total_seconds()))
        if self._open is not None:
            self._finish(self._open, self._now, history.AT_WORK if now is not None else history.BROKEN_OFF)
        for phase, reason in self._drifts.items():
            self._add(Row(phase, history.DRIFTED, self._now, self._now, drift=reason))
        return self._run.duration_s if self._run.duration_s is not None else self._now

    def notes(self) -> list[str]:
        """Return what has to be said about the timeline itself."""
        found = []
        if self._clock_was_set:
            found.append("the clock was set while this ran: places are approximate, durations are measured")
        if self._left_out:
            found.append("there was more than can be drawn; some of it is left out")
        if self._run.outcome == history.BROKEN_OFF:
            found.append("the command's process died without a word: nothing is known after the last mark")
        return found

    def _place(self, entry: dict[str, Any]) -> float:
        """Return when the entry was written, in seconds since the command began; time only goes forward."""
        at = _moment(entries.text(entry, "at"))
        if at is None or self._began is None:
            return self._now
        said = (at - self._began).total_seconds()
        possible = min(max(said, self._now), self._limit)
        if abs(said - possible) > CLOCK_SLACK:
            self._clock_was_set = True
        self._now = possible
        return possible

    def _add(self, row: Row) -> None:
        if len(self.rows) >= MOST_ROWS:
            self._left_out = True
            return
        self.rows.append(row)

    def _begin(self, phase: str, at: float, attempt: int) -> None:
        if self._open is not None:
            self._finish(self._open, at, history.BROKEN_OFF)
        self._open = Row(phase, history.BROKEN_OFF, at, at, attempt=attempt, drift=self._drifts.pop(phase, ""))
        self._open.spans.append(Span(TRIED, at, at))
        self._add(self._open)

    def _retry(self, phase: str, at: float, entry: dict[str, Any]) -> None:
        if self._open is None or self._open.phase != phase:
            self._begin(phase, at, 1)
        row = self._open
        if row is None or len(row.spans) >= MOST_SPANS:
            self._left_out = True
            return
        reason = shortened(entries.text(entry, "reason"))
        delay = entries.seconds(entry, "delay_s") or 0.0
        _cut(row.spans, at)
        if row.spans[-1].kind == TRIED:
            row.spans[-1].kind, row.spans[-1].text = FAILED, reason
        row.spans += [Span(WAITED, at, at + delay, reason), Span(TRIED, at + delay, at + delay)]

    def _end(self, phase: str, at: float, outcome: str, entry: dict[str, Any]) -> None:
        row, duration = self._open, entries.seconds(entry)
        if row is None or (row.phase != phase and outcome not in (history.FAILED, history.INTERRUPTED)):
            # What was left, or an action whose beginning nobody told: it began as long ago as it took.
            begun = max(at - (duration or 0.0), self._latest(), 0.0)
            row = Row(phase, outcome, begun, at, spans=[Span(TRIED, begun, at)], drift=self._drifts.pop(phase, ""))
            self._add(row)
        row.duration_s, row.reason = duration, shortened(entries.text(entry, "message"))
        self._finish(row, at, outcome)

    def _latest(self) -> float:
        return max((row.end_s for row in self.rows), default=0.0)

    def _finish(self, row: Row, at: float, outcome: str) -> None:
        row.outcome, row.end_s = outcome, at
        _cut(row.spans, at)
        if row.spans[-1].kind == TRIED and outcome == history.FAILED:
            row.spans[-1].kind, row.spans[-1].text = FAILED, row.reason
        if row is self._open:
            self._open = None

    def _boot(self, at: float, entry: dict[str, Any]) -> None:
        boot, row = bootstages.read(entry), self._open
        if boot is None or row is None or row.stages:
            return
        booted = at - boot.uptime_s
        for stage in boot.stages:
            start, end = max(booted + stage.start_s, row.start_s), min(booted + stage.end_s, at)
            if end > start:
                row.stages.append(Part(stage.name, start, end, stage.within))


def _cut(spans: list[Span], at: float) -> None:
    """Let nothing reach beyond a moment: a wait may have been broken off, and what was to follow it never began."""
    while len(spans) > 1 and spans[-1].start_s >= at:
        spans.pop()
    spans[-1].end_s = at if spans[-1].kind != WAITED else min(spans[-1].end_s, at)


def _gaps(rows: list[Row], total: float) -> list[Span]:
    """Return the times in which no phase was at work."""
    found, covered = [], 0.0
    for row in sorted(rows, key=lambda row: row.start_s):
        if row.start_s > covered:
            found.append(Span("gap", covered, row.start_s))
        covered = max(covered, row.end_s)
    if total > covered:
        found.append(Span("gap", covered, total))
    merged: list[Span] = []
    for gap in found:  # a phase that holds is a moment, and divides nothing
        if merged and merged[-1].end_s == gap.start_s:
            merged[-1].end_s = gap.end_s
        else:
            merged.append(gap)
    return merged


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
