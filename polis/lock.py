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

from polis import durable, interruption
from polis.errors import Locked
from polis.events import timestamp
from polis.store import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

FILE = "lock"
HOLDER = "lock.holder"
SLICE = 0.5
"""Seconds of one wait for the kernel's lock, after which is seen whether the wait is to end."""


@contextlib.contextmanager
def hold(
    directory: Path, command: str, *, wait: float = 0.0, tell: Callable[[str], None] = lambda _text: None
) -> Iterator[None]:
    """Hold the workspace's lock for a changing command, waiting up to `wait` seconds for it.

    `tell` hears whom it waits for. Raises Locked, naming the holder and what it does; HostUnsuitable if the directory
    cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(directory / FILE, mode=0o600, thread_local=False)
    try:
        _acquire(lock, directory, 0.0)
    except Timeout as error:
        if wait <= 0:
            raise _locked(directory, wait) from error
        tell(f"waiting for another polis: {_holder(directory)}")
        try:
            _acquire(lock, directory, wait)
        except Timeout as expired:
            raise _locked(directory, wait) from expired
    try:
        _sign(directory / HOLDER, command)
        yield
    finally:
        with contextlib.suppress(OSError):
            (directory / HOLDER).unlink()
        lock.release()


def _acquire(lock: BaseFileLock, directory: Path, wait: float) -> None:
    until = time.monotonic() + wait
    while not lock.is_locked:
        interruption.check()
        left = max(0.0, until - time.monotonic())
        try:
            durable.private_directory(directory)
            lock.acquire(timeout=min(left, SLICE), poll_interval=0.05)
        except FileNotFoundError:
            continue  # its holder deleted the workspace while we waited
        except TimeoutError:  # filelock's Timeout is an OSError too
            if left <= SLICE:
                raise
        except OSError as error:
            raise explain(error, directory / FILE) from error


def _sign(path: Path, command: str) -> None:
    holder = {"pid": os.getpid(), "command": command, "started_at": timestamp(datetime.now(UTC))}
    # Only told to people, never decided upon: it need not survive a power cut, and must not fail the command.
    with contextlib.suppress(OSError):
        path.write_text(json.dumps(holder), encoding="utf-8")


def _holder(directory: Path) -> str:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        holder = json.loads((directory / HOLDER).read_text(encoding="utf-8"))
        since = (datetime.now(UTC) - datetime.fromisoformat(holder["started_at"])).total_seconds()
        return f"`polis {holder['command']}` (pid {holder['pid']}) has been at work for {max(0, since):.0f} s"
    return "its holder did not say who it is"


def _locked(directory: Path, waited: float) -> Locked:
    suffix = f" and did not finish within {waited:g} s" if waited > 0 else ""
    return Locked(
        f"another polis is changing this workspace{suffix}",
        cause=_holder(directory),
        remains="nothing was changed by this command",
        hint="wait for it with `--wait`, or look on with `polis status`",
    )
