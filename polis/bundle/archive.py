"""A bundle as one tar: the same content gives the same bytes everywhere, and nothing unchecked is ever sent.

A bundle is a directory or a tar, plain or gzipped, with a `docker-compose.yml` at its root. It may come from anywhere,
so it is untrusted: it is read into a table of entries, each of which is checked, and the tar that goes to the guest is
written anew from that table. Whatever oddity the source had is not in it.

The tar is in GNU format: unlike ustar it holds long names, and unlike pax it has no room for times, owners or
extensions that differ between machines. Names are sorted, every directory is there, times and owners are 0. A file
is executable when it starts like a program; mode bits do not survive a wheel or a checkout on Windows.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import unicodedata
import zlib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import IO, Final

from polis.bundle.tarstream import Limited, Refused, StrictInfo
from polis.errors import ConfigurationError

COMPOSE_FILE: Final = "docker-compose.yml"
"""Without this file at its root, a directory is no bundle."""

LITTER: Final = frozenset({".DS_Store", ".git", "Thumbs.db", "__pycache__"})
"""What tools leave in a directory. It is not content, and is passed over; in a tar somebody put it there."""

MAX_ENTRIES: Final = 4096
MAX_FILE: Final = 16 * 2**20
"""Bytes of one file."""
MAX_TOTAL: Final = 32 * 2**20
"""Bytes of all files, and of a source tar once decompressed: a bundle is configuration, and is held in memory."""
MAX_GLOBALS: Final = 64
"""Pax records for all entries, of which tarfile makes a copy for each."""
MAX_NAME: Final = 1024
"""Bytes of a whole name."""
MAX_COMPONENT: Final = 255
"""Bytes between two slashes: what Linux file systems hold."""
MAX_LINKS: Final = 40
"""Symbolic links in one resolution, as in Linux."""

DEFAULT: Final = Path(__file__).with_name("default")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_PROGRAM_STARTS: Final = (b"#!", b"\x7fELF")
_CONTROL_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class Shape:
    """What a directory must be: its name in messages, the file that it needs at its root, and names it may not have."""

    noun: str
    required: str
    reserved: frozenset[str]


BUNDLE: Final = Shape("bundle", COMPOSE_FILE, frozenset({".env", ".polis"}))
"""What polis writes itself, next to what it unpacks, cannot be in a bundle."""


@dataclass(frozen=True)
class Bundle:
    """A checked bundle in its canonical form."""

    digest: str
    """`sha256:<hex>` of the canonical tar: equal exactly when the content is equal."""
    files: int
    """Files and links, directories not counted."""
    size: int
    """Bytes of the canonical tar."""
    content: bytes = field(repr=False)
    """The canonical tar."""

    def member(self, name: str) -> bytes | None:
        """Return the content of a file in it, None if there is no such file."""
        with tarfile.open(fileobj=io.BytesIO(self.content)) as tar:
            try:
                file = tar.extractfile(name)
            except KeyError:
                return None
            return file.read() if file is not None else None

    def write(self, target: Path) -> None:
        """Write the canonical tar to `target`, readable by its owner only; an existing file is replaced."""
        target.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
            file.write(self.content)


def load(source: Path | None = None) -> Bundle:
    """Read and check a bundle: a directory, a .tar or a .tar.gz; None stands for the one that polis ships.

    Raises:
        ConfigurationError: it cannot be read, or an entry is refused; the error names the entry and the reason.

    """
    return read(DEFAULT if source is None else source, BUNDLE)


def read(path: Path, shape: Shape) -> Bundle:
    """Read and check a directory, a .tar or a .tar.gz that has to be of this shape. Raises ConfigurationError."""
    try:
        tree = _Tree(shape)
        if path.is_dir():
            _read_directory(path, tree)
        else:
            _read_tar(path, tree)
        tree.check()
    except Refused as refused:
        raise ConfigurationError(f"the {shape.noun} {path} is refused", str(refused)) from refused
    except _UNREADABLE as error:
        raise ConfigurationError(f"the {shape.noun} {path} cannot be read", str(error)) from error
    content = tree.pack()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return Bundle(digest=digest, files=tree.files, size=len(content), content=content)


class _Kind(Enum):
    DIRECTORY = "directory"
    FILE = "file"
    LINK = "symbolic link"


@dataclass(frozen=True)
class _Entry:
    kind: _Kind
    content: bytes = b""
    target: str = ""


class _Tree:
    """What will be sent: checked names, each with what it stands for."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._entries: dict[str, _Entry] = {}
        self._spellings: dict[str, str] = {}
        self._declared: set[str] = set()
        self._total = 0

    @property
    def files(self) -> int:
        """Count what is not a directory."""
        return sum(entry.kind is not _Kind.DIRECTORY for entry in self._entries.values())

    def admit(self, name: str, size: int) -> None:
        """Refuse a file that is too large, alone or together with the others; to be asked before it is read."""
        if size > MAX_FILE:
            raise Refused(f"is larger than {MAX_FILE} bytes", name)
        self._total += size
        if self._total > MAX_TOTAL:
            raise Refused(f"makes the {self._shape.noun} larger than {MAX_TOTAL} bytes", name)

    def add(self, name: str, entry: _Entry) -> None:
        """Take in one entry under a name as the source spells it."""
        parts = _parts(name, self._shape.reserved)
        if not parts:
            if entry.kind is not _Kind.DIRECTORY:
                raise Refused(f"stands for the {self._shape.noun} itself, but is no directory", name)
            return
        clean = "/".join(parts)
        if clean in self._declared:
            raise Refused("is there twice", name)
        for depth in range(1, len(parts)):
            self._place("/".join(parts[:depth]), _Entry(_Kind.DIRECTORY), name)
        if entry.kind is _Kind.LINK:
            entry = _Entry(_Kind.LINK, target="/".join(_link_parts(name, entry.target, self._shape.noun)) or ".")
        self._place(clean, entry, name)
        self._declared.add(clean)

    def file(self, name: str) -> _Entry | None:
        """Return the regular file of this name, if there is one already."""
        entry = self._entries.get("/".join(_parts(name, self._shape.reserved)))
        return entry if entry is not None and entry.kind is _Kind.FILE else None

    def check(self) -> None:
        """Check what only the whole tree can tell: where links lead, and that nothing is missing."""
        for name, entry in self._entries.items():
            if entry.kind is _Kind.LINK:
                self._follow(name, entry.target)
        required = self._entries.get(self._shape.required)
        if required is None or required.kind is not _Kind.FILE:
            raise Refused(f"there is no file {self._shape.required!r} at its root")

    def pack(self) -> bytes:
        """Return the canonical tar."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
            for name in sorted(self._entries, key=lambda name: name.encode()):
                entry = self._entries[name]
                info = tarfile.TarInfo(name)
                info.mode = 0o755
                if entry.kind is _Kind.DIRECTORY:
                    info.type = tarfile.DIRTYPE
                elif entry.kind is _Kind.LINK:
                    info.type, info.linkname = tarfile.SYMTYPE, entry.target
                else:
                    info.size = len(entry.content)
                    info.mode = 0o755 if entry.content.startswith(_PROGRAM_STARTS) else 0o644
                tar.addfile(info, io.BytesIO(entry.content))
        return buffer.getvalue()

    def _place(self, clean: str, entry: _Entry, name: str) -> None:
        """Put an entry, or a directory that an entry needs, where nothing else is."""
        spelling = self._spellings.setdefault(_folded(clean), clean)
        if spelling != clean:
            raise Refused(f"is {spelling!r} where case or accents do not count", name)
        existing = self._entries.get(clean)
        if existing is None:
            if len(self._entries) >= MAX_ENTRIES:
                raise Refused(f"is one entry too many: there may be at most {MAX_ENTRIES}", name)
            self._entries[clean] = entry
        elif existing.kind is not entry.kind or existing.kind is not _Kind.DIRECTORY:
            raise Refused(f"needs a {entry.kind.value} where {clean!r} is a {existing.kind.value}", name)

    def _follow(self, name: str, target: str) -> None:
        """Walk a link as the kernel would, and refuse one that leaves the tree, ends nowhere or never ends."""
        at = list(PurePosixPath(name).parent.parts)
        noun = self._shape.noun
        ahead = _link_parts(name, target, noun)
        links = 0
        while ahead:
            part = ahead.pop(0)
            if part == "..":
                if not at:
                    raise Refused(f"links to {target!r}, outside of the {noun}", name)
                at.pop()
                continue
            at.append(part)
            entry = self._entries.get("/".join(at))
            if entry is None:
                raise Refused(f"links to {target!r}, which is not in the {noun}", name)
            if entry.kind is _Kind.LINK:
                links += 1
                if links > MAX_LINKS:
                    raise Refused(f"links to {target!r}, and so on without end", name)
                ahead[:0] = _link_parts("/".join(at), entry.target, noun)
                at.pop()
            elif entry.kind is _Kind.FILE and ahead:
                raise Refused(f"links to {target!r}, where {'/'.join(at)!r} is a file", name)


def _parts(name: str, reserved: frozenset[str]) -> list[str]:
    """Split a name and check it alone; an empty list stands for the root."""
    _check_characters(name, name)
    if name.startswith("/"):
        raise Refused("is an absolute path", name)
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise Refused("climbs with '..'", name)
    if parts and parts[0][1:2] == ":":
        raise Refused("starts with a drive letter", name)
    if parts and _folded(parts[0]) in reserved:
        raise Refused("has a name that polis writes itself", name)
    if len(name.encode()) > MAX_NAME or any(len(part.encode()) > MAX_COMPONENT for part in parts):
        raise Refused("is too long a name", name)
    return parts


def _link_parts(name: str, target: str, noun: str) -> list[str]:
    """Split a link's target; `..` stays, for what it means depends on the tree."""
    _check_characters(target, name)
    if not target or target.startswith("/"):
        raise Refused(f"links to {target!r}, outside of the {noun}", name)
    if len(target.encode()) > MAX_NAME:
        raise Refused("links to too long a name", name)
    return [part for part in target.split("/") if part not in {"", "."}]


