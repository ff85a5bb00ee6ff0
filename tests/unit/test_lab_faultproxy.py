"""The lab's fault proxy, seen on the wire: a tiny origin behind it, a raw client before it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest

from lab import accesslog
from lab.errors import LabError
from lab.faultproxy import FaultProxy
from lab.faults import Fault, Mode
from lab.proxyadmin import ProxyControl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from lab.accesslog import LogEntry

BLOB = f"/v2/odralabshq/polis-gate/blobs/sha256:{'0' * 64}"
MANIFEST = "/v2/odralabshq/polis-gate/manifests/0.5.0"
CONTENT = bytes(range(256)) * 1024
"""A blob of several times what the proxy reads at once."""


class Origin:
    """A registry in miniature: a blob with a length, a list in chunks, `/endless` until the connection closes."""

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
        elif path == "/endless":
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
    port: int
    control: ProxyControl
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**16))
        self.clients.append(client)
        return client

    async def get(self, path: str, *, method: str = "GET") -> Response:
        return await (await self.connect()).ask(path, method=method)

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
        except ConnectionError:
            return received
        pytest.fail("the connection ended in good order")


@asynccontextmanager
async def bench_in(directory: Path, *, origin_listens: bool = True) -> AsyncIterator[Bench]:
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    proxy = FaultProxy(origin_port=server.sockets[0].getsockname()[1], log=directory / "access.jsonl")
    if not origin_listens:
        server.close()
    port, admin_port = await proxy.start(port=0, admin_port=0)
    bench = Bench(proxy, origin, port, ProxyControl(admin_port))
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


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a scenario against a fresh proxy, with a limit far above what it takes."""

    async def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async with asyncio.timeout(10), bench_in(tmp_path) as bench:
            await scenario(bench)

    return lambda scenario: asyncio.run(run(scenario))


def test_without_a_fault_a_blob_arrives_whole_and_is_logged(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        response = await bench.get(BLOB)
        assert (response.status, response.headers["etag"]) == (200, "x")
        assert response.body == CONTENT
        (entry,) = bench.log()
        assert (entry.method, entry.path, entry.status) == ("GET", BLOB, 200)
        assert (entry.bytes_sent, entry.fault) == (len(CONTENT), "none")
        assert entry.time.endswith("+00:00")

    play(scenario)


def test_one_connection_serves_many_requests_of_every_framing(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect()
        head = await client.ask(BLOB, method="HEAD")
        assert head.headers["content-length"] == str(len(CONTENT))
        assert (await client.ask("/v2/x/tags/list")).body == b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        assert (await client.ask(BLOB)).body == CONTENT
        assert (await client.ask("/endless")).body == b"until the end"
        assert [entry.bytes_sent for entry in bench.log()] == [0, 24, len(CONTENT), 13]

    play(scenario)


def test_the_body_of_a_request_reaches_the_origin(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect()
        interim = await client.ask(
            "/v2/x/blobs/uploads/", method="PATCH", body=b"12345", extra="Expect: 100-continue\r\n"
        )
        assert interim.status == 100
        assert bench.origin.requests == []
        await client.reader.readuntil(b"\r\n\r\n")
        assert bench.origin.requests == ["PATCH /v2/x/blobs/uploads/", "12345"]

    play(scenario)


def test_a_registry_that_is_down_is_a_502(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench_in(tmp_path, origin_listens=False) as bench:
            assert (await bench.get(MANIFEST)).status == 502

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("mode", "status", "header"),
    [
        (Mode.UNAVAILABLE, 503, None),
        (Mode.THROTTLED, 429, ("retry-after", "2")),
        (Mode.UNAUTHORIZED, 401, ("www-authenticate", 'basic realm="lab"')),
    ],
)
def test_refusals_answer_in_the_registrys_form(
    play: Play,
    mode: Mode,
    status: int,
    header: tuple[str, str] | None,
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(mode))
        response = await bench.get(MANIFEST)
        assert response.status == status
        assert b'{"errors":[{"code":' in response.body
        assert header is None or response.headers[header[0]] == header[1]
        assert bench.origin.requests == []
        assert [(entry.status, entry.fault) for entry in bench.log()] == [(status, mode.value)]

    play(scenario)


def test_a_refused_head_has_no_body(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.UNAVAILABLE))
        client = await bench.connect()
        assert (await client.ask(MANIFEST, method="HEAD")).status == 503
        assert (await client.ask(MANIFEST)).status == 503

    play(scenario)


def test_an_outage_resets_new_connections_and_cuts_open_ones(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        before = await bench.connect()
        await before.ask(MANIFEST)
        bench.proxy.set_fault(Fault(Mode.OUTAGE))
        assert await before.read_to_end() == b""
        during = await bench.connect()
        assert await during.read_to_end() == b""
        assert [(entry.method, entry.path, entry.status, entry.fault) for entry in bench.log()[1:]] == [
            ("-", "-", 0, "outage"),
        ]

    play(scenario)


def test_an_outage_of_one_image_leaves_the_others(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.OUTAGE, match="polis-gate"))
        assert (await bench.get("/v2/odralabshq/polis-state/manifests/0.5.0")).status == 200
        client = await bench.connect()
        client.writer.write(f"GET {MANIFEST} HTTP/1.1\r\n\r\n".encode())
        assert await client.read_to_end() == b""
        assert [entry.path for entry in bench.log() if entry.fault == "outage"] == [MANIFEST]

    play(scenario)


def test_a_hanging_request_gets_nothing_until_the_fault_is_healed(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.HANG, match="manifests"))
        client = await bench.connect()
        client.writer.write(f"GET {MANIFEST} HTTP/1.1\r\n\r\n".encode())
        answer = asyncio.create_task(client.read_to_end())
        assert (await bench.get(BLOB)).status == 200
        assert not answer.done()
        bench.proxy.set_fault(Fault())
        assert await answer == b""
        assert (await bench.get(MANIFEST)).status == 200
        assert [entry.fault for entry in bench.log()] == ["hang", "none", "none"]

    play(scenario)


def test_a_reset_cuts_a_blob_in_the_middle_and_spares_the_rest(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.RESET))
        assert (await bench.get(MANIFEST)).body == CONTENT
        assert (await bench.get(BLOB, method="HEAD")).status == 200
        client = await bench.connect()
        client.writer.write(f"GET {BLOB} HTTP/1.1\r\n\r\n".encode())
        received = await client.read_to_end()
        body = received.partition(b"\r\n\r\n")[2]
        assert f"content-length: {len(CONTENT)}".encode() in received.lower()
        assert 0 < len(body) <= len(CONTENT) // 2
        assert CONTENT.startswith(body)
        assert [(entry.fault, entry.bytes_sent) for entry in bench.log()][-1] == ("reset", len(CONTENT) // 2)

    play(scenario)


def test_a_corrupted_blob_has_its_length_but_not_its_content(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.CORRUPT, count=1))
        spoiled = (await bench.get(BLOB)).body
        assert len(spoiled) == len(CONTENT)
        assert spoiled[0] != CONTENT[0]
        assert spoiled[1:] == CONTENT[1:]
        assert (await bench.get(BLOB)).body == CONTENT

    play(scenario)


