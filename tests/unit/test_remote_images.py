"""Pulling in the guest, against a stand-in for the Docker Engine on a Unix socket."""

from __future__ import annotations

import http.server
import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from polis.guest.remote import alone, engine, images


@dataclass
class Images:
    """What the engine has, and what it was asked to pull."""

    present: set[str] = field(default_factory=set)
    pulled: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        reference = unquote(self.path).removeprefix("/images/").removesuffix("/json")
        there = reference in self.server.images.present
        self._answer(200 if there else 404, {"Id": "sha256:1"} if there else {"message": "No such image"})

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        reference = f"{query['fromImage'][0]}:{query['tag'][0]}"
        if reference in self.server.images.refused:
            self._answer(200, {"error": "received unexpected HTTP status: 503"})
            return
        self.server.images.pulled.append(reference)
        self.server.images.present.add(reference)
        self._answer(200, {"status": "Download complete"})

    def address_string(self) -> str:
        return "a Unix socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the library's name
        return

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    images: Images


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    monkeypatch.setattr(alone, "take_over", lambda: None)
    with tempfile.TemporaryDirectory(prefix="polis-engine-") as directory:  # a socket's path must be short
        path = str(Path(directory) / "docker.sock")
        with _Server(path, _Handler) as server:
            server.images = Images()
            monkeypatch.setattr(engine.Engine.__init__, "__defaults__", (path, 20.0))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield server.images
            server.shutdown()
            thread.join()


def pull(*references: str) -> dict[str, Any]:
    return images.pull({"references": list(references), "silence": 5}, lambda _news: None)


def test_an_image_that_is_there_is_not_asked_of_the_registry(there: Images) -> None:
    there.present = {"registry/a:1"}
    there.refused = {"registry/a:1"}
    assert pull("registry/a:1", "registry/b:1") == {"pulled": ["registry/a:1", "registry/b:1"]}
    assert there.pulled == ["registry/b:1"]


def test_the_first_failure_ends_it_with_what_was_pulled_before(there: Images) -> None:
    there.refused = {"registry/b:1"}
    assert pull("registry/a:1", "registry/b:1", "registry/c:1") == {
        "pulled": ["registry/a:1"],
        "failed": {"reference": "registry/b:1", "error": "received unexpected HTTP status: 503"},
    }
    assert there.pulled == ["registry/a:1"]
