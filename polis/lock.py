"""One changing command per workspace: a kernel lock, freed by the kernel when its holder dies.

Who holds it is told by a second file, because opening the lock file truncates it on some platforms.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from polis import durable
from polis.errors import Locked
from polis.events import timestamp
from polis.store import explain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "lock"
HOLDER = "lock.holder"


@contextlib.contextmanager
def hold(directory: Path, command: str, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the workspace's lock for a changing command, waiting up to `wait` seconds for it.

    Raises Locked, naming the holder and what it does; HostUnsuitable if the directory cannot be written.
    """
    from filelock import FileLock, Timeout

    path = directory / FILE
    lock = FileLock(path, mode=0o600, thread_local=False)
    until = time.monotonic() + wait
    while not lock.is_locked:
        try:
            durable.private_directory(directory)
            lock.acquire(timeout=max(0.0, until - time.monotonic()), poll_interval=0.05)
        except Timeout as error:
            raise _locked(directory, wait) from error
        except FileNotFoundError:
            continue  # its holder deleted the workspace while we waited
        except OSError as error:
            raise explain(error, path) from error
    try:
        _sign(directory / HOLDER, command)
        yield
    finally:
        with contextlib.suppress(OSError):
            (directory / HOLDER).unlink()
        lock.release()


def _sign(path: Path, command: str) -> None:
    holder = {"pid": os.getpid(), "command": command, "started_at": timestamp(datetime.now(UTC))}
    # Only told to people, never decided upon: it need not survive a power cut, and must not fail the command.
    with contextlib.suppress(OSError):
        path.write_text(json.dumps(holder), encoding="utf-8")


def _locked(directory: Path, waited: float) -> Locked:
    cause = "its holder did not say who it is"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        holder = json.loads((directory / HOLDER).read_text(encoding="utf-8"))
        since = (datetime.now(UTC) - datetime.fromisoformat(holder["started_at"])).total_seconds()
        cause = f"`polis {holder['command']}` (pid {holder['pid']}) has been at work for {max(0, since):.0f} s"
    suffix = f" and did not finish within {waited:.0f} s" if waited else ""
    return Locked(
        f"another polis is changing this workspace{suffix}",
        cause=cause,
        remains="nothing was changed by this command",
        hint="wait for it with `--wait`, or look on with `polis status`",
    )
