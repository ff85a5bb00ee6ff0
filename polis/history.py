"""What was done to a workspace, read from its journal: which commands ran, how long, how often, and why they failed.

Nothing here trusts the journal: lines may be torn, edited, or written by another Polis. What makes no sense is passed
over, and a duration is the one that an event carries, because the clock may have been set between two of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from polis import entries
from polis.phase import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

AT_WORK = "at-work"
BROKEN_OFF = "broken-off"
COMPLETED = "completed"
DONE = "done"
DRIFTED = "drifted"
FAILED = "failed"
HOLDS = "holds"
INTERRUPTED = "interrupted"
LEFT = "left"

CLOCK_SLACK = 1.0
"""Seconds by which the clocks of kernel and process may differ."""


@dataclass(slots=True)
class PhaseRun:
    """What one command did about one phase.

    `outcome` is holds (nothing was to be done), completed, left, failed, interrupted, broken-off, at-work, or drifted
    (it was found to hold no more, and nothing was done about it). `attempts` counts how often the phase was begun since
    it last succeeded, by this command and those before it; it is 0 if this one did not begin it. `retries` counts what
    was tried again within the attempt, `retry_reason` says why the last time. `reason` says why it failed, `drift` why
    it did not hold any more. `duration_s` is None where nobody measured it.
    """

    phase: str
    outcome: str = DRIFTED
    duration_s: float | None = None
    attempts: int = 0
    retries: int = 0
    retry_reason: str = ""
    reason: str = ""
    drift: str = ""


@dataclass(slots=True)
class Run:
    """One changing command.

    `outcome` is done, failed, interrupted, at-work, or broken-off if its process died without a word. `phase` is the
    phase that held in the end, where that is known; `error` has the keys of an error in `status --json`.
    """

    command: str
    started_at: str
    target: str
    pid: int | None = None
    outcome: str = BROKEN_OFF
    exit_code: int | None = None
    duration_s: float | None = None
    phase: str | None = None
    error: dict[str, Any] | None = None
    phases: list[PhaseRun] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the run as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Summary:
    """One phase in all commands: how often it was begun, how often that was in vain, its usual duration in seconds."""

    phase: str
    entered: int
    failed: int
    median_s: float | None

    def document(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return asdict(self)


def runs(journal: Iterable[object]) -> tuple[Run, ...]:
    """Return the commands, oldest first. Entries that make no sense (torn, edited) are passed over."""
    found: list[Run] = []
    current: Run | None = None
    for entry in journal:
        if not isinstance(entry, dict):
            continue
        kind = entry.get("event")
        if kind == "command.started":
            current = _begin(entry)
            found += [current] if current is not None else []
        elif current is not None and _take(current, kind, entry):
            current = None
    for run in found:
        if run.outcome == BROKEN_OFF and run.pid is None:
            run.outcome = _guess(run)
    return tuple(found)


def summarise(found: Iterable[Run]) -> tuple[Summary, ...]:
    """Return what is usual of each phase that was ever begun, in the order of the phases."""
    parts: dict[str, list[PhaseRun]] = {phase.value: [] for phase in ORDER[1:]}
    for run in found:
        for part in run.phases:
            if part.attempts and part.phase in parts:
                parts[part.phase].append(part)
    return tuple(_summary(phase, entered) for phase, entered in parts.items() if entered)


def mark_at_work(found: Sequence[Run]) -> None:
    """Call the last command at work instead of broken off if its process still runs. Only one can be at work."""
    if not found or not _is_alive(found[-1]):
        return
    found[-1].outcome = AT_WORK
    for part in found[-1].phases:
        if part.outcome == BROKEN_OFF:
            part.outcome = AT_WORK


# ---- reading one entry


def _begin(entry: dict[str, Any]) -> Run | None:
    command = entries.text(entry, "command")
    if not command:
        return None
    return Run(
        command, entries.text(entry, "at"), entries.text(entry, "target"), pid=entries.whole(entry, "pid") or None
    )


def _take(run: Run, kind: object, entry: dict[str, Any]) -> bool:
    """Add an entry to the command that it belongs to; return whether it was its end."""
    if kind == "command.ended":
        return _end(run, entry)
    if kind == "warning":
        run.warnings += [text] if (text := entries.text(entry, "message")) else []
        return False
    phase = entries.phase(entry)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if phase is not None and reader is not None:
        reader(_part(run, phase, anew=kind == "phase.left"), entry)
    return False


def _end(run: Run, entry: dict[str, Any]) -> bool:
    outcome, error = entries.text(entry, "outcome"), entry.get("error")
    if entries.text(entry, "command") != run.command or outcome not in (DONE, FAILED, INTERRUPTED):
        return False
    run.outcome = outcome
    run.exit_code = entries.whole(entry, "exit_code")
    run.duration_s = entries.seconds(entry)
    run.phase = entries.phase(entry)
    run.error = _error(error) if isinstance(error, dict) else None
    return True


def _part(run: Run, phase: str, *, anew: bool) -> PhaseRun:
    """Return the phase's part of the command; what was left and is then entered again has two."""
    last = next((part for part in reversed(run.phases) if part.phase == phase), None)
    if last is not None and last.outcome != LEFT and not anew:
        return last
    run.phases.append(PhaseRun(phase))
    return run.phases[-1]


