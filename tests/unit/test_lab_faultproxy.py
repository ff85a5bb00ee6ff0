"""The lab's fault proxy, seen on the wire: a tiny origin and some files behind it, a raw client before it."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest

from lab import accesslog, certificates
from lab.errors import LabError
from lab.faultproxy import FaultProxy, Ports
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


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.ensure(tmp_path_factory.mktemp("keys"))


@asynccontextmanager
async def bench_in(directory: Path, keys: tuple[Path, Path], *, origin_listens: bool = True) -> AsyncIterator[Bench]:
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


@pytest.fixture
def play(tmp_path: Path, keys: tuple[Path, Path]) -> Play:
    """Run a scenario against a fresh proxy, with a limit far above what it takes."""

    async def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async with asyncio.timeout(10), bench_in(tmp_path, keys) as bench:
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
        assert (await client.ask("/v2/endless")).body == b"until the end"
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


def test_a_registry_that_is_down_is_a_502(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        async with bench_in(tmp_path, keys, origin_listens=False) as bench:
            assert (await bench.get(MANIFEST)).status == 502

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("mode", "status", "header"),
    [
        (Mode.UNAVAILABLE, 503, None),
        (Mode.THROTTLED, 429, ("retry-after", "2")),
        (Mode.UNAUTHORIZED, 401, ("www-authenticate", 'basic realm="lab"')),
        (Mode.MISSING, 404, None),
    ],
)
@pytest.mark.parametrize("path", [MANIFEST, DEB, INDEX])
def test_refusals_answer_in_the_registrys_form(
    play: Play,
    path: str,
    mode: Mode,
    status: int,
    header: tuple[str, str] | None,
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(mode))
        response = await bench.get(path)
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


@pytest.mark.parametrize("path", [MANIFEST, INDEX])
def test_an_outage_resets_new_connections_and_cuts_open_ones(play: Play, path: str) -> None:
    async def scenario(bench: Bench) -> None:
        before = await bench.connect(path)
        await before.ask(path)
        bench.proxy.set_fault(Fault(Mode.OUTAGE))
        assert await before.read_to_end() == b""
        port = bench.ports.registry if path == MANIFEST else bench.ports.mirror
        during = await bench.connect_plain(port)
        assert await during.read_to_end() == b""
        assert [(entry.method, entry.path, entry.status, entry.fault) for entry in bench.log()[1:]] == [
            ("-", "-", 0, "outage"),
        ]

    play(scenario)


def test_an_outage_ends_a_tls_greeting_with_a_reset(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.OUTAGE))
        with pytest.raises(ConnectionResetError):
            await bench.connect()

    play(scenario)


@pytest.mark.parametrize(
    ("match", "hit", "spared"),
    [
        ("polis-gate", MANIFEST, "/v2/odralabshq/polis-state/manifests/0.5.0"),
        ("^/docker/", INDEX, "/sysbox/sysbox.deb"),
        ("^/docker/", INDEX, MANIFEST),
        ("polis-gate", MANIFEST, INDEX),
    ],
)
def test_an_outage_of_one_thing_leaves_the_others(play: Play, match: str, hit: str, spared: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.OUTAGE, match=match))
        assert (await bench.get(spared)).status == 200
        client = await bench.connect(hit)
        client.writer.write(f"GET {hit} HTTP/1.1\r\n\r\n".encode())
        assert await client.read_to_end() == b""
        assert [entry.path for entry in bench.log() if entry.fault == "outage"] == [hit]

    play(scenario)


@pytest.mark.parametrize(("path", "other"), [(MANIFEST, BLOB), (INDEX, DEB)])
def test_a_hanging_request_gets_nothing_until_the_fault_is_healed(play: Play, path: str, other: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.HANG, match=path.rpartition("/")[2]))
        client = await bench.connect(path)
        client.writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = asyncio.create_task(client.read_to_end())
        assert (await bench.get(other)).status == 200
        assert not answer.done()
        bench.proxy.set_fault(Fault())
        assert await answer == b""
        assert (await bench.get(path)).status == 200
        assert [entry.fault for entry in bench.log()] == ["hang", "none", "none"]

    play(scenario)


@pytest.mark.parametrize(("body", "other"), [(BLOB, MANIFEST), (DEB, INDEX)])
def test_a_reset_cuts_a_download_in_the_middle_and_spares_the_rest(play: Play, body: str, other: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.RESET))
        assert (await bench.get(other)).status == 200
        assert (await bench.get(body, method="HEAD")).status == 200
        client = await bench.connect(body)
        client.writer.write(f"GET {body} HTTP/1.1\r\n\r\n".encode())
        received = await client.read_to_end()
        content = received.partition(b"\r\n\r\n")[2]
        assert f"content-length: {len(CONTENT)}".encode() in received.lower()
        assert 0 < len(content) <= len(CONTENT) // 2
        assert CONTENT.startswith(content)
        assert [(entry.fault, entry.bytes_sent) for entry in bench.log()][-1] == ("reset", len(CONTENT) // 2)

    play(scenario)


@pytest.mark.parametrize(("body", "other"), [(BLOB, MANIFEST), (DEB, INDEX)])
def test_a_corrupted_download_has_its_length_but_not_its_content(play: Play, body: str, other: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.CORRUPT, count=1))
        whole = (await bench.get(other)).body
        assert whole in {CONTENT, FILES["docker/ubuntu/dists/noble/InRelease"]}
        spoiled = (await bench.get(body)).body
        assert len(spoiled) == len(CONTENT)
        assert spoiled[0] != CONTENT[0]
        assert spoiled[1:] == CONTENT[1:]
        assert (await bench.get(body)).body == CONTENT

    play(scenario)


def test_a_foreign_key_signs_the_package_repository_and_nothing_else(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.FOREIGN, count=2))
        assert (await bench.get("/sysbox/sysbox.deb")).body == b"sysbox"
        assert (await bench.get(MANIFEST)).body == CONTENT
        assert (await bench.get(INDEX)).body == b"signed by nobody"
        assert (await bench.get(DEB)).status == 404  # only the tree of this test lacks it
        assert (await bench.get(INDEX)).body == b"signed by the lab"
        assert [(entry.path, entry.fault) for entry in bench.log()[2:]] == [
            (INDEX, "foreign"),
            (DEB, "foreign"),
            (INDEX, "none"),
        ]

    play(scenario)


def test_the_mirror_serves_files_with_their_length_and_date(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect(DEB)
        head = await client.ask(DEB, method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(CONTENT)))
        assert head.headers["last-modified"].endswith(" gmt")
        assert (await client.ask(DEB)).body == CONTENT
        assert (await client.ask("/docker/ubuntu/nothing")).status == 404
        assert (await client.ask("/docker/ubuntu")).status == 404
        assert (await client.ask(INDEX, method="PUT", body=b"mine")).status == 405
        assert (await client.ask(INDEX)).body == b"signed by the lab"

    play(scenario)


@pytest.mark.parametrize(
    "path",
    [
        "/../access.jsonl",
        "/%2e%2e/access.jsonl",
        "/docker/../../access.jsonl",
        "/docker/%2e%2e%2f%2e%2e%2faccess.jsonl",
        "//etc/passwd",
        "/link",
        "/docker/link/access.jsonl",
        "/%00",
    ],
)
def test_no_path_leads_out_of_the_mirrors_root(play: Play, tmp_path: Path, path: str) -> None:
    async def scenario(bench: Bench) -> None:
        root = tmp_path / "root"
        (root / "link").symlink_to(tmp_path / "access.jsonl")
        (root / "docker/link").symlink_to(tmp_path)
        (root / "here").symlink_to("sysbox/sysbox.deb")
        await bench.get(INDEX)  # so that there is a log to be stolen
        assert (await bench.get(path)).status == 404
        assert (await bench.get("/here")).body == b"sysbox"

    play(scenario)


def test_each_port_serves_only_its_own_kind(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        bench.proxy.set_fault(Fault(Mode.UNAVAILABLE))
        registry = await bench.connect_tls(bench.ports.registry)
        mirror = await bench.connect_plain(bench.ports.mirror)
        for client, path in ((registry, INDEX), (registry, "/"), (mirror, MANIFEST), (mirror, "/v2/")):
            assert (await client.ask(path)).status == 404
        assert bench.origin.requests == []
        assert {(entry.status, entry.fault) for entry in bench.log()} == {(404, "none")}
        assert bench.proxy.fault.hits == 0

    play(scenario)


def test_the_registry_shows_a_certificate_that_only_the_labs_authority_vouches_for(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        for trusting, name in ((None, "127.0.0.1"), (bench.ca, "registry.example")):
            context = ssl.create_default_context(cafile=trusting)
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", bench.ports.registry, ssl=context, server_hostname=name)
        for name in ("127.0.0.1", "10.0.2.2", "localhost"):
            context = ssl.create_default_context(cafile=bench.ca)
            _, writer = await asyncio.open_connection(
                "127.0.0.1", bench.ports.registry, ssl=context, server_hostname=name
            )
            writer.close()
            await writer.wait_closed()
        assert (await bench.get(MANIFEST)).status == 200

    play(scenario)


def test_the_registry_does_not_speak_plainly(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect_plain(bench.ports.registry)
        client.writer.write(f"GET {MANIFEST} HTTP/1.1\r\n\r\n".encode())
        assert b"HTTP" not in await client.reader.read()
        assert (await bench.get(MANIFEST)).status == 200

    play(scenario)


def test_many_greetings_at_once_all_come_through(play: Play) -> None:
    """What a client sends before the proxy expects it must not be taken for plain text."""

    async def scenario(bench: Bench) -> None:
        answers = await asyncio.gather(*(bench.get(MANIFEST) for _ in range(30)))
        assert {answer.status for answer in answers} == {200}

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
        with pytest.raises(ConnectionResetError):
            await bench.connect()
        assert (await bench.get(MANIFEST)).status == 200

    play(scenario)


def test_a_client_that_tries_tls_with_the_mirror_is_told_at_once(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.ports.mirror)
        writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a greeting; it waits for the answer now
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.0 400 ")
        writer.close()

    play(scene)


@pytest.mark.parametrize("path", [MANIFEST, INDEX])
def test_nonsense_on_the_wire_ends_only_that_connection(play: Play, path: str) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect(path)
        client.writer.write(b"\x00\x03\x01 not http\r\n\r\n")
        assert await client.read_to_end() == b""
        assert (await bench.get(path)).status == 200

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


def test_orders_to_a_proxy_that_is_gone_say_so(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    async def port_of_a_stopped_proxy() -> int:
        proxy = FaultProxy(registry_port=1, root=tmp_path, certificate=keys[1], log=tmp_path / "log")
        ports = await proxy.start(ANY)
        await proxy.stop()
        return ports.admin

    control = ProxyControl(asyncio.run(port_of_a_stopped_proxy()))
    with pytest.raises(LabError, match="does not answer"):
        control.heal()
