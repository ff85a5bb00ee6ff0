"""The QMP client against a server in this process."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis.drivers.qemu import qmp
from polis.drivers.qemu.qmp import Qmp, QmpError

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@dataclass
class Server:
    """Sends a greeting, then one prepared answer for each request; notes the requests."""

    path: Path
    listener: socket.socket
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, answers: list[bytes]) -> Path:
        threading.Thread(target=self._run, args=(answers,), daemon=True).start()
        return self.path

    def _run(self, answers: list[bytes]) -> None:
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(answers[0])
            for answer in answers[1:]:
                self.seen.append(json.loads(lines.readline()))
                connection.sendall(answer)
            lines.read()


@pytest.fixture
def serve() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="q") as directory:
        path = Path(directory) / "s"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(1)

        yield Server(path, listener)
        listener.close()


def test_events_between_request_and_answer_are_skipped(serve: Server) -> None:
    event = b'{"event": "RESET", "data": {}}\r\n'
    path = serve([GREETING, b'{"return": {}}\n', event + b'{"return": {"status": "run', b'ning"}}\n'])
    with Qmp(path) as client:
        client._socket.sendall(b'{"execute": "x"}\n')  # makes the server send the second half of the answer
        assert client.execute("query-status") == {"status": "running"}


def test_commands(serve: Server) -> None:
    path = serve([GREETING, b'{"return": {}}\n', b'{"return": {}}\n'])
    qmp.power_down(path)
    assert [request["execute"] for request in serve.seen] == ["qmp_capabilities", "system_powerdown"]


def test_status(serve: Server) -> None:
    path = serve([GREETING, b'{"return": {}}\n', b'{"return": {"status": "io-error"}}\n'])
    assert qmp.status(path) == "io-error"


def test_arguments_and_refusal(serve: Server) -> None:
    refusal = b'{"error": {"class": "GenericError", "desc": "no such thing"}}\n'
    path = serve([GREETING, b'{"return": {}}\n', refusal])
    with Qmp(path) as client, pytest.raises(QmpError, match="device_del: no such thing"):
        client.execute("device_del", id="x")
    assert serve.seen[-1] == {"execute": "device_del", "arguments": {"id": "x"}}


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"220 smtp\r\n", "not JSON"),
        (b"[]\n", "not an object"),
        (b'{"hello": 1}\n', "did not greet"),
        (b"x" * (qmp.LINE_LIMIT + 1), "no end"),
    ],
)
def test_something_else_listens(serve: Server, greeting: bytes, words: str) -> None:
    with pytest.raises(QmpError, match=words):
        Qmp(serve([greeting]))


def test_a_stopped_qemu_does_not_answer(serve: Server) -> None:
    with pytest.raises(QmpError, match=r"time|answer"):
        Qmp(serve([b""]), timeout=0.1)


def test_a_qemu_that_ends_in_mid_answer(serve: Server) -> None:
    path = serve([GREETING, b'{"return": {}}\n'])
    with Qmp(path) as client:
        client._socket.shutdown(socket.SHUT_WR)
        with pytest.raises(QmpError):
            client.execute("quit")


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(QmpError, match="no answer"):
        Qmp(tmp_path / "none")
