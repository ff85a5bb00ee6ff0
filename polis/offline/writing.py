"""Writing an offline file: member by member, nothing held in memory, and under its name only when it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import tarfile
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from polis import durable
from polis.errors import HostUnsuitable
from polis.offline.manifest import NAME, Manifest, Member

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

CHUNK: Final = 1024 * 1024


class Writer:
    """A context: leaving it without `finish` leaves nothing at `target`. Raises HostUnsuitable for a full disk."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{durable.PARTIAL}")
        self._members: dict[str, Member] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        durable.sweep(self._target.parent, self._target.name)
        try:
            descriptor = os.open(
                self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600
            )
        except OSError as error:
            raise _unwritable(self._target, error) from error
        self._file = self._stack.enter_context(os.fdopen(descriptor, "wb"))
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._stack.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(self._target, error) from error

    @property
    def members(self) -> dict[str, Member]:
        """Return what was written so far."""
        return dict(self._members)

    def add(self, name: str, data: bytes) -> None:
        """Write a member from memory."""
        self._add(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, path: Path, on_bytes: Callable[[int, int], None] = lambda _done, _size: None) -> None:
        """Write a member from a file; `on_bytes` is told how many bytes of how many are written."""
        with path.open("rb") as file:
            self._add(name, file, os.fstat(file.fileno()).st_size, on_bytes)

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest, put the file in place durably, and return its sha256. It must name `members`."""
        self._add(NAME, *_with_size(manifest.model_dump_json(by_alias=True, indent=1).encode() + b"\n"))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        with self._partial.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._partial.replace(self._target)
        durable.sync_directory(self._target.parent)
        return sha256

    def _add(
        self,
        name: str,
        source: BinaryIO,
        size: int,
        on_bytes: Callable[[int, int], None] = lambda _done, _size: None,
    ) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        reading = _Hashing(source, lambda done: on_bytes(done, size))
        self._tar.addfile(info, reading)
        self._members[name] = Member(size=size, sha256=reading.digest.hexdigest())


class _Hashing:
    """A source whose bytes are hashed while they are read."""

    def __init__(self, source: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._source = source
        self._on_bytes = on_bytes
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        self._done += len(data)
        self._on_bytes(self._done)
        return data


def _with_size(data: bytes) -> tuple[BinaryIO, int]:
    return io.BytesIO(data), len(data)


def _unwritable(target: Path, error: OSError) -> HostUnsuitable:
    return HostUnsuitable(
        f"{target} cannot be written",
        cause=str(error.strerror or error),
        remains="nothing of it is left, and what was there before is as it was",
    )
