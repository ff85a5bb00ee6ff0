"""What the events so far say of each phase. No drawing, and no clock of its own: times are given, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from polis import events
from polis.phase import ORDER, Phase

LIMIT = 1000
"""Characters of a detail that are kept: what a guest tells may be of any length, and is drawn four times a second."""


class State(StrEnum):
    """What a phase is in, as far as this command has told."""

    WAITING = "waiting"
    AT_WORK = "at work"
    DONE = "done"
    HELD = "holds already"
    LEFT = "left"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Retry:
    """A failed attempt: why, which of how many it was, and when the next one begins."""

    reason: str
    attempt: int
    attempts: int
    due: float

    def words(self, now: float) -> str:
        """Return how it goes on, without the reason."""
        left = self.due - now
        if left <= 0:
            return f"attempt {self.attempt + 1} of {self.attempts}"
        return f"attempt {self.attempt} of {self.attempts} failed, next in {max(1, round(left))} s"


@dataclass
class Row:
    """One phase. `begun` is a time, `seconds` the duration of what is over."""

    phase: Phase
    state: State = State.WAITING
    attempt: int = 0
    begun: float | None = None
    seconds: float | None = None
    detail: str = ""
    done: int | None = None
    total: int | None = None
    retry: Retry | None = None
    retries: int = 0
    drift: str = ""

    def elapsed(self, now: float) -> float | None:
        """Return the seconds that it took, or has taken until now; None if it took none."""
        if self.seconds is not None:
            return self.seconds
        return now - self.begun if self.begun is not None and self.state is State.AT_WORK else None

    @property
    def news(self) -> str:
        """Return the last detail, with the count where things are counted."""
        return f"[{self.done or 0}/{self.total}] {self.detail}" if self.total else self.detail

    def begin(self, now: float, attempt: int) -> None:
        """Note that an action for the phase begins."""
        self.state, self.attempt, self.begun, self.seconds = State.AT_WORK, attempt, now, None
        self.detail, self.done, self.total, self.retry, self.retries = "", None, None, None, 0

    def end(self, state: State, now: float, seconds: float | None = None) -> None:
        """Note that the action is over; without `seconds`, it is measured here."""
        self.seconds = self.elapsed(now) if seconds is None else seconds
        self.state, self.retry = state, None


@dataclass
class Progress:
    """A command and its phases, from its events."""

    command: str = ""
    target: Phase = Phase.HEALTHY
    begun: float = 0.0
    ended: float | None = None
    outcome: str = ""
    rows: dict[Phase, Row] = field(default_factory=lambda: {phase: Row(phase) for phase in ORDER})

    @property
    def at_work(self) -> Row | None:
        """Return the highest phase that something is being done for."""
        return next((row for row in reversed(self.rows.values()) if row.state is State.AT_WORK), None)

    def elapsed(self, now: float) -> float:
        """Return the seconds since the command began, until it ended."""
        return (self.ended if self.ended is not None else now) - self.begun

    def take(self, event: events.Event, now: float) -> None:
        """Fold one event that came at `now`."""
        match event:
            case events.CommandStarted(command=command, target=target):
                self.command, self.target, self.begun, self.ended = command, target, now, None
                self.rows = {phase: Row(phase) for phase in ORDER}
            case events.CommandEnded(outcome=outcome, phase=phase):
                self._end(outcome, phase, now)
            case events.PhaseStarted(phase=phase, attempt=attempt):
                self.rows[phase].begin(now, attempt)
            case events.PhaseProgress():
                self._progress(self.rows[event.phase], event, now)
            case events.PhaseRetry():
                self._retry(self.rows[event.phase], event, now)
            case _:
                self._conclude(event, now)

    def _conclude(self, event: events.Event, now: float) -> None:
        if isinstance(event, events.PhaseSkipped | events.PhaseCompleted):
            self._stand_on(event.phase)
        match event:
            case events.PhaseCompleted(phase=phase, duration_s=seconds):
                self.rows[phase].end(State.DONE, now, seconds)
            case events.PhaseSkipped(phase=phase):
                self.rows[phase].state = State.HELD
            case events.PhaseLeft(phase=phase, duration_s=seconds):
                self._leave(phase, seconds, now)
            case events.PhaseFailed(phase=phase, kind=kind, duration_s=seconds):
                state = State.INTERRUPTED if kind == "interrupted" else State.FAILED
                self.rows[phase].end(state, now, seconds)
            case events.DriftFound(phase=phase, reason=reason):
                self.rows[phase].drift = reason

    def _stand_on(self, phase: Phase) -> None:
        """Note that what no event speaks of holds too, if it is below a phase that does."""
        for row in self.rows.values():
            if row.phase.rank < phase.rank and row.state is State.WAITING:
                row.state = State.HELD

    def _progress(self, row: Row, event: events.PhaseProgress, now: float) -> None:
        if row.state is not State.AT_WORK:  # a phase is left, or something is done ahead of its time
            row.begin(now, 0)
        row.detail, row.done, row.total, row.retry = event.detail[:LIMIT], event.done, event.total, None

    def _retry(self, row: Row, event: events.PhaseRetry, now: float) -> None:
        row.retry = Retry(event.reason[:LIMIT], event.attempt, event.attempts, now + event.delay_s)
        row.retries += 1

    def _leave(self, phase: Phase, seconds: float, now: float) -> None:
        """Note that a phase was left, and with it those below that had to be left too: a VM takes all with it."""
        for row in self.rows.values():
            if row.state is State.AT_WORK and row.phase.rank < phase.rank and row.attempt:
                row.end(State.DONE, now)  # the VM was switched on, so that something could be removed from it
        busy = [row.phase.rank for row in self.rows.values() if row.state is State.AT_WORK]
        for left in ORDER[min([phase.rank, *busy]) : phase.rank + 1]:
            if self.command == "up":  # it is about to be reached again
                self.rows[left] = Row(left)
            else:
                self.rows[left].end(State.LEFT, now, seconds if left is phase else None)

    def _end(self, outcome: str, reached: Phase | None, now: float) -> None:
        self.ended, self.outcome = now, outcome
        for row in self.rows.values():
            if row.state is State.AT_WORK:
                row.end(_END_OF_WORK.get(outcome, State.FAILED), now)
            elif row.state is State.WAITING and reached is not None and row.phase.rank <= reached.rank:
                row.state = State.HELD


_END_OF_WORK = {"done": State.DONE, "interrupted": State.INTERRUPTED}
