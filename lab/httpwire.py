"""As much of HTTP/1.1 as a proxy needs: heads, and bodies passed on without being held in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

CHUNK = 64 * 1024
"""Bytes read at a time; also the limit of a head."""

HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "upgrade", "expect", "te"})
TLS_HANDSHAKE = b"\x16"
"""What a client begins with that tries TLS first, as dockerd does for each image: it must be told at once, or it waits
ten seconds for the answer to its greeting."""

BODILESS_STATUS = frozenset({204, 304})
INFORMATIONAL = 200
"""Statuses below this come before the real response."""


class BadMessage(Exception):
    """The peer sent something that is not HTTP/1.x."""


class TlsGreeting(BadMessage):
    """The peer begins a TLS handshake."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line, split at its first two blanks, and the header fields in their order."""

    first: tuple[str, str, str]
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Return the first field of that (lower-case) name."""
        return next((value for key, value in self.fields if key.lower() == name), None)

    @property
    def chunked(self) -> bool:
        """Return whether the body comes in chunks."""
        return (self.get("transfer-encoding") or "").lower().endswith("chunked")

    @property
    def length(self) -> int | None:
        """Return Content-Length, or None where there is none."""
        value = self.get("content-length")
        if value is None:
            return None
        if not value.isdecimal():
            raise BadMessage(f"Content-Length: {value}")
        return int(value)

    @property
    def closes(self) -> bool:
        """Return whether the peer ends the connection after this message."""
        connection = (self.get("connection") or "").lower()
        return "close" in connection or ("HTTP/1.0" in self.first and "keep-alive" not in connection)

    def forwarded(self, *extra: tuple[str, str]) -> bytes:
        """Return the head as it is passed on: without what concerns only this connection, with `extra`."""
        kept = ((key, value) for key, value in self.fields if key.lower() not in HOP_BY_HOP)
        return render(" ".join(self.first).rstrip(), [*kept, *extra])


def render(first: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a head as bytes."""
    lines = [first, *(f"{key}: {value}" for key, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Return the next message's head, or None at the end of the stream; raises BadMessage."""
    try:
        first_byte = await reader.readexactly(1)
        if first_byte == TLS_HANDSHAKE:
            raise TlsGreeting("TLS")
        raw = first_byte + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BadMessage("the stream ended within a head") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadMessage("the head is too long") from None
    first, *lines = raw.decode("latin-1").strip("\r\n").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not any(part.startswith("HTTP/1.") for part in parts):  # noqa: PLR2004 -- method, target
        raise BadMessage(first[:100])
    fields = []
    for line in lines:
        key, colon, value = line.partition(":")
        if not colon:
            raise BadMessage(line[:100])
        fields.append((key.strip(), value.strip()))
    return Head((parts[0], parts[1], parts[2] if len(parts) > 2 else ""), tuple(fields))  # noqa: PLR2004


async def body_of_response(reader: asyncio.StreamReader, head: Head, *, method: str) -> AsyncIterator[bytes]:
    """Yield the response's body as it is on the wire (chunks with their frames)."""
    if method == "HEAD" or int(head.first[1]) in BODILESS_STATUS:
        return
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
    elif head.length is not None:
        async for piece in _exactly(reader, head.length):
            yield piece
    else:
        while piece := await reader.read(CHUNK):
            yield piece


async def body_of_request(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """Yield the request's body as it is on the wire; a request without a length has none."""
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
    else:
        async for piece in _exactly(reader, head.length or 0):
            yield piece


async def _exactly(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    while length:
        piece = await reader.read(min(length, CHUNK))
        if not piece:
            raise BadMessage(f"the stream ended {length} bytes too soon")
        length -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await _line(reader)
        yield line
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadMessage(f"chunk size {line[:20]!r}") from None
        if not size:
            break
        async for piece in _exactly(reader, size + 2):
            yield piece
    while True:  # trailers, which end with an empty line
        line = await _line(reader)
        yield line
        if line == b"\r\n":
            return


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadMessage("the stream ended within a chunked body") from None
