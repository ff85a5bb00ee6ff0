"""The mirror behind the fault proxy: the files below a directory, by HTTP on a loopback port."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lab import httpwire
from lab.listening import Listener

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path


class FileOrigin:
    """Serves files as long as it runs; what the directory holds may change meanwhile."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._listener = Listener(self._answer)

    async def start(self) -> int:
        """Listen on any free port and return it."""
        return await self._listener.start()

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        await self._listener.stop()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await httpwire.read_head(reader)
        if head is None:
            return
        method, target, _version = head.first
        path = locate(self._root, target)
        if method not in {"GET", "HEAD"}:
            writer.write(_head("405 Method Not Allowed", [("Content-Length", "0"), ("Allow", "GET, HEAD")]))
        elif path is None:
            writer.write(_head("404 Not Found", [("Content-Length", "0")]))
        else:
            with path.open("rb") as file:
                facts = path.stat()
                fields = [
                    ("Content-Type", "application/octet-stream"),
                    ("Content-Length", str(facts.st_size)),
                    ("Last-Modified", formatdate(facts.st_mtime, usegmt=True)),
                ]
                writer.write(_head("200 OK", fields))
                while method == "GET" and (piece := file.read(httpwire.CHUNK)):
                    writer.write(piece)
                    await writer.drain()
        await writer.drain()


def locate(root: Path, target: str) -> Path | None:
    """Return the file that a request's target names, or None: there is none, or it lies outside of `root`."""
    name = unquote(target.partition("?")[0]).lstrip("/")
    if "\0" in name:
        return None
    path = (root / name).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None


def _head(status: str, fields: list[tuple[str, str]]) -> bytes:
    return httpwire.render(f"HTTP/1.1 {status}", [*fields, ("Connection", "close")])
