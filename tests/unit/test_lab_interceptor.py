"""The intercepting proxy on the wire: what it shows to clients, what it believes of servers, what it writes down."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import accesslog, certificates
from lab.interceptor import Interceptor
from tests.unit.lab_faultproxy.wire import CONTENT, Client, Origin

BLOB = "/v2/x/blobs/1"
NAME = "registry.polis.test"


@dataclass
class Bench:
    """The proxy, between a client and two servers: one by TLS, one without."""

    directory: Path
    port: int
    origin: Origin
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**16)))
        return self.clients[-1]

    async def tunnel(self, target: str, ca: Path) -> Client:
        """Return a connection to `host:port` through the proxy, by TLS that trusts `ca`."""
        client = await self.connect()
        client.writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert (await client.reader.readuntil(b"\r\n\r\n")).split()[1] == b"200"
        context = ssl.create_default_context(cafile=ca)
        await client.writer.start_tls(context, server_hostname=target.rpartition(":")[0])
        return client

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def log(self) -> list[tuple[str, str, int, int]]:
        entries = accesslog.parse((self.directory / "log").read_text().splitlines(keepends=True))
        return [(entry.method, entry.path, entry.status, entry.bytes_sent) for entry in entries]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.ensure(tmp_path_factory.mktemp("keys"))


@asynccontextmanager
async def bench_in(directory: Path, keys: tuple[Path, Path], believed: Path | None = None) -> AsyncIterator[Bench]:
    ca, certificate = keys
    origin = Origin()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    secure = await asyncio.start_server(origin.serve, "127.0.0.1", 0, ssl=context)
    plain = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    routes = {
        f"{NAME}:443": secure.sockets[0].getsockname()[1],
        "elsewhere.test:443": secure.sockets[0].getsockname()[1],
        "127.0.0.1:443": secure.sockets[0].getsockname()[1],
        "mirror.polis.test:80": plain.sockets[0].getsockname()[1],
    }
    proxy = Interceptor(directory=directory, routes=routes, origins=believed or ca, log=directory / "log")
    bench = Bench(directory, await proxy.start(), origin)
    try:
        yield bench
    finally:
        for client in bench.clients:
            client.writer.close()
        await proxy.stop()
        secure.close()
        plain.close()


def play(
    directory: Path,
    keys: tuple[Path, Path],
    scenario: Callable[[Bench], Awaitable[None]],
    believed: Path | None = None,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(10), bench_in(directory, keys, believed) as bench:
            await scenario(bench)

    asyncio.run(run())


@pytest.mark.parametrize("host", [NAME, "127.0.0.1"])
def test_a_client_that_trusts_the_proxy_gets_what_the_server_has_and_the_proxy_reads_along(
    tmp_path: Path, keys: tuple[Path, Path], host: str
) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.tunnel(f"{host}:443", bench.ca)
        assert (await client.ask(BLOB)).body == CONTENT
        assert (await client.ask(BLOB, method="HEAD")).headers["etag"] == "x"
        assert (await client.ask("/v2/x/tags/list")).body == b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        assert (await client.ask("/v2/endless")).body == b"until the end"
        assert bench.log() == [
            ("CONNECT", f"{host}:443", 200, 0),
            ("GET", f"https://{host}:443{BLOB}", 200, len(CONTENT)),
            ("HEAD", f"https://{host}:443{BLOB}", 200, 0),
            ("GET", f"https://{host}:443/v2/x/tags/list", 200, 24),
            ("GET", f"https://{host}:443/v2/endless", 200, 13),
        ]

    play(tmp_path, keys, scenario)


def test_a_client_that_trusts_only_the_server_s_authority_sees_that_another_signed(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await bench.tunnel(f"{NAME}:443", keys[0])
        assert bench.log() == [("CONNECT", f"{NAME}:443", 200, 0)]
        assert bench.origin.requests == []

    play(tmp_path, keys, scenario)


@pytest.mark.parametrize("target", ["elsewhere.test:443", "nowhere.test:443"])
def test_a_server_of_another_name_and_one_without_a_route_are_a_502(
    tmp_path: Path, keys: tuple[Path, Path], target: str
) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.tunnel(target, bench.ca)
        assert (await client.ask(BLOB)).status == 502
        assert bench.origin.requests == []
        assert bench.log()[-1] == ("GET", f"https://{target}{BLOB}", 502, 0)

    play(tmp_path, keys, scenario)


def test_a_server_that_another_authority_vouches_for_is_not_believed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    other, _ = certificates.ensure(tmp_path / "other")

    async def scenario(bench: Bench) -> None:
        client = await bench.tunnel(f"{NAME}:443", bench.ca)
        refused = await client.ask(BLOB)
        assert refused.status == 502
        assert b"certificate verify failed" in refused.body

    play(tmp_path, keys, scenario, believed=other)


def test_what_is_not_encrypted_is_passed_on_by_its_address(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect()
        assert (await client.ask(f"http://mirror.polis.test{BLOB}")).body == CONTENT
        assert (await client.ask("http://mirror.polis.test:80/v2/x/tags/list")).status == 200
        assert (await client.ask("http://nowhere.test/")).status == 502
        assert bench.origin.requests == [f"GET {BLOB}", "GET /v2/x/tags/list"]
        assert [entry[:3] for entry in bench.log()] == [
            ("GET", f"http://mirror.polis.test{BLOB}", 200),
            ("GET", "http://mirror.polis.test:80/v2/x/tags/list", 200),
            ("GET", "http://nowhere.test/", 502),
        ]

    play(tmp_path, keys, scenario)


def test_a_body_goes_through_and_is_asked_for_first(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.tunnel(f"{NAME}:443", bench.ca)
        answer = await client.ask("/v2/x", method="PATCH", body=b"12345", extra="Expect: 100-continue\r\n")
        assert answer.status == 100
        await client.reader.readuntil(b"\r\n\r\n")
        assert bench.origin.requests == ["PATCH /v2/x", "12345"]

    play(tmp_path, keys, scenario)
