"""The record of a workspace in its server's database: every operator's machine sees it, and goes on from it.

One entry (drivers/entries.py) for each workspace, which also is there while there is no instance, or a half-made one.
The file on this machine (polis.store) is a copy of what was written last: for `polis list`, for completion, and for
what can be told while the server is away; nothing is decided by it.

Saving is three requests: read the entry (somebody else's turn in it means that ours was lost), replace it if nobody
wrote in between, and let the lease beat. If that succeeds, whoever takes over later reads what was saved.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from polis import durable
from polis.errors import DriverUnavailable, HostUnsuitable, Locked, PolisError
from polis.lease import CHAIN, NUMBER, Lease, Pace, Queue, entry_name, is_held, number_of
from polis.store import FILE, SCHEMA_VERSION, SIZE_LIMIT, Damaged, Loaded, Store, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from polis.drivers.entries import Entries, Entry
    from polis.record import Record

RECORD, PREVIOUS, ASIDE = "record", "previous", "damaged"
ATTEMPTS = 5


class SharedStore:
    """The record of one workspace, shared. `cache` is its file on this machine."""

    def __init__(self, entries: Entries, workspace: str, cache: Store, pace: Pace | None = None) -> None:
        self.directory = cache.directory
        self._entries = entries
        self._workspace = workspace
        self._cache = cache
        self._pace = pace or Pace()
        self._lease: Lease | None = None
        self._is_bare = False
        """Whether nothing was in the workspace's entry yet, when it was last looked at or written."""

    def turn(self, command: str, *, wait: float, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hold this machine's lock, then the turn among all machines (polis.lease)."""
        return self._turn(command, wait, tell)

    @contextlib.contextmanager
    def _turn(self, command: str, wait: float, tell: Callable[[str], None]) -> Iterator[None]:
        until = self._pace.clock() + wait
        with self._cache.turn(command, wait=wait, tell=tell):
            queue = Queue(self._entries, self._workspace, command, tell, self._pace)
            lease = queue.take(self._root, wait=max(0.0, until - self._pace.clock()))
            with lease.held():
                self._lease = lease
                try:
                    yield
                finally:
                    self._lease = None
                    self._tidy(lease)

    def check(self) -> None:
        """Raise Locked if another machine has taken over."""
        if self._lease is not None:
            self._lease.check()

    def load(self) -> Loaded:
        """Return the record as the server has it: a damaged one is passed over for the one before.

        Raises ConfigurationError for a record of a newer Polis, and what `Driver.find` raises; then `remains` tells
        what this machine remembers.
        """
        try:
            entry = self._entries.read(self._workspace)
            return self._loaded(entry) if entry is not None else Loaded(None)
        except (DriverUnavailable, HostUnsuitable) as error:
            error.remains = error.remains or self._remembered()
            raise

    def recover(self) -> Loaded:
        """Do what `load` does, put a damaged record aside as evidence, and keep one of an older Polis beside its heir.

        For the holder of the turn. Raises what `load` raises.
        """
        durable.sweep(self.directory, FILE)  # what a killed process left of the copy
        loaded = self.load()
        notes, kept = loaded.notes, {}
        entry = self._entries.read(self._workspace) if notes or loaded.migrated_from is not None else None
        text = entry.texts.get(RECORD, "") if entry is not None else ""
        if loaded.migrated_from is not None and loaded.record is not None:
            kept = {f"schema-{loaded.migrated_from}": text}
            notes = (f"the record was of an older Polis (schema version {loaded.migrated_from}); the original is kept",)
        elif notes:
            kept = {ASIDE: text} if text else {}
            notes = (*notes, "the damaged record is kept") if text else notes
        else:
            return loaded
        self._write(loaded.record, kept)
        return Loaded(loaded.record, notes)

    def save(self, record: Record) -> None:
        """Replace the record; the previous one is kept. For the holder of the turn.

        Raises Locked if another machine has taken over: nobody may go on then; and what `Driver.find` raises.
        """
        self._write(record, {})

    def exists(self) -> bool:
        """Return whether this machine or the server remembers anything of the workspace."""
        return self._cache.exists() or self.load().record is not None

    def forget(self, *, last: str) -> None:
        """Remove the record, first where all see it. For the holder of the turn."""
        self._held().renew()
        self._entries.remove(self._workspace)
        self._is_bare = False
        self._cache.forget(last=last)

    # ---- parts

    def _root(self) -> Entry:
        """Return the workspace's entry, made if there is none."""
        for _ in range(ATTEMPTS):
            entry = self._entries.read(self._workspace)
            if entry is not None and entry.texts.get(CHAIN):
                self._is_bare = RECORD not in entry.texts
                return entry
            texts = {CHAIN: secrets.token_hex(4), NUMBER: "0"}
            if entry is None:
                self._entries.create(self._workspace, texts)
            else:
                self._entries.replace(self._workspace, {**entry.texts, **texts}, tag=entry.tag)
        raise self._restless()

    def _write(self, record: Record | None, more: Mapping[str, str]) -> None:
        lease = self._held()
        text = record.model_dump_json() if record is not None else ""
        for _ in range(ATTEMPTS):
            if self._replaced(lease, text, more):
                break
        else:
            raise self._restless()
        lease.renew()
        self._is_bare = not text
        if record is not None:
            with contextlib.suppress(PolisError):  # a copy; what counts is written
                self._cache.save(record)

    def _replaced(self, lease: Lease, text: str, more: Mapping[str, str]) -> bool:
        """Write the entry; return False if somebody else did so at the same time."""
        entry = self._entries.read(self._workspace)
        if entry is None:  # removed by hand
            lease.renew()
            return self._entries.create(self._workspace, _texts({CHAIN: lease.chain}, text, lease.number, more))
        if number_of(entry) > lease.number or entry.texts.get(CHAIN) != lease.chain:
            lease.renew()  # raises, for whoever came after us has removed ours
        return self._entries.replace(
            self._workspace,
            _texts({**entry.texts, CHAIN: lease.chain}, text, lease.number, more),
            tag=entry.tag,
        )

    def _held(self) -> Lease:
        if self._lease is None:
            raise AssertionError("the record is written by the holder of the turn only")
        return self._lease

    def _loaded(self, entry: Entry) -> Loaded:
        place = f"of workspace {self._workspace} on the server"
        problem, record, version = f"the record {place} is missing", None, SCHEMA_VERSION
        try:
            record, version = _parsed(entry.texts.get(RECORD, ""), place)
        except Damaged as damage:
            problem = f"the record {place} is damaged ({damage})"
        else:
            if record is not None or PREVIOUS not in entry.texts:
                older = version if version != SCHEMA_VERSION else None
                return Loaded(record, migrated_from=older, working=self._working(record, entry))
        with contextlib.suppress(Damaged):
            record, _ = _parsed(entry.texts.get(PREVIOUS, ""), place)
        answer = "using the previous one" if record is not None else "it is rebuilt from what is observed"
        return Loaded(record, (f"{problem}; {answer}",))

    def _working(self, record: Record | None, entry: Entry) -> bool | None:
        """Return whether whoever began the action in flight has the turn; its process may be another machine's."""
        if record is None or record.transition is None:
            return None
        name = entry_name(self._workspace, entry.texts.get(CHAIN, ""), number_of(entry))
        return is_held(self._entries.read(name))

    def _remembered(self) -> str:
        with contextlib.suppress(PolisError):
            record = self._cache.load().record
            if record is not None:
                return f"this machine remembers {self._workspace} as {record.phase}; what holds now is not known"
        return ""

    def _tidy(self, lease: Lease) -> None:
        """Leave nothing of a workspace that there is nothing to remember of."""
        if not self._is_bare:
            return
        with contextlib.suppress(PolisError):
            entry = self._entries.read(self._workspace)
            ours = entry is not None and (entry.texts.get(CHAIN), number_of(entry)) == (lease.chain, lease.number)
            if entry is not None and ours and not {RECORD, PREVIOUS, ASIDE} & entry.texts.keys():
                self._entries.remove(self._workspace)

    def _restless(self) -> Locked:
        return Locked(f"the record of {self._workspace} is written by somebody else again and again")


def records(entries: Entries) -> dict[str, Loaded]:
    """Return the records of all workspaces of the project, by name, with one request; a spoilt one is only a note.

    `Loaded.working` tells of each whether somebody is at work on it. Raises what `Driver.find` raises.
    """
    found = entries.all()
    result = {}
    for name, entry in found.items():
        if "." in name:
            continue  # a turn
        at_work = is_held(found.get(entry_name(name, entry.texts.get(CHAIN, ""), number_of(entry))))
        try:
            record, version = _parsed(entry.texts.get(RECORD, ""), f"of workspace {name}")
        except (Damaged, PolisError) as damage:
            result[name] = Loaded(None, (f"the record of workspace {name} is damaged ({damage})",), None, at_work)
            continue
        older = version if version != SCHEMA_VERSION else None
        result[name] = Loaded(record, (), older, at_work)
    return result


def _parsed(text: str, place: str) -> tuple[Record | None, int]:
    if not text:
        return None, SCHEMA_VERSION
    if len(text) > SIZE_LIMIT:
        raise Damaged(f"larger than {SIZE_LIMIT} bytes")
    return parse(text.encode(errors="replace"), place)


def _texts(before: Mapping[str, str], text: str, number: int, more: Mapping[str, str]) -> dict[str, str]:
    """Return what an entry is replaced by; the record that it had becomes the previous one, if it was any good."""
    texts = {**before, **more, NUMBER: str(number)}
    was = texts.pop(RECORD, "")
    if text:
        texts[RECORD] = text
        if was and was not in more.values():
            texts[PREVIOUS] = was
    return texts
