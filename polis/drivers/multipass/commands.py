"""Guest commands: never twice, never by switching a machine on, with the code that they really ended with."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from polis import process
from polis.drivers.base import InstanceState
from polis.drivers.multipass import remote, table
from polis.drivers.multipass.failures import Failure, ToolFailure, classify, words
from polis.drivers.multipass.patience import AWAY
from polis.drivers.toolcalls import patiently
from polis.errors import ExecTimeout, GuestUnreachable, InstanceMissing, PolisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polis.drivers.base import Instance
    from polis.drivers.multipass.client import Client
    from polis.drivers.multipass.patience import Patience
    from polis.process import Completed

AGAIN = AWAY | {"ssh-dropped"}
"""Failures that pass: the daemon restarts, sshd dropped one of too many connections. The command was not begun."""

_TIMED_OUT = (124, 137)  # timeout(1): ended by SIGTERM, by SIGKILL


class Commands:
    """Runs commands in instances that are on."""

    def __init__(self, client: Client, patience: Patience, look: Callable[[str], Instance | None]) -> None:
        self._client = client
        self._patience = patience
        self._look = look

    def exec(
        self, name: str, argv: Sequence[str], *, timeout: float, on_line: Callable[[str], None] | None = None
    ) -> Completed:
        """Run a command; see `Driver.exec`. Looks first: `exec` would start an instance that is off.

        It looks again before each further attempt: a daemon that was restarted may have left the instance off.
        """

        def once() -> Completed:
            self.require_running(name)
            return self._once(name, argv, timeout, on_line)

        try:
            return patiently(once, AGAIN, self._patience.daemon, pause=self._patience.look)
        except ToolFailure as failed:
            raise self._unreachable(name, failed.failure) from failed

    def run(
        self, name: str, argv: Sequence[str], *, timeout: float, on_line: Callable[[str], None] | None = None
    ) -> Completed:
        """Run a command, once, in an instance that was just seen to be on."""
        try:
            return self._once(name, argv, timeout, on_line)
        except ToolFailure as failed:
            raise self._unreachable(name, failed.failure) from failed

    def require_running(self, name: str) -> Instance:
        """Return the instance; InstanceMissing or GuestUnreachable unless it is on."""
        seen = there(name, self._look(name))
        if seen.state is not InstanceState.RUNNING:
            told = f"{seen.state} ({seen.detail})" if seen.detail else seen.state
            raise GuestUnreachable(f"{name} is not on", cause=f"state: {told}", hint="`polis up` switches it on")
        return seen

    def _once(self, name: str, argv: Sequence[str], timeout: float, on_line: Callable[[str], None] | None) -> Completed:
        nonce = secrets.token_hex(12)
        filed = self._client.host.output_limit is not None
        line = remote.wrapped(argv, nonce=nonce, limit=timeout, filed=filed)
        listener = remote.AfterMark(nonce, on_line) if on_line is not None and not filed else None
        limit = timeout + remote.KILL_AFTER + self._patience.grace
        try:
            done = self._client.exec(name, line, limit=limit, on_line=listener)
        except process.ProcessTimeout as expired:
            # The command may have ended, and left a child behind that keeps the output open.
            done = expired.completed
            if remote.read(done.stdout, done.stderr, nonce).code is None:
                raise _timeout(argv, timeout, words(done.stderr)) from expired
        answer = remote.read(done.stdout, done.stderr, nonce)
        code = answer.code
        if code is None:
            raise _broken_off(done, answer)
        if answer.directory:
            answer = self._collect(name, answer)
        if filed and on_line is not None:
            for text in answer.stdout.splitlines():
                on_line(text)  # where output is filed it can only be told afterwards
        if code in _TIMED_OUT and done.seconds >= timeout:
            raise _timeout(argv, timeout, words(answer.stderr))
        return process.Completed(tuple(argv), code, answer.stdout, answer.stderr, done.seconds)

    def _collect(self, name: str, answer: remote.Answer) -> remote.Answer:
        """Return the answer with its output, fetched from the files in the guest."""
        limit = self._patience.call
        texts = []
        try:
            with tempfile.TemporaryDirectory(prefix="polis-") as here:
                for stream in ("out", "err"):
                    self._client.fetch(name, f"{answer.directory}/{stream}", Path(here) / stream, limit=limit)
                    with (Path(here) / stream).open("rb") as file:
                        texts.append(file.read(process.OUTPUT_LIMIT).decode("utf-8", "replace"))
        except ToolFailure as failed:
            # The command has ended: no failure that would let it be run again.
            message = "the command's output did not arrive"
            raise failed.failure.error(message, self._client.host, as_type=GuestUnreachable) from failed
        with contextlib.suppress(process.ProcessTimeout):
            self._client.exec(name, ["rm", "-rf", "--", answer.directory], limit=limit)
        return remote.Answer(begun=True, code=answer.code, stdout=texts[0], stderr=texts[1])

    def _unreachable(self, name: str, failure: Failure) -> PolisError:
        known = issubclass(failure.row.error, GuestUnreachable | InstanceMissing)
        mended_elsewhere = failure.row in (*table.DAEMON, table.NO_ANSWER)
        kind = None if known or mended_elsewhere else GuestUnreachable
        return failure.error(f"{name} does not run commands", self._client.host, as_type=kind)


def there(name: str, seen: Instance | None) -> Instance:
    """Return the instance that was seen; InstanceMissing if it is not there, or deleted."""
    if seen is None:
        raise InstanceMissing(f"there is no instance {name}", hint="`polis up` creates it")
    if seen.state is InstanceState.DELETED:
        raise InstanceMissing(
            f"{name} was deleted",
            cause="Multipass keeps it until it is purged",
            hint=f"`multipass recover {name}` brings it back, `multipass delete --purge {name}` frees the name",
        )
    return seen


def _broken_off(done: Completed, answer: remote.Answer) -> ToolFailure | GuestUnreachable:
    if not answer.begun:
        # With code 0 the command was not run either: nothing may be read into that.
        return ToolFailure(classify("exec", done))
    said = words(answer.stderr) or f"multipass exec ended with {done.code}, the command's own code was not told"
    return GuestUnreachable("the connection to the guest broke off", cause=said)


def _timeout(argv: Sequence[str], timeout: float, said: str) -> ExecTimeout:
    return ExecTimeout(f"{argv[0]} did not end within {timeout:g} s in the guest", cause=said)
