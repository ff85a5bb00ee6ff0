"""An instance on disk: its directory `<data>/qemu/<name>/` and the record in it.

A directory appears under its name together with its record, in one rename, and disappears from its name in one
rename, so that a kill in between never leaves something that looks like an instance but is none. The directories on
the way in and out begin with a dot, which no name does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from polis import durable
from polis.drivers.base import Forward
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_NAME_LENGTH = 63

# OpenSSH binds its control socket under the name plus a dot and 16 letters, and renames it then; a socket's path
# holds 104 bytes on macOS and 108 on Linux, with the final zero.
_SOCKET_PATH_LIMIT = 104 - 1 - 17


class CorruptRecord(Exception):
    """The record cannot be read; what the instance is, is unknown."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is remembered of an instance. Sizes are bytes.

    `created` is written last, when disk, seed and keys are in place. `started` is written before QEMU is started and
    taken back when polis has switched it off. `answered` tells whether the guest ran a command since it was started.
    """

    name: str
    owner: str
    uuid: str
    image: str
    user: str
    direct_kernel: bool
    direct_initrd: bool
    cmdline: str
    cpus: int
    memory: int
    disk: int
    forwards: tuple[Forward, ...] = ()
    created: bool = False
    started: bool = False
    answered: bool = False
    ssh_port: int = 0

    def to_json(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps({"schema": 1, **dataclasses.asdict(self)}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record; raises CorruptRecord for anything that `to_json` did not write."""
        try:
            raw = json.loads(data)
            if not isinstance(raw, dict) or raw.pop("schema") != 1:
                raise CorruptRecord("written by another version of polis")
            raw["forwards"] = tuple(Forward(int(each["host"]), int(each["guest"])) for each in raw["forwards"])
            _check_types(cls, raw)
            return cls(**raw)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise CorruptRecord(f"not a record: {error}") from error


@dataclass(frozen=True)
class Home:
    """Where the parts of one instance are. Sockets are in `runtime`, for their paths must be short."""

    path: Path
    runtime: Path

    @property
    def record(self) -> Path:
        """The record."""
        return self.path / "instance.json"

    @property
    def base(self) -> Path:
        """The base image: a hard link into the cache, or a symbolic one to another file system."""
        return self.path / "base.img"

    @property
    def disk(self) -> Path:
        """The overlay that the guest writes to."""
        return self.path / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        """The kernel of an image that is booted directly."""
        return self.path / "kernel"

    @property
    def initrd(self) -> Path:
        """The initrd of an image that is booted directly."""
        return self.path / "initrd"

    @property
    def seed(self) -> Path:
        """The NoCloud seed."""
        return self.path / "seed.iso"

    @property
    def medium(self) -> Path:
        """The read-only medium, of an instance that was given one."""
        return self.path / "medium.iso"

    @property
    def key(self) -> Path:
        """The client's private key."""
        return self.path / "id_ed25519"

    @property
    def host_key(self) -> Path:
        """The guest's private host key; exists only while the seed is made."""
        return self.path / "host_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The guest's public host key in the form that ssh reads."""
        return self.path / "known_hosts"

    @property
    def console(self) -> Path:
        """The guest's serial console."""
        return self.path / "console.log"

    @property
    def qemu_log(self) -> Path:
        """What QEMU itself printed."""
        return self.path / "qemu.log"

    @property
    def ssh_log(self) -> Path:
        """What the multiplexing ssh printed."""
        return self.path / "ssh.log"

    @property
    def pidfile(self) -> Path:
        """QEMU's process id, written by QEMU."""
        return self.path / "qemu.pid"

    @property
    def qmp(self) -> Path:
        """QEMU's control socket."""
        return self._socket("qmp")

    @property
    def control(self) -> Path:
        """The multiplexing ssh's control socket."""
        return self._socket("ssh")

    def load(self) -> Record | None:
        """Return the record, or None if there is no instance; raises CorruptRecord."""
        try:
            data = self.record.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if self.path.is_dir() and any(self.path.iterdir()):
                raise CorruptRecord("the directory has no record") from None
            return None
        except OSError as error:
            raise CorruptRecord(str(error)) from error
        return Record.from_json(data)

    def save(self, record: Record) -> Record:
        """Write the record so that it survives a power cut, and return it."""
        durable.write(self.record, record.to_json())
        return record

    def prepare_runtime(self) -> None:
        """Create the directory of sockets; raises HostUnsuitable if it is not safely ours or its path too long."""
        durable.private_directory(self.runtime)
        if sys.platform != "win32":
            status = self.runtime.lstat()
            if self.runtime.is_symlink() or status.st_uid != os.getuid():
                raise HostUnsuitable(f"{self.runtime} belongs to another user", hint="remove it")
        if len(os.fsencode(self.control)) > _SOCKET_PATH_LIMIT:
            raise HostUnsuitable(
                f"the path {self.control} is too long for a socket",
                cause=f"{len(os.fsencode(self.control))} bytes, {_SOCKET_PATH_LIMIT} fit",
                hint="set XDG_RUNTIME_DIR (or TMPDIR) to a shorter path",
            )

    def remove_sockets(self) -> None:
        """Remove the sockets of an instance that is off."""
        for path in (self.qmp, self.control):
            path.unlink(missing_ok=True)

    def _socket(self, kind: str) -> Path:
        # Two homes (POLIS_HOME) may share the runtime directory, so the whole path counts, not the name.
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return self.runtime / f"{digest}.{kind}"


