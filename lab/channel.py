"""A client's connection, plain or encrypted, which can be ended as rudely as a fault demands."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

POLL = 0.005
"""Seconds between two looks at what has not left this process yet."""


class Channel:
    """One accepted connection: `reader` and `writer` speak with the client, also after `encrypt`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        # Below the encryption, where bytes wait for the network and where a connection is reset.
        self._transport = writer.transport

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """Let the client greet, and speak TLS from now on; raises OSError if it does not come to that.

        Nothing may be awaited between the connection and this: what the reader has taken is no longer encrypted.
        """
        await self.writer.start_tls(context)

    async def flush(self) -> None:
        """Return when all that was written has left this process."""
        # Not 0: an encrypted transport would wait for less than nothing.
        self.writer.transport.set_write_buffer_limits(high=1, low=0)
        await self.writer.drain()
        # The transport below tells nobody but the encryption when it has become empty.
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(POLL)

    def cut(self) -> None:
        """End the connection with a reset instead of an orderly close."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None and connection.fileno() != -1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close(self) -> None:
        """End the connection in good order, unless it has ended."""
        self.writer.close()