def test_a_counted_fault_hits_that_many_matching_requests_and_heals(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.UNAVAILABLE, match="polis-gate", count=2))
        paths = (MANIFEST, "/v2/", MANIFEST, MANIFEST)
        assert [(await bench.get(path)).status for path in paths] == [503, 200, 503, 200]

    play(scenario)


def test_a_counted_outage_heals_after_that_many_connections(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.OUTAGE, count=1))
        assert await (await bench.connect()).read_to_end() == b""
        assert (await bench.get(MANIFEST)).status == 200

    play(scenario)


def test_a_client_that_tries_tls_first_is_told_at_once(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a greeting; it waits for the answer now
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.0 400 ")
        writer.close()

    play(scene)


def test_nonsense_on_the_wire_ends_only_that_connection(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect()
        client.writer.write(b"\x00\x03\x01 not http\r\n\r\n")
        assert await client.read_to_end() == b""
        assert (await bench.get(MANIFEST)).status == 200

    play(scenario)


def test_orders_set_show_and_heal_a_fault(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        order = asyncio.to_thread
        await order(bench.control.set_fault, "throttled", match="gate", count=3)
        assert (await bench.get(MANIFEST)).status == 429
        assert await order(bench.control.fault) == {"mode": "throttled", "match": "gate", "count": 3, "hits": 1}
        await order(bench.control.heal)
        assert (await bench.get(MANIFEST)).status == 200
        assert [entry.status for entry in await order(bench.control.access_log)] == [429, 200]
        await order(bench.control.clear_log)
        assert await order(bench.control.access_log) == []
        await bench.get(MANIFEST)
        assert len(await order(bench.control.access_log)) == 1

    play(scenario)


@pytest.mark.parametrize(
    ("mode", "match", "count", "words"),
    [
        ("sulk", None, None, "unknown mode 'sulk'"),
        ("reset", "(", None, "not a regular expression"),
        ("reset", None, 0, "count must be at least 1"),
    ],
)
def test_a_bad_order_is_refused_and_changes_nothing(
    play: Play,
    mode: str,
    match: str | None,
    count: int | None,
    words: str,
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.HANG))
        with pytest.raises(LabError, match=words.replace("(", r"\(")):
            await asyncio.to_thread(bench.control.set_fault, mode, match=match, count=count)
        assert bench.proxy.fault == Fault(Mode.HANG)

    play(scenario)


def test_orders_to_a_proxy_that_is_gone_say_so(tmp_path: Path) -> None:
    async def port_of_a_stopped_proxy() -> int:
        proxy = FaultProxy(origin_port=1, log=tmp_path / "log")
        _, admin_port = await proxy.start(port=0, admin_port=0)
        await proxy.stop()
        return admin_port

    control = ProxyControl(asyncio.run(port_of_a_stopped_proxy()))
    with pytest.raises(LabError, match="does not answer"):
        control.heal()
