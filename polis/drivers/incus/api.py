"""The server's own interface (HTTP with JSON), for what the client cannot do: conditional writes.

`incus query` and `lxc query` send no `If-Match`. Each request has a connection of its own, so that several threads may
ask; a local server answers in milliseconds. A failure is a ToolFailure with the table's meaning, as if the client had
met it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Protocol

from polis.drivers.incus import table
from polis.drivers.incus.failures import Failure, ToolFailure
from polis.errors import HostUnsuitable

if TYPE_CHECKING:
    from polis.drivers.incus.endpoint import Endpoint

SIZE_LIMIT = 64 * 1024**2
"""Bytes of an answer: thousands of records."""


@dataclass(frozen=True)
class Answer:
    """What the server said: the status of HTTP, the content's tag, the content, or its words of refusal."""

    status: int
    tag: str
    content: Any
    refusal: str = ""


class Transport(Protocol):
    """Sends one request, and returns the answer whatever its status; raises ToolFailure, HostUnsuitable."""

    def request(  # noqa: D102 -- see above
        self, verb: str, path: str, content: Any = None, *, tag: str = "", limit: float
    ) -> Answer: ...


class Api:
    """Talks to one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def request(self, verb: str, path: str, content: Any = None, *, tag: str = "", limit: float) -> Answer:
        """Send one request and return the answer, whatever its status; `limit` seconds for each step of it."""
        headers = {"Content-Type": "application/json", "User-Agent": "polis", "Connection": "close"}
        body = None if content is None else json.dumps(content).encode()
        connection = self._connection(limit)
        try:
            connection.request(verb, path, body=body, headers=headers | ({"If-Match": tag} if tag else {}))
            response = connection.getresponse()
            return _answer(verb, response)
        except ssl.SSLError as error:
            raise _failed(verb, *_tls(error)) from error
        except (OSError, HTTPException) as error:
            raise self._unreached(verb, error, limit) from error
        finally:
            connection.close()

    def _connection(self, limit: float) -> HTTPConnection:
        at = self._endpoint
        return _Unix(at.socket, limit) if at.socket else _Tls(at, limit)

    def _unreached(self, verb: str, error: OSError | HTTPException, limit: float) -> ToolFailure:
        at = self._endpoint
        where = at.socket or f"{at.host}:{at.port}"
        if isinstance(error, TimeoutError):
            return ToolFailure(Failure(table.NO_ANSWER, verb, 1, f"no answer from {where} within {limit:.0f} s"))
        if at.socket and isinstance(error, PermissionError):
            return _failed(verb, "no-rights", f"connect: permission denied ({where})")
        said = error.strerror or str(error) if isinstance(error, OSError) else str(error) or type(error).__name__
        return _failed(verb, "daemon-down" if at.socket else "remote-away", f"{where}: {said}")


class _Unix(HTTPConnection):
    def __init__(self, path: str, limit: float) -> None:
        super().__init__("polis", timeout=limit)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Tls(HTTPConnection):
    def __init__(self, endpoint: Endpoint, limit: float) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=limit)
        self._endpoint = endpoint
        self._context, self._pinned = _context(endpoint)

    def connect(self) -> None:
        super().connect()
        secured = self._context.wrap_socket(self.sock, server_hostname=self._endpoint.host)
        self.sock = secured
        if self._pinned and secured.getpeercert(binary_form=True) != self._pinned:
            raise ssl.SSLCertVerificationError("the server's certificate is not the one that was added")


def _context(endpoint: Endpoint) -> tuple[ssl.SSLContext, bytes]:
    """Return how to talk TLS, and the certificate that the server must have (empty: one that the system trusts)."""
    context = ssl.create_default_context()
    # Their own certificates are for nobody's name and lack what strict checking asks of an authority.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    pinned, directory = b"", endpoint.directory
    try:
        with contextlib.suppress(FileNotFoundError):
            text = endpoint.certificate.read_text(encoding="ascii")
            pinned = ssl.PEM_cert_to_DER_cert(text)
            context.check_hostname = False
            context.load_verify_locations(cadata=pinned)
        with contextlib.suppress(FileNotFoundError):
            context.load_cert_chain(directory / "client.crt", directory / "client.key", password=_no_password)
    except (OSError, ValueError) as error:
        raise HostUnsuitable(f"a certificate in {directory} cannot be used", cause=str(error)) from error
    return context, pinned


def _no_password() -> str:
    raise ValueError("client.key is encrypted, and the record of a workspace is kept without asking for a password")


def _tls(error: ssl.SSLError) -> tuple[str, str]:
    said = f"tls: {error.reason or ''} {getattr(error, 'verify_message', '') or error}"
    expired = "expired" in said.lower() or "not yet valid" in said
    return ("certificate-expired" if expired else "certificate-unknown"), " ".join(said.split())


def _answer(verb: str, response: HTTPResponse) -> Answer:
    data = response.read(SIZE_LIMIT + 1)
    try:
        document = json.loads(data) if len(data) <= SIZE_LIMIT else None
    except (ValueError, RecursionError) as error:
        raise ToolFailure(Failure(table.GARBLED, verb, response.status, str(error))) from error
    if not isinstance(document, dict):
        raise ToolFailure(Failure(table.GARBLED, verb, response.status, "not an answer of its interface"))
    refusal = str(document.get("error") or "") if response.status >= 400 else ""  # noqa: PLR2004 -- HTTP
    return Answer(response.status, response.headers.get("ETag", ""), document.get("metadata"), refusal)


def _failed(verb: str, row: str, words: str) -> ToolFailure:
    return ToolFailure(Failure(table.named(row), verb, 1, words))
