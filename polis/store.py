"""The persisted record of a workspace: load, durable save, quarantine (DESIGN section 4).

It is written before an action starts and after its evidence was observed, so a kill at any instruction loses nothing
but the step in progress.
"""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from polis import durable
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from polis.record import Record

FILE = "state.json"
BACKUP = "state.json.bak"
SCHEMA_VERSION = 2
SIZE_LIMIT = 1024 * 1024
"""Bytes above which a file is not read: no record of ours comes near."""


@dataclass(frozen=True)
class Loaded:
    """The record, if one could be read, and what had to be said about the file."""

    record: Record | None
    notes: tuple[str, ...] = ()
    migrated_from: int | None = None
    working: bool | None = None
    """Whether somebody is at work on the workspace, where the store can tell; else its process has to be looked for."""


class RecordStore(Protocol):
    """Where a workspace's record is kept. Saving is for the holder of the turn; loading is for anyone, at any time.

    `directory` is the workspace's own on this machine: its journal and log are there wherever the record is.
    """

    directory: Path

    def turn(self, command: str, *, wait: float, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Let nobody else change the workspace meanwhile, on this machine or any other.

        `wait` is how many seconds to wait for who does, of whom `tell` hears. Raises Locked.
        """
        ...

    def check(self) -> None:
        """Raise Locked if the turn was lost; for before anything is done. Nothing is asked for that, as a rule."""
        ...

    def load(self) -> Loaded:
        """Return the record without changing anything."""
        ...

    def recover(self) -> Loaded:
        """Do what `load` does, and mend what is damaged or old."""
        ...

    def save(self, record: Record) -> None:
        """Replace the record durably."""
        ...

    def exists(self) -> bool:
        """Return whether anything is remembered of the workspace."""
        ...

    def forget(self, *, last: str) -> None:
        """Remove all that is remembered; of the files the one named `last` at the end."""
        ...


class Store:
    """The record's file. Saving is for the holder of the lock; loading is for anyone, at any time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / FILE
        self._backup = directory / BACKUP

    def turn(self, command: str, *, wait: float, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hold the directory's lock (polis.lock)."""
        from polis import lock

        return lock.hold(self.directory, command, wait=wait, tell=tell)

    def check(self) -> None:
        """Do nothing: the kernel takes the lock from nobody who lives."""

    def exists(self) -> bool:
        """Return whether the workspace has a directory."""
        return self.directory.exists()

    def load(self) -> Loaded:
        """Return the record without changing anything: a damaged file is passed over for the backup.

        Raises ConfigurationError for a record of a newer Polis, HostUnsuitable if the file may not be read.
        """
        problem = f"the record {self._path} is missing"
        try:
            record, version = _read(self._path)
        except Damaged as damage:
            problem, record = f"the record {self._path} is damaged ({damage})", None
        else:
            if record is not None or not self._backup.exists():
                return Loaded(record, migrated_from=version if version != SCHEMA_VERSION else None)
        with contextlib.suppress(Damaged):
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

    from polis.record import Record

    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Record.model_json_schema()}
    return json.dumps(content, indent=2) + "\n"


class Damaged(Exception):
    """What was read is not a record."""


def _read(path: Path) -> tuple[Record | None, int]:
    """Return the record and the schema version of its file; (None, today's) if there is no file."""
    with _explained(path):
        try:
            with path.open("rb") as file:
                data = file.read(SIZE_LIMIT + 1)
        except FileNotFoundError:
            return None, SCHEMA_VERSION
    if len(data) > SIZE_LIMIT:
        raise Damaged(f"larger than {SIZE_LIMIT} bytes")
    return parse(data, path)


def parse(data: bytes, place: Path | str) -> tuple[Record, int]:
    """Return a record and the schema version that it was written in; `place` is told where it was read.

    Raises Damaged, and ConfigurationError for a record of a newer Polis.
    """
    import json

    from pydantic import ValidationError

    from polis import migration
    from polis.record import Record

    try:
        raw = json.loads(data)
        json.dumps(raw, ensure_ascii=False).encode()  # half a surrogate pair is possible in JSON, and nowhere else
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from error
    if not isinstance(raw, dict):
        raise Damaged("no JSON object")
    version = raw.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise Damaged("schema_version: no number")
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the record {place} was written by a newer Polis",
            cause=f"schema version {version}; this Polis knows {SCHEMA_VERSION}",
            remains="the record and the instance are untouched",
            hint="install the newer Polis again",
        )
    try:
        return Record.model_validate(migration.migrate(raw, to=SCHEMA_VERSION)), version
    except ValidationError as error:
        first = error.errors()[0]
        raise Damaged(f"{'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}") from error


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
