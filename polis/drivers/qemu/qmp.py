"""A small synchronous client of QEMU's control socket (QMP: one JSON object a line)."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

LINE_LIMIT = 1024 * 1024
"""Bytes of one message after which the other side is not believed to be QEMU."""


class QmpError(Exception):
    """QEMU does not answer, refuses, or is not QEMU."""


class Qmp:
    """One connection; a context manager. QEMU serves one client at a time, so keep it short.

    Every call answers within `timeout` seconds or raises QmpError.
    """

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            deadline = time.monotonic() + timeout
            if "QMP" not in self._message(deadline):
                raise QmpError(f"{path} did not greet like QEMU")  # noqa: TRY301 -- closed below
            self.execute("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise QmpError(f"no answer from QEMU on {path}: {error}") from error
        except QmpError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return its result; events that arrive in between are skipped."""
        deadline = time.monotonic() + self._timeout
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while True:
                answer = self._message(deadline)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise QmpError(f"{command}: {answer['error'].get('desc', answer['error'])}")
        except OSError as error:
            raise QmpError(f"{command}: {error}") from error

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError("QEMU did not answer in time")
            self._socket.settimeout(left)
            chunk = self._socket.recv(65536)
            if not chunk:
                raise QmpError("QEMU closed its control socket")
            self._buffer += chunk
            if len(self._buffer) > LINE_LIMIT:
                raise QmpError("the message has no end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise QmpError("the answer is not JSON") from error
        if not isinstance(message, dict):
            raise QmpError("the answer is not an object")
        return message


def power_down(path: Path) -> None:
    """Press the power button: the guest shuts down if it listens."""
    with Qmp(path) as qmp:
        qmp.execute("system_powerdown")


def quit_now(path: Path) -> None:
    """End QEMU at once, flushing its disks."""
    with Qmp(path) as qmp:
        qmp.execute("quit")


def status(path: Path, *, timeout: float = 2.0) -> str:
    """Return QEMU's run state: `running`, `paused`, `io-error` (the host's disk is full) and others."""
    with Qmp(path, timeout=timeout) as qmp:
        answer = qmp.execute("query-status")
    return str(answer.get("status", "")) if isinstance(answer, dict) else ""


def resume(path: Path) -> None:
    """Let a paused guest go on."""
    with Qmp(path) as qmp:
        qmp.execute("cont")
