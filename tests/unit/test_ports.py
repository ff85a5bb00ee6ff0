"""Ports of the loopback address."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from polis.drivers import ports
from polis.drivers.base import Forward
from polis.errors import HostUnsuitable


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        yield server


def test_a_port_in_use_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(HostUnsuitable, match=f"port {port} .* in use") as caught:
        ports.require_free([Forward(ports.free_port(), 80), Forward(port, 443)])
    assert str(port) in caught.value.hint


def test_a_free_port_is_accepted_twice() -> None:
    port = ports.free_port()
    ports.require_free([Forward(port, 80)])
    ports.require_free([Forward(port, 80)])


def test_a_privileged_port_has_its_own_words() -> None:
    error = ports.taken(80, OSError(errno.EACCES, "Permission denied"))
    assert "privileges" in error.message


def test_a_port_is_chosen_besides_others(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([5000, 5001, 5002])

    class Probe(socket.socket):
        def bind(self, address: object) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return ("127.0.0.1", next(drawn))

    monkeypatch.setattr(socket, "socket", Probe)
    assert ports.free_port(besides={5000, 5001}) == 5002


def test_a_port_is_kept_while_it_is_free(listener: socket.socket) -> None:
    kept = ports.free_port()
    assert ports.free_port(rather=kept) == kept
    assert ports.free_port(rather=kept, besides={kept}) != kept
    taken = listener.getsockname()[1]
    assert ports.free_port(rather=taken) != taken


@pytest.mark.parametrize(("banner", "expected"), [(b"SSH-2.0-x\r\n", True), (b"HTTP/1.1", False), (b"", False)])
def test_greeting(listener: socket.socket, banner: bytes, expected: bool) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(banner)

    thread = threading.Thread(target=answer)
    thread.start()
    assert ports.greets_as_ssh(listener.getsockname()[1], timeout=5) is expected
    thread.join()


def test_an_accepted_connection_alone_is_no_greeting(listener: socket.socket) -> None:
    assert not ports.greets_as_ssh(listener.getsockname()[1], timeout=0.1)
