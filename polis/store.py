"""The persisted record of a workspace: load, durable save, quarantine (DESIGN section 4).

The record remembers; it never decides alone. It is written before an action starts and after its evidence was
observed, so a kill at any instruction loses nothing but the step in progress.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from polis import durable, migration
from polis.errors import ConfigurationError, HostUnsuitable, PolisError
from polis.phase import Phase
from polis.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "state.json"
BACKUP = "state.json.bak"
SCHEMA_VERSION = 2
BOOT_TIME_ERROR = 2.0
"""Seconds by which two answers of the kernel about its boot time may differ: it tells whole ones."""

SIZE_LIMIT = 1024 * 1024
"""Bytes above which a file is not read: no record of ours comes near."""


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
            uptime_s=_uptime(),
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


@dataclass(frozen=True)
class Loaded:
    """The record, if one could be read, and what had to be said about the file."""

    record: Record | None
    notes: tuple[str, ...] = ()
    migrated_from: int | None = None


class Store:
    """The record's file. Saving is for the holder of the lock; loading is for anyone, at any time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / FILE
        self._backup = directory / BACKUP

    def load(self) -> Loaded:
        """Return the record without changing anything: a damaged file is passed over for the backup.

        Raises ConfigurationError for a record of a newer Polis, HostUnsuitable if the file may not be read.
        """
        problem = f"the record {self._path} is missing"
        try:
            record, version = _read(self._path)
        except _Damaged as damage:
            problem, record = f"the record {self._path} is damaged ({damage})", None
        else:
            if record is not None or not self._backup.exists():
                return Loaded(record, migrated_from=version if version != SCHEMA_VERSION else None)
        with contextlib.suppress(_Damaged):
            record, _ = _read(self._backup)
        answer = "using the previous one" if record is not None else "it is rebuilt from what is observed"
        return Loaded(record, (f"{problem}; {answer}",))

    def recover(self) -> Loaded:
        """Do what `load` does, put a damaged file aside as evidence, and keep one of an older Polis beside its heir.

        For the holder of the lock. Raises what `load` raises.
        """
        durable.sweep(self.directory, FILE)
        loaded = self.load()
        if loaded.migrated_from is not None and loaded.record is not None:
            return self._migrate(loaded.record, loaded.migrated_from)
        if not loaded.notes:
            return loaded
        aside = self._set_aside()
        if loaded.record is not None:
            self.save(loaded.record)
        return Loaded(loaded.record, (*loaded.notes, *aside))

    def _set_aside(self) -> tuple[str, ...]:
        """Keep a damaged file as evidence and return where, in words; nothing if there is none."""
        if not self._path.exists():
            return ()
        aside = self._path.with_name(f"{FILE}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        with _explained(self._path):
            self._path.replace(aside)
            durable.sync_directory(self.directory)
        return (f"the damaged file is kept as {aside.name}",)

    def _migrate(self, record: Record, version: int) -> Loaded:
        original = self._path.with_name(f"{FILE}.schema-{version}")
        with _explained(self._path):
            durable.write(original, self._path.read_bytes())
        self.save(record)
        note = f"the record was of an older Polis (schema version {version}); the original is kept as {original.name}"
        return Loaded(record, (note,))

    def save(self, record: Record) -> None:
        """Replace the record durably; the previous one stays as the backup.

        Raises HostUnsuitable (disk full, read-only, not permitted) with the old record intact.
        """
        data = record.model_dump_json(indent=1).encode() + b"\n"
        with _explained(self._path):
            durable.private_directory(self.directory)
            if not self._path.exists():
                durable.anchor(self.directory)
            durable.write(self._path, data, backup=self._backup)

    def forget(self, *, last: str) -> None:
        """Remove all files of the workspace, the one named `last` (the lock) at the end; the workspace is no more.

        The record goes after its backup, so that nobody who reads meanwhile takes an older one for it.
        """
        order = (FILE, last)
        with _explained(self._path), contextlib.suppress(FileNotFoundError):
            for path in sorted(self.directory.iterdir(), key=lambda path: (path.name in order, path.name == last)):
                path.unlink()
            with contextlib.suppress(OSError):  # somebody who waited for the lock has made it anew
                self.directory.rmdir()


def schema() -> str:
    """Return the JSON schema (draft 2020-12) of the record's file, as it is checked in."""
    import json

    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Record.model_json_schema()}
    return json.dumps(content, indent=2) + "\n"


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
    import psutil

    try:
        born: float = psutil.Process(flight.pid).create_time() - psutil.boot_time()
    except psutil.Error:
        return False
    return born <= flight.uptime_s + BOOT_TIME_ERROR


def _uptime() -> float:
    import psutil

    return max(0.0, time.time() - psutil.boot_time())


class _Damaged(Exception):
    """The file is not a record."""


def _read(path: Path) -> tuple[Record | None, int]:
    """Return the record and the schema version of its file; (None, today's) if there is no file."""
    with _explained(path):
        try:
            with path.open("rb") as file:
                data = file.read(SIZE_LIMIT + 1)
        except FileNotFoundError:
            return None, SCHEMA_VERSION
    if len(data) > SIZE_LIMIT:
        raise _Damaged(f"larger than {SIZE_LIMIT} bytes")
    return _parse(data, path)


def _parse(data: bytes, path: Path) -> tuple[Record, int]:
    import json

    try:
        raw = json.loads(data)
        json.dumps(raw, ensure_ascii=False).encode()  # half a surrogate pair is possible in JSON, and nowhere else
    except (ValueError, RecursionError) as error:
        raise _Damaged(f"no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise _Damaged("no JSON object")
    version = raw.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise _Damaged("schema_version: no number")
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the record {path} was written by a newer Polis",
            cause=f"schema version {version}; this Polis knows {SCHEMA_VERSION}",
            remains="the record and the instance are untouched",
            hint="install the newer Polis again",
        )
    try:
        return Record.model_validate(migration.migrate(raw, to=SCHEMA_VERSION)), version
    except ValidationError as error:
        first = error.errors()[0]
        raise _Damaged(f"{'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}") from error


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> HostUnsuitable:
    """Return what an operating system's refusal to read or write a file of ours means to the user."""
    hints = {
        errno.ENOSPC: "free some space on that file system and run the command again",
        errno.EROFS: "mount it writable, or set POLIS_HOME to a directory that is",
        errno.EACCES: f"make {path.parent} yours (chown), or set POLIS_HOME to a directory that is",
        errno.EPERM: f"make {path.parent} yours (chown), or set POLIS_HOME to a directory that is",
    }
    return HostUnsuitable(
        f"cannot use {path}",
        cause=error.strerror or str(error),
        remains="the previous record is intact",
        hint=hints.get(error.errno or 0, "set POLIS_HOME to a directory on a local disk"),
    )
