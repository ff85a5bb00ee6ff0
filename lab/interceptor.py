"""A company's proxy that opens TLS: for every host it shows a certificate of its own authority, and reads along.

It finds the hosts by its own table of routes, so that whoever asks needs no name server and no other way out. The true
servers are verified against the lab's authority. Requests are logged by their address; a CONNECT is logged by itself,
so that a client who then turned away is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import ssl
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lab import accesslog, certificates, httpwire
from lab.accesslog import AccessLog, LogEntry
from lab.daemon import HOST, Daemon, free_port, require_free
from lab.httpwire import BadMessage, Head
from lab.listening import Listener
from lab.placing import place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY = "Polis lab interception"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CLOSE = ("Connection", "close")


@dataclass
class Minter:
    """The authority, which lives as long as the process, and the certificate of each host that was asked for."""

    directory: Path
    ca: x509.Certificate = field(init=False)
    _key: ec.EllipticCurvePrivateKey = field(init=False)
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ca, self._key = certificates.authority(datetime.now(tz=UTC), AUTHORITY)
        place(self.directory / "ca.pem", self.ca.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """Return how to answer as this host."""
        if host not in self._contexts:
            life = (datetime.now(tz=UTC), certificates.LEAF_LIFE)
            certificate, key = certificates.leaf(self.ca, self._key, life, _named(host))
            path = self.directory / f"host-{len(self._contexts)}.pem"
            place(path, certificates.pem(key) + certificate.public_bytes(serialization.Encoding.PEM), mode=0o600)
            self._contexts[host] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._contexts[host].load_cert_chain(path)
        return self._contexts[host]


class Interceptor:
    """The proxy as an object: `start` binds the port, `stop` ends every connection.

    `routes` lead from `host:port` to a port of the loopback address; anything else is a 502. `origins` is the PEM file
    with the authority of the true servers; `directory` takes the proxy's own.
    """

    def __init__(self, *, directory: Path, routes: Mapping[str, int], origins: Path, log: Path) -> None:
        self._minter = Minter(directory)
        self._routes = dict(routes)
        self._verifying = ssl.create_default_context(cafile=origins)
        self._log = AccessLog(log)
        self._listener = Listener(self._converse)

    async def start(self, port: int = 0) -> int:
        """Listen, on any free port if it is 0, and return the port; raises OSError if it is taken."""
        return await self._listener.start(port)

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        await self._listener.stop()
        self._log.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client's requests; from its CONNECT on, they are for that host."""
        tunnel = ""
        while (head := await httpwire.read_head(reader)) is not None:
            method, target, _version = head.first
            if method == "CONNECT" and not tunnel:
                tunnel = target
                self._record(method, target, 200)
                writer.write(ESTABLISHED)
                # Nothing is awaited before this: what the reader has taken is no longer encrypted.
                await writer.start_tls(self._minter.context(target.rpartition(":")[0].strip("[]")))
                continue
            if head.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            keep = await self._pass_on(head, tunnel, reader, writer)
            if not keep or head.closes:
                return

    async def _pass_on(
        self, head: Head, tunnel: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Ask the true server and give its answer; return whether the connection can go on."""
        method, target, version = head.first
        server, path = (tunnel, target) if tunnel else _split(target)
        address = f"https://{tunnel}{target}" if tunnel else target
        try:
            upstream, out = await self._connect(server, encrypted=bool(tunnel))
        except (OSError, KeyError) as error:
            async for _ in httpwire.body_of_request(reader, head):
                pass
            return await self._refuse(head, address, writer, str(error))
        try:
            out.write(replace(head, first=(method, path, version)).forwarded(CLOSE))
            async for piece in httpwire.body_of_request(reader, head):
                out.write(piece)
                await out.drain()
            return await self._answer(head, address, upstream, writer)
        finally:
            out.close()

    async def _connect(self, target: str, *, encrypted: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._routes[target]
        host = target.rpartition(":")[0].strip("[]")
        if not encrypted:
            return await asyncio.open_connection(HOST, port, limit=httpwire.CHUNK)
        return await asyncio.open_connection(
            HOST, port, limit=httpwire.CHUNK, ssl=self._verifying, server_hostname=host
        )

    async def _answer(
        self, head: Head, address: str, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        method = head.first[0]
        response = await httpwire.read_head(upstream)
        while response is not None and int(response.first[1]) < httpwire.INFORMATIONAL:
            response = await httpwire.read_head(upstream)
        if response is None:
            raise BadMessage("the server closed the connection")
        endless = method != "HEAD" and response.length is None and not response.chunked
        writer.write(response.forwarded(*([CLOSE] if endless else [])))
        sent = 0
        try:
            async for piece in httpwire.body_of_response(upstream, response, method=method):
                # Nothing is awaited between a body's last bytes and its line in the log.
                if sent:
                    await writer.drain()
                writer.write(piece)
                sent += len(piece)
        finally:
            self._record(method, address, int(response.first[1]), sent)
        await writer.drain()
        return not endless

    async def _refuse(self, head: Head, address: str, writer: asyncio.StreamWriter, reason: str) -> bool:
        body = f"the proxy cannot reach {address}: {reason}\n".encode()
        self._record(head.first[0], address, 502)
        writer.write(httpwire.render("HTTP/1.1 502 Bad Gateway", [("Content-Length", str(len(body)))]))
        writer.write(b"" if head.first[0] == "HEAD" else body)
        await writer.drain()
        return True

    def _record(self, method: str, address: str, status: int, sent: int = 0) -> None:
        now = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
        self._log.add(LogEntry(now, method, address, status, sent, "none"))


class Interception:
    """An interceptor in a process of its own: its port, the certificate of its authority, what it saw."""

    def __init__(self, directory: Path, *, routes: Mapping[str, int], origins: Path) -> None:
        self.ca = directory / "ca.pem"
        self.port = 0
        self._directory = directory
        self._routes = routes
        self._origins = origins
        self._log = directory / "intercepted.jsonl"
        self._daemon = Daemon("interceptor", directory)

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._daemon.start(
            [
                *(sys.executable, "-m", "lab.interceptor", "--port", str(self.port)),
                *("--directory", str(self._directory), "--origins", str(self._origins), "--log", str(self._log)),
                *(f"--route={target}={port}" for target, port in self._routes.items()),
            ],
            ports={"interceptor": self.port},
            env={
                "LANG": "C.UTF-8",
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            },
            answers=self._answers,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.stop()

    def log(self) -> list[LogEntry]:
        """Return the requests so far, in the order in which they ended."""
        return accesslog.parse(self._log.read_text().splitlines(keepends=True))

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self._log.write_bytes(b"")

    def _answers(self) -> bool:
        try:
            require_free(self.port, what="the interceptor")
        except Exception:  # noqa: BLE001 -- whoever holds it: a process that ends at once is told by the daemon
            return self.ca.is_file()
        return False


def _named(host: str) -> x509.SubjectAlternativeName:
    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    return x509.SubjectAlternativeName([name])


def _split(target: str) -> tuple[str, str]:
    """Return `host:port` and the path of an http:// address; raises BadMessage for anything else."""
    scheme, separator, rest = target.partition("://")
    if scheme != "http" or not separator:
        raise BadMessage(target[:100])
    host, slash, path = rest.partition("/")
    return host if host.rpartition(":")[2].isdecimal() else f"{host}:80", f"{slash or '/'}{path}"


def _route(text: str) -> tuple[str, int]:
    target, _, port = text.rpartition("=")
    return target, int(port)


async def serve(proxy: Interceptor, port: int) -> None:
    """Run a proxy until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await proxy.start(port)
    await ended.wait()
    await proxy.stop()


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m lab.interceptor`: the proxy as a process of its own."""
    parser = argparse.ArgumentParser(prog="lab.interceptor", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--route", type=_route, action="append", default=[], metavar="HOST:PORT=PORT")
    for name in ("directory", "origins", "log"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args(argv)
    proxy = Interceptor(directory=given.directory, routes=dict(given.route), origins=given.origins, log=given.log)
    asyncio.run(serve(proxy, given.port))


if __name__ == "__main__":
    main()