@dataclass(frozen=True)
class Instances:
    """All instances of one data directory."""

    root: Path
    runtime: Path

    def at(self, name: str) -> Home:
        """Return the place of an instance, existing or not.

        Raises ConfigurationError for a name that is none, HostUnsuitable if a symbolic link is in the way: what it
        leads to is not ours to change.
        """
        if len(name) > _NAME_LENGTH or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} cannot be the name of an instance",
                hint=f"letters, digits and hyphens, at most {_NAME_LENGTH}, beginning with a letter",
            )
        home = Home(self.root / name, self.runtime)
        if home.path.is_symlink():
            raise HostUnsuitable(f"{home.path} is a symbolic link", hint="remove it or put a directory there")
        return home

    def names(self) -> list[str]:
        """Return the names of all instances; what is half made or half removed has none."""
        try:
            entries = sorted(entry.name for entry in self.root.iterdir() if not entry.is_symlink() and entry.is_dir())
        except FileNotFoundError:
            return []
        return [name for name in entries if len(name) <= _NAME_LENGTH and _NAME.fullmatch(name)]

    def reserve(self, record: Record) -> Home:
        """Create the instance's directory with its record, in one step."""
        home = self.at(record.name)
        durable.private_directory(self.root)
        coming = Home(self.root / f".new.{record.name}.{secrets.token_hex(4)}", self.runtime)
        coming.path.mkdir(mode=0o700)
        coming.save(record)
        with contextlib.suppress(OSError):
            home.path.rmdir()  # an empty directory of that name is in the way on Windows
        coming.path.rename(home.path)
        durable.sync_directory(self.root)
        return home

    def discard(self, home: Home) -> None:
        """Remove an instance's directory, in one step for everyone who looks."""
        if not home.path.exists():
            return
        leaving = self.root / f".trash.{home.path.name}.{secrets.token_hex(4)}"
        home.path.rename(leaving)
        durable.sync_directory(self.root)
        shutil.rmtree(leaving, ignore_errors=True)

    def sweep(self, name: str) -> None:
        """Remove what killed processes left on the way in (of this instance) and on the way out (of any)."""
        for pattern in (f".new.{name}.*", ".trash.*"):
            for path in self.root.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)


def alias(name: str) -> str:
    """Return the name under which ssh knows the guest's host key, whatever its port is."""
    return f"polis-{name}"


def place(source: Path, target: Path) -> None:
    """Give the instance a cached file that stays when the cache is cleared: a hard link where that is possible."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        target.symlink_to(source)


def _check_types(cls: type[Record], raw: dict[str, Any]) -> None:
    expected = {"str": str, "int": int, "bool": bool}
    for each in dataclasses.fields(cls):
        kind = expected.get(str(each.type), tuple)
        if type(raw[each.name]) is not kind:
            raise CorruptRecord(f"{each.name} is of the wrong type")
