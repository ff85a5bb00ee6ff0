"""Files to and from the guest: streamed, checked, renamed into place."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from polis import durable
from polis.drivers import files
from polis.drivers.qemu import remote, space
from polis.errors import GuestCommandFailed, HostUnsuitable

if TYPE_CHECKING:
    from pathlib import Path

    from polis.drivers.qemu.ssh import Ssh
    from polis.process import Completed


def push(ssh: Ssh, source: Path, target: str, mode: int) -> None:
    """Copy a file to an absolute path in the guest.

    Raises ConfigurationError if the source cannot be read, GuestCommandFailed with the guest's words if it cannot
    be written there, GuestUnreachable, ExecTimeout.
    """
    files.require_absolute(target)
    limit, sha256 = files.measured(source)
    argv = remote.receive(target=target, sha256=sha256, mode=mode, nonce=secrets.token_hex(4))
    done = ssh.call(argv, timeout=limit, stdin=source)
    _require_ok(done, f"{source.name} cannot be written to {target} in the guest")


def pull(ssh: Ssh, source: str, target: Path) -> None:
    """Copy a file of the guest (absolute path) to the host, readable for the user only."""
    files.require_absolute(source)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with space.checked(target.parent):
            done = ssh.call(remote.send(source), timeout=files.PULL_LIMIT, stdout_to=temporary)
            _require_ok(done, f"{source} cannot be read in the guest")
            temporary.replace(target)
            durable.sync_directory(target.parent)
    except OSError as error:
        raise HostUnsuitable(f"{target} cannot be written", cause=str(error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _require_ok(done: Completed, message: str) -> None:
    if not done.ok:
        raise GuestCommandFailed(message, cause=done.last_words())
