"""Files to and from the guest: streamed through a command, compared by hash, renamed into place.

Not `file push`: that works as root, and puts half a file under the name if it is interrupted.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Protocol

from polis import durable
from polis.drivers.incus import remote
from polis.errors import ConfigurationError, GuestCommandFailed, GuestUnreachable, HostUnsuitable, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polis.process import Completed

PATIENCE = 120.0
"""Seconds for a transfer of any size, to which the size adds at SLOWEST bytes a second."""

SLOWEST = 256 * 1024

PULL_LIMIT = 3600.0
"""Seconds for a file whose size is not known before."""

ATTEMPTS = 3
"""How often a file is fetched whose content is not what its hash was: it may be one that grows."""


class Execute(Protocol):
    """Runs a guest command with a file as its stdin, or its stdout into a file."""

    def __call__(  # noqa: D102 -- see Commands.exec
        self, argv: Sequence[str], *, timeout: float, stdin: Path | None = None, stdout_to: Path | None = None
    ) -> Completed: ...


def push(execute: Execute, source: Path, target: str, mode: int) -> None:
    """Copy a file to an absolute path in the guest.

    Raises ConfigurationError if the source cannot be read, GuestCommandFailed with the guest's words if it cannot
    be written there, GuestUnreachable, ExecTimeout.
    """
    _require_absolute(target)
    try:
        size, sha256 = source.stat().st_size, digest(source)
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read", cause=str(error.strerror)) from error
    argv = remote.receive(target=target, sha256=sha256, mode=mode, nonce=secrets.token_hex(4))
    done = execute(argv, timeout=PATIENCE + size / SLOWEST, stdin=source)
    failed = f"{source.name} cannot be written to {target} in the guest"
    if done.code == remote.DAMAGED:
        raise GuestUnreachable(failed, cause=done.last_words())
    if not done.ok:
        raise GuestCommandFailed(failed, cause=done.last_words())


def pull(execute: Execute, source: str, target: Path) -> None:
    """Copy a file of the guest (absolute path) to this machine, readable for the user only.

    Raises GuestCommandFailed if it cannot be read there, HostUnsuitable if it cannot be written here,
    IntegrityError if its content never was what its hash said.
    """
    _require_absolute(source)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        _fetch(execute, source, temporary)
        temporary.replace(target)
        durable.sync_directory(target.parent)
    except OSError as error:
        raise HostUnsuitable(f"{target} cannot be written", cause=str(error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(execute: Execute, source: str, temporary: Path) -> None:
    for _ in range(ATTEMPTS):
        done = execute(remote.send(source), timeout=PULL_LIMIT, stdout_to=temporary)
        if not done.ok:
            raise GuestCommandFailed(f"{source} cannot be read in the guest", cause=done.last_words())
        # A name with a backslash or a newline is escaped, which a backslash before the hash tells.
        wanted, found = done.stderr.lstrip("\\")[:64], digest(temporary)
        if found == wanted:
            return
    raise IntegrityError(
        f"{source} did not arrive as it is in the guest",
        cause=f"sha256 in the guest {wanted}\nsha256 here         {found}",
        hint="if something writes to the file all the time, copy it in the guest first",
    )


def _require_absolute(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError(f"{path} is not an absolute path of the guest")
