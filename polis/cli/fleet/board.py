"""What is known of a fleet's command while it is at work: a row for each member, filled in by events."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis import events
from polis.cli import output
from polis.cli.progress.model import LIMIT, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polis.fleet.outcome import Outcome

WORDS = {"failed": State.FAILED, "interrupted": State.INTERRUPTED, "kept": State.LEFT, "not-begun": State.WAITING}
"""How outcomes other than good ones are shown."""


@dataclass(slots=True)
class Row:
    """One member as it is now. Times are those of the board's clock."""

    member: str
    state: State = State.WAITING
    phase: str = ""
    detail: str = ""
    is_retrying: bool = False
    begun: float = 0.0
    ended: float = 0.0

    def elapsed(self, now: float) -> float | None:
        """Return for how many seconds it is, or was, at work; None before it begins."""
        if not self.begun:
            return None
        return (self.ended or now) - self.begun


class Board:
    """The rows. Told of events from any thread, read from another."""

    def __init__(self, command: str, members: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.command = command
        self.lock = threading.RLock()
        self.rows = {member: Row(member) for member in members}
        self.counts: Counter[str] = Counter({"waiting": len(members)})
        self.at_work: dict[str, Row] = {}
        self.failed: dict[str, Row] = {}
        self.begun = clock()
        self._clock = clock
        self._words: dict[str, str] = {}

    def begin(self, member: str) -> None:
        """Note that a member's turn has come; it may come twice, where all are looked at first."""
        with self.lock:
            row = self.rows[member] = Row(member, State.AT_WORK, begun=self._clock())
            self._count(member, "at work")
            self.at_work[member] = row

    def take(self, member: str, event: events.Event) -> None:
        """Note an event of a member."""
        with self.lock:
            row = self.rows[member]
            match event:
                case events.PhaseStarted(phase=phase):
                    row.phase, row.detail, row.is_retrying = phase.value, "", False
                case events.PhaseProgress(phase=phase, detail=detail, done=done, total=total):
                    counted = f"[{done}/{total}] " if total else ""
                    row.phase, row.detail, row.is_retrying = phase.value, f"{counted}{detail}"[:LIMIT], False
                case events.PhaseRetry(phase=phase, reason=reason, attempt=attempt, attempts=attempts):
                    row.phase, row.is_retrying = phase.value, True
                    row.detail = f"attempt {attempt} of {attempts} failed: {reason}"[:LIMIT]
                case events.PhaseCompleted(phase=phase) | events.PhaseSkipped(phase=phase):
                    row.phase, row.detail = phase.value, ""

    def end(self, outcome: Outcome) -> None:
        """Note how it ended for a member."""
        with self.lock:
            row = self.at_work.pop(outcome.member, self.rows[outcome.member])
            row.state = State.DONE if outcome.is_good else WORDS.get(outcome.outcome, State.DONE)
            row.ended = self._clock()
            row.phase = outcome.phase or row.phase
            row.detail = output.one_line(outcome.error["message"]) if outcome.error is not None else outcome.outcome
            row.is_retrying = False
            self._count(outcome.member, outcome.outcome)
            if not outcome.is_good:
                self.failed[outcome.member] = row

    def elapsed(self) -> float:
        """Return the seconds since the command began."""
        return self._clock() - self.begun

    def now(self) -> float:
        """Return the clock's time."""
        return self._clock()

    # ---- parts

    def _count(self, member: str, word: str) -> None:
        before = self._words.get(member, "waiting")
        self.counts[before] -= 1
        self.counts[word] += 1
        self._words[member] = word


def counted(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return how many members ended, or are, in which way; what is well first, then what works, waits and failed."""
    last = ("at work", "waiting", "not-begun", "kept", "interrupted", "failed")
    words = sorted(counts, key=lambda word: (last.index(word) if word in last else -1, word))
    return [(word, counts[word]) for word in words if counts[word] > 0]