def _check_characters(text: str, name: str) -> None:
    if "\\" in text:
        raise Refused("has a backslash, which some systems take for a slash", name)
    if any(unicodedata.category(character) in _CONTROL_CATEGORIES for character in text):
        raise Refused("has control or invisible characters, or is not UTF-8", name)


def _folded(name: str) -> str:
    """Return what a file system sees that ignores case and the spelling of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _read_directory(root: Path, tree: _Tree) -> None:
    pending = [root]
    while pending:
        directory = pending.pop()
        # The order decides only which of several faults is told.
        for path in sorted(directory.iterdir()):
            if path.name in LITTER:
                continue
            name = path.relative_to(root).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                tree.add(name, _Entry(_Kind.LINK, target=path.readlink().as_posix()))
            elif stat.S_ISDIR(mode):
                tree.add(name, _Entry(_Kind.DIRECTORY))
                pending.append(path)
            elif stat.S_ISREG(mode):
                tree.add(name, _Entry(_Kind.FILE, content=_read_file(path, name, tree)))
            else:
                raise Refused("is neither a file, a directory nor a symbolic link", name)


def _read_file(path: Path, name: str, tree: _Tree) -> bytes:
    """Read a file that was one when it was looked at; it is looked at again, for it may have been swapped."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused("changed while it was read", name)
        tree.admit(name, status.st_size)
        content = file.read(status.st_size + 1)
    if len(content) != status.st_size:
        raise Refused("changed while it was read", name)
    return content


