"""Files to and from the guest: staged in private, compared by hash, renamed into place."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from polis import durable
from polis.drivers import files
from polis.drivers.multipass import remote
from polis.drivers.multipass.failures import ToolFailure
from polis.errors import (
    GuestCommandFailed,
    GuestUnreachable,
    HostUnsuitable,
    PolisError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polis.drivers.multipass.client import Client
    from polis.drivers.multipass.commands import Commands


class Files:
    """Moves files. The instance must be on: `transfer` starts none, and a command before it looks."""

    def __init__(self, client: Client, commands: Commands) -> None:
        self._client = client
        self._commands = commands

    def push(self, name: str, source: Path, target: str, mode: int) -> None:
        """Copy a file to an absolute path of the guest, atomically.

        Raises ConfigurationError if the source cannot be read, GuestCommandFailed with the guest's words if it
        cannot be written there, GuestUnreachable, ExecTimeout.
        """
        files.require_absolute(target)
        limit, sha256 = files.measured(source)
        failed = f"{source.name} cannot be written to {target} in the guest"
        nonce = secrets.token_hex(4)
        self._run(name, remote.prepare(target=target, nonce=nonce), failed)
        try:
            with _worded(failed, self._client):
                self._client.send(name, source, remote.staged(target=target, nonce=nonce), limit=limit)
            self._run(name, remote.place(target=target, sha256=sha256, mode=mode, nonce=nonce), failed, limit=limit)
        except PolisError:
            with contextlib.suppress(PolisError):
                self._commands.exec(name, remote.discard(target=target, nonce=nonce), timeout=files.PATIENCE)
            raise

    def pull(self, name: str, source: str, target: Path) -> None:
        """Copy a file of the guest (absolute path) to this machine, readable for the user only.

        Raises GuestCommandFailed if it cannot be read there, HostUnsuitable if it cannot be written here,
        IntegrityError if its content never was what its hash said.
        """
        files.require_absolute(source)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            # `transfer` leaves an empty file behind when it fails, and would make one that others can read.
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._fetch(name, source, temporary)
            temporary.chmod(0o600)
            temporary.replace(target)
            durable.sync_directory(target.parent)
        except OSError as error:
            raise HostUnsuitable(f"{target} cannot be written", cause=str(error.strerror)) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _fetch(self, name: str, source: str, temporary: Path) -> None:
        failed = f"{source} cannot be read in the guest"
        for _ in range(files.ATTEMPTS):
            wanted = self._run(name, ["sha256sum", "--", source], failed, limit=files.PULL_LIMIT).lstrip("\\")[:64]
            with _worded(failed, self._client):
                self._client.fetch(name, source, temporary, limit=files.PULL_LIMIT)
            found = files.digest(temporary)
            if found == wanted:
                return
        raise files.differs(source, wanted, found)

    def _run(self, name: str, argv: list[str], failed: str, *, limit: float = files.PATIENCE) -> str:
        done = self._commands.exec(name, argv, timeout=limit)
        if done.code == remote.DAMAGED:
            raise GuestUnreachable(failed, cause=done.last_words())
        if not done.ok:
            raise GuestCommandFailed(failed, cause=done.last_words())
        return done.stdout


@contextlib.contextmanager
def _worded(message: str, client: Client) -> Iterator[None]:
    try:
        yield
    except ToolFailure as error:
        raise error.failure.error(message, client.host) from error
