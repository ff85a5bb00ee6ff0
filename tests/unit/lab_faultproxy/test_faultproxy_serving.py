"""What the lab's fault proxy serves where no fault is ordered, seen on the wire."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from lab.faults import Fault, Mode
from tests.unit.lab_faultproxy.wire import BLOB, CONTENT, DEB, INDEX, MANIFEST, Bench, Play, bench_in

if TYPE_CHECKING:
    from pathlib import Path

BRIDGE = "127.0.0.2"
"""Stands for the address of a bridge."""


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


def test_the_mirror_serves_the_same_files_by_tls_and_logs_them_the_same(play: Play) -> None:
    async def scenario(bench: Bench) -> None:
        client = await bench.connect_tls(bench.ports.secure_mirror)
        assert (await client.ask(DEB)).body == CONTENT
        assert (await client.ask(MANIFEST)).status == 404
        bench.proxy.set_fault(Fault(Mode.UNAVAILABLE, match="^/docker/"))
        assert (await client.ask(DEB)).status == 503
        assert [(entry.path, entry.status) for entry in bench.log()] == [(DEB, 200), (MANIFEST, 404), (DEB, 503)]

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


def test_clients_find_the_ports_on_another_address_too_and_nobody_gives_orders_there(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(10), bench_in(tmp_path, keys, also=BRIDGE) as bench:
            for port in (bench.ports.registry, bench.ports.mirror, bench.ports.secure_mirror):
                _, writer = await asyncio.open_connection(BRIDGE, port)
                writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(BRIDGE, bench.ports.admin)

    asyncio.run(scenario())


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
