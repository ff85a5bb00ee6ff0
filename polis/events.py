"""One stream of typed events, read by every sink: terminal, plain lines, NDJSON, journal."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from polis.phase import Phase
from polis.redaction import redact_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polis.errors import PolisError


def now() -> datetime:
    """Return the time of an event that happens now."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at a time (UTC)."""

    name: ClassVar[str]
    at: datetime = field(default_factory=now)

    def payload(self) -> dict[str, Any]:
        """Return the event as JSON-ready values; keys are never removed from an event."""
        values = {key: _plain(value) for key, value in vars(self).items() if key != "at"}
        return {"event": self.name, "at": timestamp(self.at), **values}


@dataclass(frozen=True, kw_only=True)
class CommandStarted(Event):
    """A changing command took the lock and begins."""

    name = "command.started"
    command: str
    target: Phase
    pid: int = field(default_factory=os.getpid)


@dataclass(frozen=True, kw_only=True)
class CommandEnded(Event):
    """A changing command gives the lock back; `outcome` is done, failed or interrupted.

    `duration_s` is measured on a clock that nobody sets, so it is right where the times of two events are not.
    """

    name = "command.ended"
    command: str
    outcome: str
    exit_code: int
    duration_s: float
    phase: Phase | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """An action that leads to `phase` begins."""

    name = "phase.started"
    phase: Phase
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class PhaseProgress(Event):
    """News from within an action; `done` of `total` where things are counted."""

    name = "phase.progress"
    phase: Phase
    detail: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseRetry(Event):
    """A transient failure; the same thing is tried again after `delay_s` seconds."""

    name = "phase.retry"
    phase: Phase
    reason: str
    attempt: int
    attempts: int
    delay_s: float


@dataclass(frozen=True, kw_only=True)
class GuestStages(Event):
    """Where the time of the guest's boot went, as it told `uptime_s` seconds after it.

    Each of the `stages` has `name`, and `start_s` and `end_s` in seconds since the boot.
    """

    name = "guest.stages"
    phase: Phase
    uptime_s: float
    stages: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class PhaseCompleted(Event):
    """The phase's evidence was observed and recorded."""

    name = "phase.completed"
    phase: Phase
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class PhaseSkipped(Event):
    """The phase already holds; nothing was done for it."""

    name = "phase.skipped"
    phase: Phase


@dataclass(frozen=True, kw_only=True)
class PhaseLeft(Event):
    """What the phase had built was removed (`reset`)."""

    name = "phase.left"
    phase: Phase
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class PhaseFailed(Event):
    """The action failed; the phase does not hold."""

    name = "phase.failed"
    phase: Phase
    kind: str
    message: str
    duration_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class DriftFound(Event):
    """The record says that `phase` holds, the world says otherwise."""

    name = "drift"
    phase: Phase
    reason: str


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """Something that does not stop the command but that the user should know."""

    name = "warning"
    message: str


@dataclass(frozen=True, kw_only=True)
class Disclosed(Event):
    """Something that was chosen without being asked for, for example the kind of acceleration."""

    name = "disclosed"
    message: str


@dataclass(frozen=True, kw_only=True)
class DriverCalled(Event):
    """A driver was called; `outcome` is begun, done, `exit code N`, interrupted, or the kind of the error.

    `words` tell in short what was asked for, without anything that may be secret. For the log and for `-v` only: it is
    in no journal. The duration is None while the call lasts.
    """

    name = "driver.called"
    call: str
    words: str
    outcome: str
    duration_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The last event of a command."""

    name = "result"
    outcome: str
    phase: Phase
    exit_code: int
    error: dict[str, Any] | None = None
    driver_calls: int = 0
    driver_s: float = 0.0


class Sink(Protocol):
    """A reader of the stream."""

    def take(self, event: Event) -> None:
        """Read one event. Must not raise for anything that the event contains."""
        ...


class Stream:
    """Hands each event to every sink, in order."""

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """Let a further sink read all events from now on."""
        self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Let a sink read nothing more."""
        self._sinks.remove(sink)

    def emit(self, event: Event) -> None:
        """Publish an event, without any secret that is in it.

        A sink whose reader went away (a closed terminal, a pipe) is left out from then on. What is being done must not
        end half-way because nobody looks on any more, and a driver that tells of its progress must not take the error
        for its tool's.
        """
        clean = redacted(event)
        for sink in tuple(self._sinks):
            try:
                sink.take(clean)
            except OSError:
                self._sinks.remove(sink)


def timestamp(moment: datetime) -> str:
    """Return the time as users and scripts see it: UTC, milliseconds, with a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def redacted(event: Event) -> Event:
    """Return the event without any secret; most have none and stay what they are."""
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    clean = {name: redact_all(value) for name, value in values.items() if isinstance(value, str | dict)}
    changed = {name: value for name, value in clean.items() if value != values[name]}
    return replace(event, **changed) if changed else event


def describe(error: PolisError) -> dict[str, Any]:
    """Return an error as JSON-ready values, without any secret: the same shape in events, status and the record."""
    return {key: redact_all(value) for key, value in _parts(error).items()}


def _parts(error: PolisError) -> dict[str, Any]:
    return {
        "phase": None if error.phase is None else error.phase.value,
        "kind": error.kind,
        "message": error.message,
        "cause": error.cause,
        "remains": error.remains,
        "hint": error.hint,
        "attempts": error.attempts,
        "retryable": error.retryable,
    }


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Phase) else value
