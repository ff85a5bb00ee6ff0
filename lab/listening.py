"""A server on a loopback port that ends when it is told to, with all that is under way in it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from lab import httpwire
from lab.daemon import HOST
from lab.httpwire import BadMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Lets `converse` talk with each client. A client that breaks off, or makes no sense, ends its connection only."""

    def __init__(self, converse: Converse) -> None:
        self._converse = converse
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listen, on any free port if it is 0, and return the port; raises OSError if it is taken."""
        self._server = await asyncio.start_server(self._serve, HOST, port, limit=httpwire.CHUNK)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        if self._server is not None:
            self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs a connection's handler in a task
        self._handlers.add(task)
        try:
            # Cancelled by stop() and nobody else; asyncio takes a handler that ends so for a bug.
            with contextlib.suppress(BadMessage, OSError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._handlers.discard(task)
            writer.close()
