"""Stand-ins for the Docker Engine on a Unix socket, for what talks to it in the guest."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polis.guest.remote import engine


class Handler(http.server.BaseHTTPRequestHandler):
    """One request of the engine's clients; subclasses `get`, `post` and `delete` from `images`.

    A method that a subclass has not is refused as a server refuses it: 405.
    """

    server: _Server

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post()

    def do_DELETE(self) -> None:
        self.delete()

    def get(self) -> None:
        self.refuse()

    def post(self) -> None:
        self.refuse()

    def delete(self) -> None:
        self.refuse()

    def refuse(self) -> None:
        """Say that this engine has no such method."""
        self.answer(405, {"message": f"{self.command} is not allowed here"})

    @property
    def images(self) -> Any:
        """What the engine has."""
        return self.server.images

    def answer(self, status: int, content: bytes | dict[str, Any]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "a Unix socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the library's name
        return


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    images: Any


@contextlib.contextmanager
def serving(handler: type[Handler], images: Any) -> Iterator[None]:
    """Let the guest's modules talk to this engine."""
    with (
        tempfile.TemporaryDirectory(prefix="polis-engine-") as directory,  # a socket's path must be short
        pytest.MonkeyPatch.context() as patch,
    ):
        path = str(Path(directory) / "docker.sock")
        with _Server(path, handler) as server:
            server.images = images
            patch.setattr(engine.Engine.__init__, "__defaults__", (path, 20.0))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