def _read_tar(path: Path, tree: _Tree) -> None:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting
        raise Refused("it is neither a directory nor a file")
    with path.open("rb") as file:
        zipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        plain: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if zipped else file
        # Headers and padding are a block or two for each entry, long names a few more.
        limit = MAX_TOTAL + MAX_ENTRIES * 8 * tarfile.BLOCKSIZE
        with tarfile.open(
            fileobj=Limited(plain, limit), mode="r|", tarinfo=StrictInfo, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for seen, member in enumerate(tar):
                if seen >= MAX_ENTRIES:
                    raise Refused(f"it has more than {MAX_ENTRIES} entries")
                if len(tar.pax_headers) > MAX_GLOBALS:
                    raise Refused(f"it has more than {MAX_GLOBALS} records for all entries")
                tree.add(member.name, _read_member(tar, member, tree))
                tar.members.clear()  # type: ignore[attr-defined]  # each keeps its records


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: _Tree) -> _Entry:
    if member.isdir():
        return _Entry(_Kind.DIRECTORY)
    if member.issym():
        return _Entry(_Kind.LINK, target=member.linkname)
    if member.islnk():
        linked = tree.file(member.linkname)
        if linked is None:
            raise Refused(f"is a hard link to {member.linkname!r}, which is no file before it", member.name)
        tree.admit(member.name, len(linked.content))
        return linked
    if not member.isreg() or member.issparse():
        raise Refused("is neither a plain file, a directory nor a link", member.name)
    tree.admit(member.name, member.size)
    content = tar.extractfile(member)
    return _Entry(_Kind.FILE, content=content.read() if content else b"")


# tarfile raises a ValueError at numbers that are none, and recurses into a long name's header, however many follow.
_UNREADABLE: Final = (OSError, EOFError, ValueError, RecursionError, zlib.error, tarfile.TarError)
