"""Files to and from the guest: streamed through a command, compared by hash, renamed into place.

Not `file push`: that works as root, and puts half a file under the name if it is interrupted.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from polis import durable
from polis.drivers import files
from polis.drivers.incus import remote
from polis.errors import GuestCommandFailed, GuestUnreachable, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polis.process import Completed


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
    files.require_absolute(target)
    limit, sha256 = files.measured(source)
    argv = remote.receive(target=target, sha256=sha256, mode=mode, nonce=secrets.token_hex(4))
    done = execute(argv, timeout=limit, stdin=source)
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
    files.require_absolute(source)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        _fetch(execute, source, temporary)
        temporary.replace(target)
        durable.sync_directory(target.parent)
    except OSError as error:
        raise HostUnsuitable(f"{target} cannot be written", cause=str(error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _fetch(execute: Execute, source: str, temporary: Path) -> None:
    for _ in range(files.ATTEMPTS):
        done = execute(remote.send(source), timeout=files.PULL_LIMIT, stdout_to=temporary)
        if not done.ok:
            raise GuestCommandFailed(f"{source} cannot be read in the guest", cause=done.last_words())
        # A name with a backslash or a newline is escaped, which a backslash before the hash tells.
        wanted, found = done.stderr.lstrip("\\")[:64], files.digest(temporary)
        if found == wanted:
            return
    raise files.differs(source, wanted, found)
