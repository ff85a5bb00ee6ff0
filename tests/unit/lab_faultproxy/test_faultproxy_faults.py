"""Each fault of the lab's proxy, seen on the wire."""

from __future__ import annotations

import asyncio

import pytest

from lab.faults import Fault, Mode
from tests.unit.lab_faultproxy.wire import BLOB, CONTENT, DEB, FILES, INDEX, MANIFEST, Bench, Play


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
