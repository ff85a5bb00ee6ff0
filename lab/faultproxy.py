"""A proxy before the registry and the mirror that fails on demand, in the ways real ones do.

Clients see three loopback ports, the registry by HTTPS and the mirror's files by HTTP and by HTTPS; a fourth one takes
orders (`GET`, `PUT`, `DELETE /fault`, `GET`, `DELETE /log`). Every request is written to an access log, which tests
read to prove what was downloaded and what was not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lab import faults, httpwire
from lab.accesslog import AccessLog, LogEntry
from lab.channel import Channel
from lab.faults import Fault, Mode
from lab.fileorigin import FileOrigin
from lab.httpwire import BadMessage, Head, TlsGreeting
from lab.proxyadmin import answer_order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

HOST = "127.0.0.1"
RETRY_AFTER = 2
"""Seconds a throttled client is told to wait."""
REGISTRY_PATH = "/v2/"


class Refusal(NamedTuple):
    """An answer instead of what was asked for: status line, code in the registry's own form, more header fields."""

    status: str
    code: str
    fields: tuple[tuple[str, str], ...] = ()


REFUSALS = {
    Mode.UNAVAILABLE: Refusal("503 Service Unavailable", "UNAVAILABLE"),
    Mode.THROTTLED: Refusal("429 Too Many Requests", "TOOMANYREQUESTS", (("Retry-After", str(RETRY_AFTER)),)),
    Mode.UNAUTHORIZED: Refusal("401 Unauthorized", "UNAUTHORIZED", (("WWW-Authenticate", 'Basic realm="lab"'),)),
    Mode.MISSING: Refusal("404 Not Found", "MANIFEST_UNKNOWN"),
}
BAD_GATEWAY = Refusal("502 Bad Gateway", "UNAVAILABLE")
ELSEWHERE = Refusal("404 Not Found", "UNSUPPORTED")


@dataclass(frozen=True, slots=True)
class Service:
    """What stands behind one of the ports: where, whether it is the registry, and how it is spoken to."""

    origin_port: int
    is_registry: bool
    context: ssl.SSLContext | None = None

    def serves(self, target: str) -> bool:
        """Return whether a path is of this service's kind."""
        return target.startswith(REGISTRY_PATH) == self.is_registry


class Ports(NamedTuple):
    """Where a proxy listens."""

    registry: int
    mirror: int
    admin: int
    secure_mirror: int = 0


