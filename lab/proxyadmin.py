"""Orders to the fault proxy: a few requests over HTTP on a port of their own, and the client that sends them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Protocol

from lab import accesslog, httpwire
from lab.errors import LabError
from lab.faults import Fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from lab.accesslog import LogEntry

TIMEOUT = 5.0
"""Seconds a client waits for the proxy, which answers at once or is gone."""


class Orderable(Protocol):
    """What orders act on; the proxy."""

    fault: Fault

    def set_fault(self, fault: Fault) -> None:
        """Change the fault."""

    def read_log(self) -> bytes:
        """Return the access log."""

    def clear_log(self) -> None:
        """Empty the access log."""


async def answer_order(proxy: Orderable, reader: asyncio.StreamReader) -> bytes:
    """Read one order, carry it out, and return the whole response; raises BadMessage if it is not HTTP."""
    head = await httpwire.read_head(reader)
    if head is None:
        return b""
    body = b"".join([piece async for piece in httpwire.body_of_request(reader, head)])
    try:
        status, content = "200 OK", _carry_out(proxy, " ".join(head.first[:2]), body)
    except LabError as error:
        status, content = "400 Bad Request", json.dumps({"error": str(error)}).encode()
    fields = [("Content-Length", str(len(content))), ("Connection", "close")]
    return httpwire.render(f"HTTP/1.1 {status}", fields) + content


def _carry_out(proxy: Orderable, order: str, body: bytes) -> bytes:
    def put_fault() -> None:
        try:
            content = json.loads(body)
        except ValueError:
            raise LabError("a fault is a JSON object") from None
        proxy.set_fault(Fault.from_json(content))

    changes: dict[str, Callable[[], None]] = {
        "GET /fault": lambda: None,
        "PUT /fault": put_fault,
        "DELETE /fault": lambda: proxy.set_fault(Fault()),
        "DELETE /log": proxy.clear_log,
    }
    if order == "GET /log":
        return proxy.read_log()
    if order not in changes:
        raise LabError(f"unknown order: {order}")
    changes[order]()
    return json.dumps(proxy.fault.to_json()).encode()


class ProxyControl:
    """The other end: sends orders to a proxy that runs in another process."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def fault(self) -> dict[str, Any]:
        """Return what is set: mode, match, count and the number of hits so far."""
        found: dict[str, Any] = json.loads(self._order("GET", "/fault"))
        return found

    def set_fault(self, mode: str, *, match: str | None = None, count: int | None = None) -> None:
        """Set a fault; raises LabError if there is none of that name, or `match` is no regular expression."""
        self._order("PUT", "/fault", json.dumps({"mode": mode, "match": match, "count": count}).encode())

    def heal(self) -> None:
        """Let requests through again."""
        self._order("DELETE", "/fault")

    def access_log(self) -> list[LogEntry]:
        """Return every request since the log was last cleared, in the order in which they ended."""
        return accesslog.parse(self._order("GET", "/log").decode().splitlines(keepends=True))

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self._order("DELETE", "/log")

    def _order(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._base + path, data=body, method=method)
        # The environment's proxies are for the outside world, and this is the machine itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                content: bytes = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise LabError(json.loads(error.read())["error"]) from None
        except OSError as error:
            raise LabError(f"the fault proxy does not answer on {self._base}: {error}") from None
        return content