def _started(part: PhaseRun, entry: dict[str, Any]) -> None:
    part.outcome, part.attempts = BROKEN_OFF, max(1, entries.whole(entry, "attempt") or 1)


def _completed(part: PhaseRun, entry: dict[str, Any]) -> None:
    part.outcome, part.duration_s, part.attempts = COMPLETED, entries.seconds(entry), max(1, part.attempts)


def _skipped(part: PhaseRun, _entry: dict[str, Any]) -> None:
    part.outcome = HOLDS


def _left(part: PhaseRun, entry: dict[str, Any]) -> None:
    part.outcome, part.duration_s = LEFT, entries.seconds(entry)


def _failed(part: PhaseRun, entry: dict[str, Any]) -> None:
    part.outcome = INTERRUPTED if entry.get("kind") == INTERRUPTED else FAILED
    part.duration_s = entries.seconds(entry)
    part.reason = entries.text(entry, "message")


def _retried(part: PhaseRun, entry: dict[str, Any]) -> None:
    part.outcome, part.attempts = BROKEN_OFF, max(1, part.attempts)
    part.retries += 1
    part.retry_reason = entries.text(entry, "reason")


def _drifted(part: PhaseRun, entry: dict[str, Any]) -> None:
    part.drift = entries.text(entry, "reason")


_READERS: dict[str, Callable[[PhaseRun, dict[str, Any]], None]] = {
    "phase.started": _started,
    "phase.completed": _completed,
    "phase.skipped": _skipped,
    "phase.left": _left,
    "phase.failed": _failed,
    "phase.retry": _retried,
    "drift": _drifted,
}


def _error(error: dict[str, Any]) -> dict[str, Any]:
    words = {key: entries.text(error, key) for key in ("kind", "message", "cause", "remains", "hint")}
    return {
        "phase": entries.phase(error),
        **words,
        "attempts": entries.whole(error, "attempts") or 1,
        "retryable": error.get("retryable") is True,
    }


# ---- judging


def _guess(run: Run) -> str:
    """Return how a command ended of which only the phases tell: an older Polis wrote neither pid nor end."""
    last = run.phases[-1] if run.phases else None
    if last is not None and last.outcome in (FAILED, INTERRUPTED):
        return last.outcome
    reached = last is not None and last.phase == run.target and last.outcome in (COMPLETED, HOLDS)
    return DONE if reached or (last is not None and last.outcome == LEFT) else BROKEN_OFF


def _summary(phase: str, entered: list[PhaseRun]) -> Summary:
    failed = sum(part.outcome in (FAILED, INTERRUPTED, BROKEN_OFF) for part in entered)
    times = [part.duration_s for part in entered if part.outcome == COMPLETED and part.duration_s is not None]
    return Summary(phase, len(entered), failed, _median(times))


def _median(values: list[float]) -> float | None:
    ordered, middle = sorted(values), len(values) // 2
    if not ordered:
        return None
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _is_alive(run: Run) -> bool:
    """Return whether the process of a command without an end still runs, and is no other with its number."""
    if run.outcome != BROKEN_OFF or run.pid is None:
        return False
    from datetime import datetime

    import psutil

    try:
        born: float = psutil.Process(run.pid).create_time()
        return born <= datetime.fromisoformat(run.started_at).timestamp() + CLOCK_SLACK
    except (psutil.Error, ValueError, OverflowError):
        return False
