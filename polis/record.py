"""What Polis remembers of a workspace, as a model: fields, rules, and what happens to them (DESIGN section 4).

The record remembers; it never decides alone. Its file is `polis.store`'s, which imports this only where there is a file
or one is written: the model library takes longer than all else that a `status` does.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from polis.phase import Phase
from polis.redaction import redact

if TYPE_CHECKING:
    from polis.errors import PolisError

BOOT_TIME_ERROR = 2.0
"""Seconds by which two answers of the kernel about its boot time may differ: it tells whole ones."""


class _Strict(BaseModel):
    # JSON has no infinity: it would be saved as null, and be damage to the next command.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, defer_build=True, allow_inf_nan=False)


def _bearable(moment: datetime) -> datetime:
    """Refuse a time that no clock shows, and that cannot be turned into another time zone's."""
    if moment.year not in range(1970, 9999):
        raise ValueError("no time of ours")
    return moment


Moment = Annotated[datetime, AfterValidator(_bearable)]


class PhaseEntry(_Strict):
    """When and from what a phase was reached."""

    entered_at: Moment
    fingerprint: str
    duration_s: Annotated[float, Field(ge=0)]
    attempts: Annotated[int, Field(ge=1)] = 1


class InFlight(_Strict):
    """An action in progress, or one whose process died in it."""

    to: Phase
    started_at: Moment
    uptime_s: Annotated[float, Field(ge=0, description="Seconds since the host was started, when the action began")]
    pid: Annotated[int, Field(gt=0)]
    host: str
    boot_id: str


class LastError(_Strict):
    """Why the last command failed."""

    phase: Phase
    kind: str
    message: str
    hint: str
    at: Moment
    attempts: int
    retryable: bool


class Record(_Strict):
    """All that Polis remembers of a workspace."""

    schema_version: Literal[2] = 2
    workspace: str
    id: str = Field(default_factory=lambda: str(uuid.uuid4()), description="Stamped on instance and guest: ownership")
    driver: str
    instance: str
    phase: Phase = Phase.ABSENT
    phases: dict[Phase, PhaseEntry] = Field(default_factory=dict)
    created_from: str | None = Field(
        default=None, description="Fingerprint of what the instance was, or is being, created from"
    )
    tries: dict[Phase, int] = Field(
        default_factory=dict, description="How often the action towards a phase was begun since it last succeeded"
    )
    transition: InFlight | None = None
    last_error: LastError | None = None

    def arrive(self, phase: Phase, *, fingerprint: str, duration_s: float) -> None:
        """Record that the phase was reached; the action in flight is over."""
        attempts = max(1, self.tries.get(phase, 1))
        entry = PhaseEntry(
            entered_at=datetime.now(UTC), fingerprint=fingerprint, duration_s=max(0.0, duration_s), attempts=attempts
        )
        self.phase = phase
        self.phases = {**self.phases, phase: entry}
        self.tries = {other: count for other, count in self.tries.items() if other is not phase}
        self.transition = None
        self.last_error = None

    def sink(self, phase: Phase) -> None:
        """Record that nothing above the phase holds any more; the action in flight is over."""
        self.phase = phase
        self.phases = {known: entry for known, entry in self.phases.items() if known.rank <= phase.rank}
        self.transition = None
        self.tries = {}

    def settle(self) -> None:
        """Record that nothing is in flight and nothing is wrong."""
        self.transition = None
        self.last_error = None

    def depart(self, to: Phase) -> None:
        """Record that an action towards a phase begins in this process."""
        self.transition = InFlight(
            to=to,
            started_at=datetime.now(UTC),
            uptime_s=uptime(),
            pid=os.getpid(),
            host=socket.gethostname(),
            boot_id=host_boot_id(),
        )
        self.tries = {**self.tries, to: self.tries.get(to, 0) + 1}

    def fail(self, error: PolisError) -> None:
        """Record why the action in flight ended without its phase."""
        self.transition = None
        self.last_error = LastError(
            phase=error.phase or self.phase,
            kind=error.kind,
            message=redact(str(error)),
            hint=redact(error.hint),
            at=datetime.now(UTC),
            attempts=error.attempts,
            retryable=error.retryable,
        )


def host_boot_id() -> str:
    """Return what distinguishes this boot of the host from the next, or an empty string if nothing does."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 -- no Path at start-up
            return file.read().strip()
    except OSError:
        return ""


def is_alive(flight: InFlight) -> bool:
    """Return whether the process of an action in flight still runs (and is no other with its number)."""
    if flight.host != socket.gethostname() or flight.boot_id != host_boot_id():
        return False
    return process_lives(flight.pid, flight.uptime_s)


def process_lives(pid: int, uptime_s: float) -> bool:
    """Return whether a process of this host runs that was there when the host was up for so many seconds."""
    import psutil

    try:
        born: float = psutil.Process(pid).create_time() - psutil.boot_time()
    except psutil.Error:
        return False
    return born <= uptime_s + BOOT_TIME_ERROR


def uptime() -> float:
    """Return the seconds since the host was started."""
    import psutil

    return max(0.0, time.time() - psutil.boot_time())
