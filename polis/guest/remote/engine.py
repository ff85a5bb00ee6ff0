"""A client of the Docker Engine's HTTP interface on its Unix socket.

The interface is versioned and answers in JSON; the command line's texts are neither, and starting it costs a second
on an emulated processor.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

SOCKET = "/var/run/docker.sock"
PROJECT = "polis"
"""The Compose project of the workspace's services."""


class EngineError(Exception):
    """The engine does not answer, or answers with an error; `status` is 0 if it does not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineSilent(EngineError):
    """The engine took the request and then said nothing for as long as we listen."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0, f"no word for {seconds:.0f} s (timeout)")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """One engine, one request at a time. `timeout` is seconds of silence."""

    def __init__(self, path: str = SOCKET, timeout: float = 20.0) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON answer of a GET. Raises EngineError."""
        return self.call("GET", path, **query)

    def find(self, path: str, **query: Any) -> Any:
        """Return the JSON answer of a GET, or None if there is no such thing."""
        try:
            return self.get(path, **query)
        except EngineError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def call(self, method: str, path: str, **query: Any) -> Any:
        """Return the JSON answer of a request, None for an empty one. Raises EngineError."""
        connection, response = self.open(method, path, **query)
        try:
            data = response.read()
            return json.loads(data) if data.strip() else None
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"the Docker engine broke off: {error}") from error
        except (ValueError, RecursionError) as error:
            raise EngineError(0, f"the Docker engine's answer makes no sense: {error}") from error
        finally:
            response.close()
            connection.close()

    def open(
        self, method: str, path: str, *, body: BinaryIO | None = None, **query: Any
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request, with a tar if there is a `body` (an open file), and return the open answer, for streams.

        Raises EngineError.
        """
        connection = _Connection(self._path, self._timeout)
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        try:
            headers = {}
            if body is not None:
                length = os.fstat(body.fileno()).st_size
                headers = {"Content-Type": "application/x-tar", "Content-Length": str(length)}
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            if response.status < http.client.BAD_REQUEST:
                return connection, response
            text = response.read().decode("utf-8", "replace")
        except TimeoutError as error:
            connection.close()
            raise EngineSilent(self._timeout) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise EngineError(0, f"the Docker engine does not answer: {error}") from error
        connection.close()
        raise EngineError(response.status, _message(text) or f"HTTP status {response.status}, without a word")

    def listed(self) -> list[dict[str, Any]]:
        """Return the containers of the workspace's project as a list shows them. Raises EngineError."""
        label = json.dumps({"label": [f"com.docker.compose.project={PROJECT}"]})
        found: list[dict[str, Any]] = self.get("/containers/json", all="1", filters=label)
        return found

    def containers(self) -> list[dict[str, Any]]:
        """Return the inspected containers of the workspace's project. Raises EngineError."""
        found = [self.find(f"/containers/{entry['Id']}/json") for entry in self.listed()]
        return [container for container in found if container is not None]


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return text.strip()[:500]