class FaultProxy:
    """The proxy as an object: `start` binds all ports, `stop` ends every connection.

    `registry_port` is the real registry's, `root` the directory with the mirror's files, `certificate` a PEM file with
    the registry's certificate and its key. Clients, but nobody with orders, find the same ports on the address `also`.
    """

    def __init__(self, *, registry_port: int, root: Path, certificate: Path, log: Path, also: str = "") -> None:
        self.fault = Fault()
        self._registry_port = registry_port
        self._files = FileOrigin(root)
        self._certificate = certificate
        self._also = also
        self._log_path = log
        self._log = AccessLog(log)
        self._servers: list[asyncio.Server] = []
        self._clients: set[Channel] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    async def start(self, wanted: Ports) -> Ports:
        """Listen on all ports (0: any free one) and return them; raises OSError if one is taken."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._certificate)
        registry = Service(self._registry_port, is_registry=True, context=context)
        mirror = Service(await self._files.start(), is_registry=False)
        secure_mirror = replace(mirror, context=context)
        handlers: list[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]] = [
            partial(self._serve_client, registry),
            partial(self._serve_client, mirror),
            self._serve_admin,
            partial(self._serve_client, secure_mirror),
        ]
        ports = [await self._listen(handler, HOST, port) for port, handler in zip(wanted, handlers, strict=True)]
        for port, handler in zip(ports, handlers, strict=True):
            if self._also and handler != self._serve_admin:
                await self._listen(handler, self._also, port)
        return Ports(*ports)

    async def _listen(
        self, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], host: str, port: int
    ) -> int:
        server = await asyncio.start_server(handler, host, port, limit=httpwire.CHUNK)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening, cut what is open, and wait until every handler has ended."""
        for server in self._servers:
            server.close()
        self.cut_all()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._files.stop()
        self._log.close()

    def set_fault(self, fault: Fault) -> None:
        """Change the fault. Requests that hang are let go, and an outage takes open connections with it."""
        hung = self.fault.mode is Mode.HANG
        self.fault = fault
        if hung or fault.hits_connections:
            self.cut_all()

    def cut_all(self) -> None:
        """Reset every client's connection."""
        for channel in list(self._clients):
            channel.cut()

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

    async def _serve_client(
        self,
        service: Service,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs a connection's handler in a task
        channel = Channel(reader, writer)
        self._handlers.add(task)
        self._clients.add(channel)
        try:
            if self.fault.hits_connections:
                self._record("-", "-", status=0, sent=0, mode=self.fault.hit())
                channel.cut()
            else:
                if service.context is not None:
                    await channel.encrypt(service.context)
                await self._serve_requests(service, channel)
        except TlsGreeting:
            writer.write(httpwire.render("HTTP/1.0 400 Bad Request", [("Connection", "close")]))  # as a registry does
        except (BadMessage, OSError):
            channel.cut()  # there is no way to answer, and what was sent may end anywhere
        except asyncio.CancelledError:
            channel.cut()  # by stop() and nobody else; asyncio takes one that goes on for a bug of the handler
        finally:
            self._clients.discard(channel)
            self._handlers.discard(task)
            channel.close()

    async def _serve_requests(self, service: Service, channel: Channel) -> None:
        while (head := await httpwire.read_head(channel.reader)) is not None:
            method, target, _version = head.first
            # Nobody's fault: a request of the other kind has come to the wrong port, and counts as no hit.
            mode = self.fault.take(method, target) if service.serves(target) else Mode.NONE
            if mode is Mode.OUTAGE:
                self._record(method, target, status=0, sent=0, mode=mode)
                channel.cut()
                return
            if mode is Mode.HANG:
                self._record(method, target, status=0, sent=0, mode=mode)
                while await channel.reader.read(httpwire.CHUNK):
                    pass  # until the client gives up, or set_fault() or stop() lets it go
                return
            if head.get("expect"):
                channel.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not service.serves(target):
                keep = await self._refuse(head, channel, ELSEWHERE, mode=mode)
            elif mode in REFUSALS:
                keep = await self._refuse(head, channel, REFUSALS[mode], mode=mode)
            else:
                keep = await self._relay(head, channel, service, mode=mode)
            if not keep or head.closes:
                return

    async def _refuse(self, head: Head, channel: Channel, refusal: Refusal, *, mode: Mode) -> bool:
        """Answer in the registry's own form of error; return whether the connection can go on."""
        async for _ in httpwire.body_of_request(channel.reader, head):
            pass
        body = f'{{"errors":[{{"code":"{refusal.code}","message":"lab: {mode.value}"}}]}}\n'.encode()
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *refusal.fields]
        method, target, _version = head.first
        payload = b"" if method == "HEAD" else body
        self._record(method, target, status=int(refusal.status[:3]), sent=len(payload), mode=mode)
        channel.writer.write(httpwire.render(f"HTTP/1.1 {refusal.status}", fields) + payload)
        await channel.writer.drain()
        return True

    async def _relay(self, head: Head, channel: Channel, service: Service, *, mode: Mode) -> bool:
        """Pass the request on, over a connection of its own, and the response back."""
        try:
            upstream, out = await asyncio.open_connection(HOST, service.origin_port, limit=httpwire.CHUNK)
        except OSError:
            return await self._refuse(head, channel, BAD_GATEWAY, mode=Mode.NONE)
        try:
            passed_on = estranged(head) if mode is Mode.FOREIGN else head
            out.write(passed_on.forwarded(("Connection", "close")))
            async for piece in httpwire.body_of_request(channel.reader, head):
                out.write(piece)
                await out.drain()
            response = await httpwire.read_head(upstream)
            while response is not None and int(response.first[1]) < httpwire.INFORMATIONAL:
                response = await httpwire.read_head(upstream)
            if response is None:
                raise BadMessage("the origin closed the connection")
            return await self._respond(head, response, upstream, channel, mode=mode)
        finally:
            out.close()

    async def _respond(
        self,
        head: Head,
        response: Head,
        upstream: asyncio.StreamReader,
        channel: Channel,
        *,
        mode: Mode,
    ) -> bool:
        writer = channel.writer
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
            await channel.flush()
            channel.cut()
            return False
        await writer.drain()
        return not endless

    def _record(self, method: str, path: str, *, status: int, sent: int, mode: Mode) -> None:
        now = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
        self._log.add(LogEntry(now, method, path, status, sent, mode.value))


def spoil(piece: bytes) -> bytes:
    """Return `piece` with its first byte altered."""
    return bytes([piece[0] ^ 0xFF]) + piece[1:]


def estranged(head: Head) -> Head:
    """Return the request for the same file of the repository that another key signed."""
    method, target, version = head.first
    return replace(head, first=(method, target.replace(faults.SIGNED, faults.FOREIGN, 1), version))


async def serve(*, registry_port: int, root: Path, certificate: Path, log: Path, ports: Ports, also: str = "") -> None:
    """Run a proxy until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    proxy = FaultProxy(registry_port=registry_port, root=root, certificate=certificate, log=log, also=also)
    await proxy.start(ports)
    await ended.wait()
    await proxy.stop()


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m lab.faultproxy`: the proxy as a process of its own, as `lab/world.py` starts it."""
    parser = argparse.ArgumentParser(prog="lab.faultproxy", description=main.__doc__)
    for name in ("origin-port", "port", "mirror-port", "admin-port", "secure-mirror-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("root", "certificate", "log"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--also", default="", help="one more address to listen on")
    given = parser.parse_args(argv)
    asyncio.run(
        serve(
            registry_port=given.origin_port,
            root=given.root,
            certificate=given.certificate,
            log=given.log,
            ports=Ports(given.port, given.mirror_port, given.admin_port, given.secure_mirror_port),
            also=given.also,
        )
    )


if __name__ == "__main__":
    main()
