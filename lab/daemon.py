"""A server in the background: started once, known by its pid file, and ended by that process id only.

A pid alone proves nothing, for numbers are used again after a reboot or a crash. The file also holds the command
line, and only a living process with exactly that command line is ours; anything else is left alone.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
START_LIMIT = 120.0
"""Seconds a server may take until it answers."""
STOP_LIMIT = 10.0
"""Seconds between SIGTERM and SIGKILL."""
POLL = 0.02
TAIL_LINES = 10

# The shell starts the server, tells its pid and ends: the server is nobody's child, so that no caller has to reap it.
LAUNCH = '"$@" >>"$LAB_OUTPUT" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True)
class Daemon:
    """One server: `name` for messages and files, `directory` for its pid file and its output."""

    name: str
    directory: Path

    @property
    def _pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def output(self) -> Path:
        """The file that takes the server's output."""
        return self.directory / f"{self.name}.out"

    def process(self) -> psutil.Process | None:
        """Return the running server, or None: no file, a file of a dead process, or one reused by another."""
        record = self._record()
        if record is None:
            return None
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(record["pid"])
            if process.cmdline() == record["argv"]:
                return process
        return None

    def ports(self) -> dict[str, int]:
        """Return the ports it was started with, by name; empty unless it runs."""
        record = self._record()
        return dict(record["ports"]) if record is not None and self.process() is not None else {}

    def argv(self) -> list[str] | None:
        """Return the command line that it runs with, or None."""
        process = self.process()
        return process.cmdline() if process is not None else None

    def start(
        self,
        argv: Sequence[str],
        *,
        ports: Mapping[str, int],
        env: Mapping[str, str],
        answers: Callable[[], bool],
        via: Sequence[str] = (),
    ) -> None:
        """Start the server and return when `answers()`; raises LabError if a port is taken or it ends early.

        `via` are words before its own command line, of programs that become it (by exec).
        """
        for port in ports.values():
            require_free(port, what=self.name)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.output.write_bytes(b"")
        launched = subprocess.run(
            ["/bin/sh", "-c", LAUNCH, "sh", *via, *argv],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is for the command, not for its servers
            env={**env, "LAB_OUTPUT": str(self.output)},
        )
        pid = int(launched.stdout)
        record = {"pid": pid, "argv": list(argv), "ports": dict(ports)}
        temporary = self._pid_file.with_suffix(".new")
        temporary.write_text(json.dumps(record))
        temporary.replace(self._pid_file)
        self._wait_until(answers, pid=pid)

    def stop(self) -> None:
        """End the server, gently first; does nothing if it does not run."""
        process = self.process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
                if not _ends(process.pid):
                    process.kill()
                    _ends(process.pid)
        self._pid_file.unlink(missing_ok=True)

    def _record(self) -> dict[str, Any] | None:
        try:
            record = json.loads(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return record if isinstance(record, dict) and {"pid", "argv", "ports"} <= record.keys() else None

    def _wait_until(self, answers: Callable[[], bool], *, pid: int) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not answers():
            if not _alive(pid) or time.monotonic() > deadline:
                ending = "does not answer" if _alive(pid) else "ended at once"
                tail = self.output.read_text(errors="replace").splitlines()[-TAIL_LINES:]
                self.stop()
                lines = [f"{self.name} {ending}; its last lines:", *(f"  {line}" for line in tail)]
                raise LabError("\n".join(lines))
            time.sleep(POLL)


def _ends(pid: int) -> bool:
    """Wait until the process has ended; return False if STOP_LIMIT passes first."""
    deadline = time.monotonic() + STOP_LIMIT
    while _alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _alive(pid: int) -> bool:
    # Not psutil's wait(): to that a zombie lives, and it is up to the machine's first process when to bury it.
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def free_port() -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, *, what: str) -> None:
    """Raise LabError, naming the holder where it can be seen, if somebody else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LabError(f"{what} needs port {port} on {HOST}: {error.strerror}{_holder(port)}") from None


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.pid is None:
                continue
            if connection.laddr.port == port:
                return f" (process {connection.pid}, {psutil.Process(connection.pid).name()})"
    return ""
