"""Commands and files over one connection: the system's OpenSSH, with a master that lives between calls.

The master is started on its own, with its output in a file: one that inherited a caller's pipes would keep the
caller waiting for their end.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis import process
from polis.drivers.ports import LOOPBACK
from polis.drivers.qemu import host, remote
from polis.drivers.sshconfig import quoted
from polis.errors import ExecTimeout, GuestUnreachable, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from polis.process import Completed, Runner

CONNECT = 20
"""Seconds for the connection and the greeting; a guest without hardware virtualization takes three."""

HANDSHAKE = 60.0
"""Seconds for the whole of connecting and authenticating."""

GRACE = 10.0
"""Seconds that a call may take beyond its command's own limit before ssh itself is ended."""

PERSIST = 600
"""Seconds after which an unused master ends."""

SSH_FAILED = 255
"""ssh's exit code for its own failures, and the guest command's for that very code."""

_TIMED_OUT = (124, 137)  # timeout(1): ended by SIGTERM, by SIGKILL


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the guest is, who we are, and by which host key it is known."""

    port: int
    user: str
    alias: str
    key: Path
    known_hosts: Path
    control: Path
    log: Path


def public_options(endpoint: Endpoint) -> dict[str, str]:
    """Return what a client of the user's own needs: our key and no other, and nothing is trusted on first use.

    Values are plain. The guest gets neither agent nor display, whatever the user's own defaults are.
    """
    return {
        "HostName": LOOPBACK,
        "Port": str(endpoint.port),
        "User": endpoint.user,
        "IdentityFile": str(endpoint.key),
        "IdentitiesOnly": "yes",
        "PreferredAuthentications": "publickey",
        "HostKeyAlias": endpoint.alias,
        "HostKeyAlgorithms": "ssh-ed25519",
        "UserKnownHostsFile": str(endpoint.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
    }


def options(endpoint: Endpoint) -> list[str]:
    """Return ssh's options for our own calls: nothing but ours counts, and nobody is asked."""
    settings = {
        **public_options(endpoint),
        "BatchMode": "yes",
        "IdentityAgent": "none",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "LogLevel": "ERROR",
        "ConnectTimeout": str(CONNECT),
        # A guest that hangs is given up after 40 s; one that died is noticed at once.
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "4",
        "ControlPath": str(endpoint.control),
    }
    pairs = [word for key, value in settings.items() for word in ("-o", f"{key}={quoted(value)}")]
    return ["-F", "none", *pairs]


class Ssh:
    """A guest's ssh; every call connects if there is no connection, and once more if it turned out to be dead."""

    def __init__(self, endpoint: Endpoint, *, run: Runner = process.run) -> None:
        self.endpoint = endpoint
        self._run = run

    def exec(self, argv: Sequence[str], *, timeout: float, on_line: Callable[[str], None] | None = None) -> Completed:
        """Run a command without stdin; its output and exit code, 128+n if signal n ended it.

        A command that may have been started is never started again. Raises GuestUnreachable, ExecTimeout.
        """
        return self.call(argv, timeout=timeout, on_line=on_line)

    def call(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: Path | None = None,
        stdout_to: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run a command with a file as its stdin or stdout."""
        for last in (False, True):
            self.connect()
            nonce = secrets.token_hex(12)
            line = remote.wrapped(argv, nonce=nonce, limit=timeout)
            try:
                done = self._run(
                    self._argv("-T", "-o", "ControlMaster=no", command=line),
                    timeout=timeout + remote.KILL_AFTER + GRACE,
                    stdin=stdin,
                    stdout_to=stdout_to,
                    on_line=on_line,
                )
            except process.ProcessTimeout as expired:
                # The command may have ended, and left a child behind that keeps the output open.
                done = expired.completed
                if remote.read(done.stderr, nonce).code is None:
                    raise _timeout(argv, timeout, done.last_words()) from expired
            answer = remote.read(done.stderr, nonce)
            if answer.begun or done.code != SSH_FAILED or last:
                break
            # The guest has been restarted behind the master's back: the command never ran. "stop", for if the master
            # works after all, the sessions of other polis processes go on.
            self._end_master("stop")
        return _completed(argv, timeout, done, answer)

    def connect(self) -> None:
        """Make sure that a master is there; raises GuestUnreachable with ssh's words."""
        from filelock import FileLock, Timeout

        endpoint = self.endpoint
        if _listening(endpoint.control):
            return
        try:
            # Of two masters started at once, one would stay behind without a socket.
            with FileLock(endpoint.log.with_suffix(".lock"), timeout=HANDSHAKE, mode=0o600):
                if not _listening(endpoint.control):
                    endpoint.control.unlink(missing_ok=True)
                    self._start_master()
        except Timeout as error:
            raise GuestUnreachable("another polis is connecting to the guest") from error
        except OSError as error:
            raise HostUnsuitable("the connection to the guest cannot be set up", cause=str(error)) from error

    def disconnect(self) -> None:
        """End the master, if there is one, with all its sessions."""
        self._end_master("exit")

    def interactive_argv(self, argv: Sequence[str]) -> list[str]:
        """Return the command line of a shell, or a command, on the caller's terminal."""
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        line = shlex.join(argv) if argv else ""
        return self._argv("-t" if terminal else "-T", "-o", "ControlMaster=no", command=line)

    def _end_master(self, how: str) -> None:
        if _listening(self.endpoint.control):
            # A master that does not answer is unreachable once its socket is gone, and ends by itself.
            with contextlib.suppress(process.ProcessTimeout):
                self._run(self._argv("-O", how), timeout=10)
        self.endpoint.control.unlink(missing_ok=True)

    def _start_master(self) -> None:
        master = self._argv("-M", "-N", "-f", "-o", f"ControlPersist={PERSIST}")
        log = self.endpoint.log
        argv = ["sh", "-c", 'umask 077; exec "$@" </dev/null >"$0" 2>&1', str(log), *master]
        try:
            done = self._run(argv, timeout=HANDSHAKE)
        except process.ProcessTimeout as error:
            raise GuestUnreachable("the guest does not answer", cause=_words(log)) from error
        if not done.ok:
            raise GuestUnreachable("the guest does not answer", cause=_words(log) or done.last_words())

    def _argv(self, *flags: str, command: str = "") -> list[str]:
        ssh = [host.require("ssh"), *flags, *options(self.endpoint)]
        return [*ssh, "--", LOOPBACK, *([command] if command else [])]


def _completed(argv: Sequence[str], timeout: float, done: Completed, answer: remote.Answer) -> Completed:
    code = done.code if answer.code is None else answer.code
    if answer.code is None and (done.code == SSH_FAILED or done.code < 0):
        words = "\n".join(answer.stderr.strip().splitlines()[-3:])
        raise GuestUnreachable("the connection to the guest broke off", cause=words or "ssh said nothing")
    if code in _TIMED_OUT and done.seconds >= timeout:
        raise _timeout(argv, timeout, answer.stderr)
    return process.Completed(tuple(argv), code, done.stdout, answer.stderr, done.seconds)


def _timeout(argv: Sequence[str], timeout: float, words: str) -> ExecTimeout:
    last = "\n".join(words.strip().splitlines()[-3:])
    return ExecTimeout(f"{argv[0]} did not end within {timeout:g} s in the guest", cause=last)


def _listening(control: Path) -> bool:
    """Return whether a master answers; the socket of a killed one stays behind as a file."""
    if not control.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(control))
        except OSError:
            return False
    return True


def _words(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-3:])
