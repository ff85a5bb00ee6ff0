"""Guest commands: never twice, with the code that they really ended with."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from polis import process
from polis.drivers.incus import remote
from polis.drivers.incus.failures import Failure, ToolFailure, classify, words
from polis.drivers.incus.patience import AWAY
from polis.drivers.toolcalls import patiently
from polis.errors import DriverUnavailable, ExecTimeout, GuestUnreachable, HostUnsuitable, InstanceMissing, PolisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from polis.drivers.incus.client import Client
    from polis.drivers.incus.patience import Patience
    from polis.process import Completed

_TIMED_OUT = (124, 137)  # timeout(1): ended by SIGTERM, by SIGKILL


class Commands:
    """Runs commands in instances."""

    def __init__(self, client: Client, patience: Patience) -> None:
        self._client = client
        self._patience = patience

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        user: str,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        stdin: Path | None = None,
        stdout_to: Path | None = None,
    ) -> Completed:
        """Run a command; see `Driver.exec`. A server that is away is waited for: nothing was begun then."""

        def once() -> Completed:
            return self._once(name, argv, user, timeout, on_line=on_line, stdin=stdin, stdout_to=stdout_to)

        try:
            return patiently(once, AWAY, self._patience.daemon, pause=self._patience.look)
        except ToolFailure as failed:
            raise self._unreachable(name, failed.failure) from failed

    def _once(
        self,
        name: str,
        argv: Sequence[str],
        user: str,
        timeout: float,
        *,
        on_line: Callable[[str], None] | None,
        stdin: Path | None,
        stdout_to: Path | None,
    ) -> Completed:
        nonce = secrets.token_hex(12)
        line = remote.wrapped(argv, user=user, nonce=nonce, limit=timeout)
        limit = timeout + remote.KILL_AFTER + self._patience.grace
        try:
            done = self._client.exec(name, line, limit=limit, on_line=on_line, stdin=stdin, stdout_to=stdout_to)
        except process.ProcessTimeout as expired:
            # The command may have ended, and left a child behind that keeps the output open.
            done = expired.completed
            if remote.read(done.stderr, nonce).code is None:
                raise _timeout(argv, timeout, words(done.stderr)) from expired
        answer = remote.read(done.stderr, nonce)
        if answer.code is None:
            raise _broken_off(done, answer, user)
        if answer.code in _TIMED_OUT and done.seconds >= timeout:
            raise _timeout(argv, timeout, words(answer.stderr))
        return process.Completed(tuple(argv), answer.code, done.stdout, answer.stderr, done.seconds)

    def _unreachable(self, name: str, failure: Failure) -> PolisError:
        kinds = (GuestUnreachable, InstanceMissing, DriverUnavailable, HostUnsuitable)
        kind = None if issubclass(failure.row.error, kinds) else GuestUnreachable
        if failure.row.name == "no-instance":
            return InstanceMissing(f"there is no instance {name}", cause=failure.words, hint="`polis up` creates it")
        return failure.error(f"{name} does not run commands", self._client.tool, as_type=kind)


def _broken_off(done: Completed, answer: remote.Answer, user: str) -> ToolFailure | GuestUnreachable:
    if answer.no_user:
        return GuestUnreachable("the guest is not ready", cause=f"it has no user {user} (yet): cloud-init makes it")
    if not answer.begun:
        # With code 0 the command was not run either: nothing may be read into that.
        return ToolFailure(classify("exec", done))
    said = words(answer.stderr) or f"the client ended with {done.code}, the command's own code was not told"
    return GuestUnreachable("the connection to the guest broke off", cause=said)


def _timeout(argv: Sequence[str], timeout: float, said: str) -> ExecTimeout:
    return ExecTimeout(f"{argv[0]} did not end within {timeout:g} s in the guest", cause=said)
