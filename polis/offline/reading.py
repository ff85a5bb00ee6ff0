"""Reading an offline file. It may come from anywhere: nothing of it is used before all of it was compared.

Opening it costs as many small reads as it has members, so that reading commands can afford it; `verify` reads it all.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from pydantic import ValidationError

from polis.bundle.tarstream import Refused, StrictInfo
from polis.errors import ConfigurationError, IntegrityError
from polis.offline.manifest import BUNDLE, LOCK, MAX_MANIFEST, MAX_MEMBERS, MEMBER, NAME, SYSBOX, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK: Final = 1024 * 1024
NOTHING_CHANGED: Final = "nothing was changed"

_UNREADABLE: Final = (OSError, EOFError, ValueError, OverflowError, RecursionError, tarfile.TarError)


@dataclass(frozen=True)
class OfflineFile:
    """An offline file that is in order as far as its manifest tells; `offsets` are its members' places in it."""

    path: Path
    manifest: Manifest
    offsets: dict[str, int]

    def verify(self, *, sha256: str | None = None, on_bytes: Callable[[int, int], None] = lambda _d, _s: None) -> None:
        """Compare every member with the manifest, and the whole with `sha256` if one is known.

        `on_bytes` is told how many bytes of how many were read. Raises IntegrityError, ConfigurationError.
        """
        total = self.path.stat().st_size * (2 if sha256 else 1)
        done = 0

        def count(read: int) -> None:
            nonlocal done
            done += read
            on_bytes(min(done, total), total)

        try:
            with self.path.open("rb") as file:
                if sha256 is not None:
                    _compare(str(self.path), _hash(file, os.fstat(file.fileno()).st_size, count), sha256)
                for name, offset in self.offsets.items():
                    file.seek(offset)
                    member = self.manifest.members[name]
                    _compare(f"{name} in {self.path}", _hash(file, member.size, count), member.sha256)
        except OSError as error:
            raise _unreadable(self.path, str(error.strerror or error)) from error

    def read(self, name: str) -> bytes:
        """Return a member's content; for small ones. Raises IntegrityError, ConfigurationError."""
        member = self.manifest.members[name]
        try:
            with self.path.open("rb") as file:
                file.seek(self.offsets[name])
                data = file.read(member.size)
        except OSError as error:
            raise _unreadable(self.path, str(error.strerror or error)) from error
        _compare(f"{name} in {self.path}", hashlib.sha256(data).hexdigest(), member.sha256)
        return data

    def extract(self, name: str, target: Path) -> None:
        """Copy a member to a file, which is removed again if it is not what the manifest says.

        Raises IntegrityError, ConfigurationError; OSError where the target cannot be written.
        """
        member = self.manifest.members[name]
        digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        with self.path.open("rb") as file, os.fdopen(os.open(target, flags, 0o600), "wb") as out:
            file.seek(self.offsets[name])
            left = member.size
            while left and (piece := file.read(min(left, CHUNK))):
                digest.update(piece)
                out.write(piece)
                left -= len(piece)
        try:
            _compare(f"{name} in {self.path}", digest.hexdigest(), member.sha256)
        except IntegrityError:
            target.unlink()
            raise


def open_file(path: Path) -> OfflineFile:
    """Read the table of an offline file and its manifest.

    Raises ConfigurationError if it is none, IntegrityError if the two do not speak of the same members.
    """
    try:
        found, data = _table(path)
        manifest = Manifest.model_validate_json(data)
    except Refused as refused:
        raise _unreadable(path, str(refused)) from refused
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _unreadable(path, f"its {NAME} makes no sense: {place}: {first['msg']}") from error
    except _UNREADABLE as error:
        raise _unreadable(path, str(getattr(error, "strerror", None) or error)) from error
    _require_same(path, {name: size for name, (_, size) in found.items()}, manifest)
    _require_whole(path, manifest)
    return OfflineFile(path, manifest, {name: offset for name, (offset, _) in found.items()})


def _table(path: Path) -> tuple[dict[str, tuple[int, int]], bytes]:
    """Return offset and size of each member, and the manifest's bytes."""
    found: dict[str, tuple[int, int]] = {}
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would keep us waiting
        raise Refused("it is not a file")
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:", tarinfo=StrictInfo) as tar:
        for info in tar:
            if len(found) >= MAX_MEMBERS:
                raise Refused(f"it has more than {MAX_MEMBERS} members")
            if not info.isreg() or info.issparse():
                raise Refused("is no plain file", info.name)
            if info.offset_data + info.size > status.st_size:
                raise Refused("is cut off", info.name)
            if info.name == NAME:
                if info.size > MAX_MANIFEST:
                    raise Refused(f"is larger than {MAX_MANIFEST} bytes", info.name)
                file.seek(info.offset_data)
                return found, file.read(info.size)
            if not MEMBER.fullmatch(info.name) or info.name in found:
                raise Refused("has no business in it, or is there twice", info.name)
            found[info.name] = (info.offset_data, info.size)
    raise Refused(f"it has no {NAME}")


def _require_same(path: Path, sizes: dict[str, int], manifest: Manifest) -> None:
    stated = {name: member.size for name, member in manifest.members.items()}
    for name in sorted({*sizes, *stated}):
        if sizes.get(name) != stated.get(name):
            _compare(f"{name} in {path}", _size(sizes.get(name)), _size(stated.get(name)))


def _require_whole(path: Path, manifest: Manifest) -> None:
    """Refuse a manifest that speaks of what is not there."""
    named = {BUNDLE, LOCK, SYSBOX}
    named |= {package.member for package in manifest.packages} | {image.member for image in manifest.images}
    missing = sorted(named - manifest.members.keys())
    if missing:
        raise _unreadable(path, f"it lacks {', '.join(missing)}")


def _hash(file: BinaryIO, size: int, count: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    while size and (piece := file.read(min(size, CHUNK))):
        digest.update(piece)
        size -= len(piece)
        count(len(piece))
    return digest.hexdigest()


def _size(size: int | None) -> str:
    return "nothing" if size is None else f"{size} bytes"


def _compare(what: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise IntegrityError(
            f"{what} is not what it should be",
            cause=f"expected {expected}, got {actual}",
            remains=NOTHING_CHANGED,
            hint="copy the file again, or export it again, and find out who changed it",
        )


def _unreadable(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is no offline file",
        cause=reason,
        remains=NOTHING_CHANGED,
        hint="`polis bundle export FILE` makes one",
    )
