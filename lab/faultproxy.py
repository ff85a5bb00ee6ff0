"""An HTTP proxy before the registry that fails on demand, in the ways real registries do.

Clients see it on one loopback port; a second one takes orders (`GET`, `PUT`, `DELETE /fault`, `GET`, `DELETE /log`).
Every request is written to an access log, which tests read to prove what was pulled and what was not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lab import httpwire
from lab.accesslog import AccessLog, LogEntry
from lab.faults import Fault, Mode
from lab.httpwire import BadMessage, Head, TlsGreeting
from lab.proxyadmin import answer_order

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"
RETRY_AFTER = 2
"""Seconds a throttled client is told to wait."""

REFUSALS = {
    Mode.UNAVAILABLE: ("503 Service Unavailable", "UNAVAILABLE", []),
    Mode.THROTTLED: ("429 Too Many Requests", "TOOMANYREQUESTS", [("Retry-After", str(RETRY_AFTER))]),
    Mode.UNAUTHORIZED: ("401 Unauthorized", "UNAUTHORIZED", [("WWW-Authenticate", 'Basic realm="lab"')]),
}
BAD_GATEWAY = ("502 Bad Gateway", "UNAVAILABLE", list[tuple[str, str]]())


class FaultProxy:
    """The proxy as an object: `start` binds both ports, `stop` ends every connection."""

    def __init__(self, *, origin_port: int, log: Path) -> None:
        self.fault = Fault()
        self._origin_port = origin_port
        self._log_path = log
        self._log = AccessLog(log)
        self._servers: list[asyncio.Server] = []
        self._clients: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    async def start(self, *, port: int, admin_port: int) -> tuple[int, int]:
        """Listen on both ports (0: any free one) and return them."""
        for wanted, handler in ((port, self._serve_client), (admin_port, self._serve_admin)):
            self._servers.append(await asyncio.start_server(handler, HOST, wanted, limit=httpwire.CHUNK))
        first, second = (server.sockets[0].getsockname()[1] for server in self._servers)
        return first, second

    async def stop(self) -> None:
        """Stop listening, cut what is open, and wait until every handler has ended."""
        for server in self._servers:
            server.close()
        self.cut_all()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        self._log.close()

    def set_fault(self, fault: Fault) -> None:
        """Change the fault. Requests that hang are let go, and an outage takes open connections with it."""
        hung = self.fault.mode is Mode.HANG
        self.fault = fault
        if hung or fault.hits_connections:
            self.cut_all()

    def cut_all(self) -> None:
        """Reset every client's connection."""
        for writer in list(self._clients):
            cut(writer)

    def read_log(self) -> bytes:
        """Return the access log as it stands."""
        return self._log_path.read_bytes()

    def clear_log(self) -> None:
        """Empty the access log."""
        self._log_path.write_bytes(b"")

    async def _serve_admin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(BadMessage, ConnectionError):
            writer.write(await answer_order(self, reader))
            await writer.drain()
        writer.close()

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs a connection's handler in a task
        self._handlers.add(task)
        self._clients.add(writer)
        try:
            if self.fault.hits_connections:
                self._record("-", "-", status=0, sent=0, mode=self.fault.hit())
                cut(writer)
            else:
                await self._serve_requests(reader, writer)
        except TlsGreeting:
            writer.write(httpwire.render("HTTP/1.0 400 Bad Request", [("Connection", "close")]))  # as a registry does
        except (BadMessage, ConnectionError):
            cut(writer)  # there is no way to answer, and what was sent may end anywhere
        except asyncio.CancelledError:
            cut(writer)  # by stop() and nobody else; asyncio takes one that goes on for a bug of the handler
        finally:
            self._clients.discard(writer)
            self._handlers.discard(task)
            writer.close()

    async def _serve_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await httpwire.read_head(reader)) is not None:
            method, target, _version = head.first
            mode = self.fault.take(method, target)
            if mode is Mode.OUTAGE:
                self._record(method, target, status=0, sent=0, mode=mode)
                cut(writer)
                return
            if mode is Mode.HANG:
                self._record(method, target, status=0, sent=0, mode=mode)
                while await reader.read(httpwire.CHUNK):
                    pass  # until the client gives up, or set_fault() or stop() lets it go
                return
            if head.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if mode in REFUSALS:
                keep = await self._refuse(head, reader, writer, mode=mode)
            else:
                keep = await self._relay(head, reader, writer, mode=mode)
            if not keep or head.closes:
                return

    async def _refuse(
        self,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        mode: Mode,
    ) -> bool:
        """Answer in the registry's own form of error; return whether the connection can go on."""
        async for _ in httpwire.body_of_request(reader, head):
            pass
        status, code, extra = REFUSALS.get(mode, BAD_GATEWAY)
        body = f'{{"errors":[{{"code":"{code}","message":"lab: {mode.value}"}}]}}\n'.encode()
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *extra]
        method, target, _version = head.first
        payload = b"" if method == "HEAD" else body
        self._record(method, target, status=int(status[:3]), sent=len(payload), mode=mode)
        writer.write(httpwire.render(f"HTTP/1.1 {status}", fields) + payload)
        await writer.drain()
        return True

    async def _relay(
        self,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        mode: Mode,
    ) -> bool:
        """Pass the request on, over a connection of its own, and the response back."""
        try:
            upstream, out = await asyncio.open_connection(HOST, self._origin_port, limit=httpwire.CHUNK)
        except OSError:
            return await self._refuse(head, reader, writer, mode=Mode.NONE)
        try:
            out.write(head.forwarded(("Connection", "close")))
            async for piece in httpwire.body_of_request(reader, head):
                out.write(piece)
                await out.drain()
            response = await httpwire.read_head(upstream)
            while response is not None and int(response.first[1]) < httpwire.INFORMATIONAL:
                response = await httpwire.read_head(upstream)
            if response is None:
                raise BadMessage("the registry closed the connection")
            return await self._respond(head, response, upstream, writer, mode=mode)
        finally:
            out.close()

    async def _respond(
        self,
        head: Head,
        response: Head,
        upstream: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        mode: Mode,
    ) -> bool:
        method, target, _version = head.first
        status = int(response.first[1])
        endless = method != "HEAD" and response.length is None and not response.chunked
        writer.write(response.forwarded(*([("Connection", "close")] if endless else [])))
        limit = (response.length or 0) // 2 if mode is Mode.RESET else None
        sent = 0
        try:
            async for piece in httpwire.body_of_response(upstream, response, method=method):
                data = spoil(piece) if mode is Mode.CORRUPT and not sent else piece
                if limit is not None and sent + len(data) >= limit:
                    writer.write(data[: limit - sent])
                    sent = limit
                    break
                # Nothing is awaited between a body's last bytes and its line in the log: who has read the one
                # to its end finds the other.
                if sent:
                    await writer.drain()
                writer.write(data)
                sent += len(data)
        finally:
            self._record(method, target, status=status, sent=sent, mode=mode)
        if limit is not None:
            # A reset discards what has not left this process, and the client shall get the half it was promised.
            writer.transport.set_write_buffer_limits(high=0)
            await writer.drain()
            cut(writer)
            return False
        await writer.drain()
        return not endless

    def _record(self, method: str, path: str, *, status: int, sent: int, mode: Mode) -> None:
        now = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
        self._log.add(LogEntry(now, method, path, status, sent, mode.value))


def spoil(piece: bytes) -> bytes:
    """Return `piece` with its first byte altered."""
    return bytes([piece[0] ^ 0xFF]) + piece[1:]


def cut(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset instead of an orderly close."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def serve(*, origin_port: int, port: int, admin_port: int, log: Path) -> None:
    """Run a proxy until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    proxy = FaultProxy(origin_port=origin_port, log=log)
    await proxy.start(port=port, admin_port=admin_port)
    await ended.wait()
    await proxy.stop()


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m lab.faultproxy`: the proxy as a process of its own, as `lab/world.py` starts it."""
    parser = argparse.ArgumentParser(prog="lab.faultproxy", description=main.__doc__)
    for name in ("origin-port", "port", "admin-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    asyncio.run(serve(**vars(parser.parse_args(argv))))


if __name__ == "__main__":
    main()
