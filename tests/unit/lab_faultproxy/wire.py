"""A tiny origin and some files behind the proxy, a raw client before it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest

from lab import accesslog
from lab.faultproxy import FaultProxy, Ports
from lab.proxyadmin import ProxyControl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from lab.accesslog import LogEntry

BLOB = f"/v2/odralabshq/polis-gate/blobs/sha256:{'0' * 64}"
MANIFEST = "/v2/odralabshq/polis-gate/manifests/0.5.0"
CONTENT = bytes(range(256)) * 1024
"""A blob of several times what the proxy reads at once."""

DEB = "/docker/ubuntu/dists/noble/pool/docker-ce_1%7e2_amd64.deb"
INDEX = "/docker/ubuntu/dists/noble/InRelease"
FILES = {
    "docker/ubuntu/dists/noble/pool/docker-ce_1~2_amd64.deb": CONTENT,
    "docker/ubuntu/dists/noble/InRelease": b"signed by the lab",
    "docker-foreign/ubuntu/dists/noble/InRelease": b"signed by nobody",
    "sysbox/sysbox.deb": b"sysbox",
}
ANY = Ports(0, 0, 0)


class Origin:
    """A registry in miniature: a blob with a length, a list in chunks, `/v2/endless` until the connection closes."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        self.requests.append(f"{method} {path}")
        if "content-length: 5" in head.lower():
            self.requests.append((await reader.readexactly(5)).decode())
        if path.endswith("/tags/list"):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
        elif path == "/v2/endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        else:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\nETag: x\r\n\r\n".encode())
            if method != "HEAD":
                writer.write(CONTENT)
        await writer.drain()
        writer.close()


@dataclass
class Bench:
    """A running proxy with its origin."""

    proxy: FaultProxy
    origin: Origin
    ports: Ports
    control: ProxyControl
    ca: Path
    clients: list[Client] = field(default_factory=list)

    async def connect(self, path: str = MANIFEST) -> Client:
        """Return a connection to the port where paths like this one are served."""
        if path.startswith("/v2/"):
            return await self.connect_tls(self.ports.registry)
        return await self.connect_plain(self.ports.mirror)

    async def connect_plain(self, port: int) -> Client:
        return self.keep(Client(*await asyncio.open_connection("127.0.0.1", port, limit=2**16)))

    async def connect_tls(self, port: int) -> Client:
        context = ssl.create_default_context(cafile=self.ca)
        return self.keep(Client(*await asyncio.open_connection("127.0.0.1", port, limit=2**16, ssl=context)))

    def keep(self, client: Client) -> Client:
        self.clients.append(client)
        return client

    async def get(self, path: str, *, method: str = "GET") -> Response:
        return await (await self.connect(path)).ask(path, method=method)

    def log(self) -> list[LogEntry]:
        return accesslog.parse(self.proxy.read_log().decode().splitlines(keepends=True))


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """One connection that may ask again and again."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, path: str, *, method: str = "GET", body: bytes = b"", extra: str = "") -> Response:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: lab\r\n{length}{extra}\r\n".encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        status = int(lines[0].split()[1])
        if method == "HEAD" or status < 200:
            content = b""
        elif "content-length" in headers:
            content = await self.reader.readexactly(int(headers["content-length"]))
        elif "transfer-encoding" in headers:
            content = await self.reader.readuntil(b"\r\n0\r\n\r\n")
        else:
            content = await self.reader.read()
        return Response(status, headers, content)

    async def read_to_end(self) -> bytes:
        """Return what comes until the connection breaks."""
        received = b""
        try:
            while piece := await self.reader.read(2**16):
                received += piece
        except ConnectionResetError:
            return received
        pytest.fail("the connection ended in good order")


@asynccontextmanager
async def bench_in(
    directory: Path, keys: tuple[Path, Path], *, origin_listens: bool = True, also: str = ""
) -> AsyncIterator[Bench]:
    ca, certificate = keys
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    for name, content in FILES.items():
        (directory / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "root" / name).write_bytes(content)
    proxy = FaultProxy(
        registry_port=server.sockets[0].getsockname()[1],
        root=directory / "root",
        certificate=certificate,
        log=directory / "access.jsonl",
        also=also,
    )
    if not origin_listens:
        server.close()
    ports = await proxy.start(ANY)
    bench = Bench(proxy, origin, ports, ProxyControl(ports.admin), ca)
    try:
        yield bench
    finally:
        for client in bench.clients:
            client.writer.close()
        await proxy.stop()
        server.close()


class Play(Protocol):
    """What the fixture of this name gives."""

    def __call__(self, scenario: Callable[[Bench], Awaitable[None]], /) -> None: ...
