"""A guest's file system below a directory of the host, and a Docker engine that answers anything."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from polis.guest.remote import alone, engine, places

FILES = {
    "MARKER": "state/workspace.json",
    "SENTINEL": "state/provisioned.json",
    "MISHAP": "state/failure.json",
    "CONFIGURED": "home/configured.json",
    "PREVIOUS": "home/previous.json",
    "CLOUD_STATUS": "run/status.json",
    "CLOUD_RESULT": "run/result.json",
    "CLOUD_LOG": "run/output.log",
}
DIRECTORIES = {
    "HOME": "home",
    "STATE": "state",
    "INCOMING": "state/incoming",
    "RELEASES": "home/releases",
    "CURRENT": "home/current",
}


@contextlib.contextmanager
def guest_root() -> Iterator[Path]:
    """Let the guest's modules see a fresh directory instead of this machine's own places."""
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory, pytest.MonkeyPatch.context() as patch:
        root = Path(directory)
        for name, place in {**FILES, **DIRECTORIES}.items():
            patch.setattr(places, name, root / place)
        for place in ("run", "home/releases/old/.polis", "state/incoming"):
            (root / place).mkdir(parents=True)
        (root / "home/current").symlink_to("releases/old")
        patch.setattr(alone, "take_over", lambda: None)
        yield root


@contextlib.contextmanager
def docker_that_sends(answers: list[bytes]) -> Iterator[None]:
    """Let each request to the engine be answered by the next of some bytes, and then by silence."""
    rest = list(answers)
    peers: list[socket.socket] = []

    def connect(connection: engine._Connection) -> None:
        if not rest:
            raise ConnectionRefusedError("nobody is there")
        ours, peer = socket.socketpair()
        ours.settimeout(5)
        connection.sock = ours
        peer.setblocking(False)
        with contextlib.suppress(OSError):
            peer.send(rest.pop(0))
        peer.shutdown(socket.SHUT_WR)
        peers.append(peer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._Connection, "connect", connect)
        try:
            yield
        finally:
            for peer in peers:
                peer.close()


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )
