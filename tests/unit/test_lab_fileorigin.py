"""The mirror's files without the proxy: what a request names, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lab import fileorigin
from lab.fileorigin import FileOrigin

LARGE = bytes(range(256)) * 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a directory with files in it, and one beside it that nobody may have."""
    directory = tmp_path / "root"
    (directory / "pool/sub").mkdir(parents=True)
    (directory / "pool/a_1~2+b.deb").write_bytes(LARGE)
    (directory / "pool/empty").write_bytes(b"")
    (directory / "pool/100%25").write_bytes(b"percent")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root-secret").mkdir()
    (tmp_path / "root-secret/file").write_text("secret")
    return directory


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/pool/empty", "pool/empty"),
        ("//pool/empty", "pool/empty"),
        ("/pool/a_1~2+b.deb", "pool/a_1~2+b.deb"),
        ("/pool/a_1%7E2%2bb.deb", "pool/a_1~2+b.deb"),
        ("/pool/empty?x=/../y", "pool/empty"),
        ("/pool/sub/../empty", "pool/empty"),
        ("/pool/100%2525", "pool/100%25"),
    ],
)
def test_a_target_names_a_file(root: Path, target: str, name: str) -> None:
    assert fileorigin.locate(root, target) == root / name


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/pool",
        "/nothing",
        "/pool/empty%3fx",
        "/pool/empty%00",
        "/../secret",
        "/pool/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/pool/%2E%2E/%2e%2e%2Fsecret",
        "/../root-secret/file",
        "../secret",
        "/etc/passwd",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "http://127.0.0.1/pool/empty",
    ],
)
def test_a_target_names_nothing_or_something_outside(root: Path, target: str) -> None:
    assert fileorigin.locate(root, target) is None


def test_an_absolute_path_that_is_really_there_is_refused(root: Path) -> None:
    secret = root.parent / "secret"
    assert secret.is_file()
    assert fileorigin.locate(root, f"//{secret}") is None


async def ask(port: int, request: str) -> tuple[str, dict[str, str], bytes]:
    """Return status line, header fields and all bytes after them until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request}\r\nHost: lab\r\n\r\n".encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.lower().split(": ", 1) for line in lines), body


def serve(root: Path, scenario: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        origin = FileOrigin(root)
        async with asyncio.timeout(10):
            port = await origin.start()
            try:
                await scenario(port)
            finally:
                await origin.stop()

    asyncio.run(run())


@pytest.mark.parametrize(("name", "content"), [("a_1~2+b.deb", LARGE), ("empty", b"")])
def test_get_and_head_tell_the_same_and_only_get_sends_it(root: Path, name: str, content: bytes) -> None:
    async def scenario(port: int) -> None:
        first, fields, body = await ask(port, f"GET /pool/{name} HTTP/1.1")
        assert (first, fields["content-length"], fields["connection"]) == (
            "HTTP/1.1 200 OK",
            str(len(content)),
            "close",
        )
        assert body == content
        assert await ask(port, f"HEAD /pool/{name} HTTP/1.1") == (first, fields, b"")

    serve(root, scenario)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /pool/nothing HTTP/1.1", "404 Not Found"),
        ("HEAD /%2e%2e/secret HTTP/1.1", "404 Not Found"),
        ("GET /../secret HTTP/1.1", "404 Not Found"),
        ("DELETE /pool/empty HTTP/1.1", "405 Method Not Allowed"),
    ],
)
def test_a_refusal_has_no_body(root: Path, request_line: str, status: str) -> None:
    async def scenario(port: int) -> None:
        first, fields, body = await ask(port, request_line)
        assert (first, fields["content-length"], body) == (f"HTTP/1.1 {status}", "0", b"")

    serve(root, scenario)
    assert (root / "pool/empty").is_file()


def test_what_is_added_while_it_runs_is_served(root: Path) -> None:
    async def scenario(port: int) -> None:
        assert "404" in (await ask(port, "GET /new HTTP/1.1"))[0]
        (root / "new").write_bytes(b"new")
        assert (await ask(port, "GET /new HTTP/1.1"))[2] == b"new"

    serve(root, scenario)


def test_one_who_takes_nothing_holds_up_neither_the_others_nor_the_end(root: Path) -> None:
    (root / "huge").write_bytes(LARGE * 16)

    async def scenario() -> None:
        origin = FileOrigin(root)
        port = await origin.start()
        _, stalled = await asyncio.open_connection("127.0.0.1", port, limit=1)
        stalled.write(b"GET /huge HTTP/1.1\r\n\r\n")
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        assert (await ask(port, "GET /pool/empty HTTP/1.1"))[0] == "HTTP/1.1 200 OK"
        await asyncio.wait_for(origin.stop(), 10)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)
        for writer in (stalled, silent):
            writer.close()

    asyncio.run(scenario())
