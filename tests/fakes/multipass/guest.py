"""What is behind an instance. The fake asks nothing else of it, so that a real VM can take the simulation's place."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Makeup:
    """What a guest is made of; `directory` is its own, `boot` what it takes to come up, where that can be chosen."""

    name: str
    directory: Path
    cpus: int
    memory: str
    disk: str
    user_data: str
    boot: float


class GuestFileError(Exception):
    """A file of the guest cannot be used, in the words of its SFTP server."""


class Guest(Protocol):
    """A guest; every process of the fake has its own object of it, so all that lasts is in its directory."""

    def start(self) -> None:
        """Switch it on and return at once; the first time it gets its user data."""
        ...

    def is_on(self) -> bool: ...

    def answers_since(self) -> float | None:
        """Return when (time.time()) its sshd came up in this boot, or None if it has not."""
        ...

    def stop(self) -> None:
        """End it in order, and return when it is off."""
        ...

    def kill(self) -> None:
        """Cut it off."""
        ...

    def destroy(self) -> None:
        """Remove all that belongs to it."""
        ...

    def run(
        self, argv: Sequence[str], *, stdin: BinaryIO | None, stdout: BinaryIO, stderr: BinaryIO, limit: int | None
    ) -> int:
        """Run a command as ubuntu until its output ends; return its exit code, 255 if a signal ended it.

        No more than `limit` bytes of stdin reach it.
        """
        ...

    def interact(self, argv: Sequence[str]) -> int:
        """Run a command, or a shell, on the caller's own terminal."""
        ...

    def put(self, path: str, source: BinaryIO, mode: int | None) -> None:
        """Write a file as ubuntu, in place; GuestFileError."""
        ...

    def get(self, path: str, sink: BinaryIO) -> None:
        """Read a file as ubuntu; GuestFileError."""
        ...

    def boot_id(self) -> str: ...

    def user_data(self) -> str: ...


def behind(makeup: Makeup) -> Guest:
    """Return the guest, of the kind that the environment names."""
    module, _, factory = os.environ.get(
        "POLIS_FAKE_MULTIPASS_GUEST", "tests.fakes.multipass.simulated:SimulatedGuest"
    ).partition(":")
    guest: Guest = getattr(importlib.import_module(module), factory)(makeup)
    return guest
