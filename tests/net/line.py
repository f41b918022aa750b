"""A TCP proxy that is a bad network: it delays, splits, keeps back, cuts (FIN), resets (RST) or falls silent.

Knows sockets and bytes, not what they mean: TLS goes through it as anything does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support import soon

__all__ = ["Line", "Way", "line_to"]

RESETS = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Way:
    """One direction: what may still pass, and how."""

    def __init__(self) -> None:
        self.left: int | None = None  # bytes; None: all
        self.passes_end = True
        self.delay = 0.0
        self.piece = 65536
        self.held = asyncio.Event()  # nothing passes any more

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.left != 0 and (data := await reader.read(self.piece)):
            part = data if self.left is None else data[: self.left]
            if self.left is not None:
                self.left -= len(part)
            if self.delay:
                await asyncio.sleep(self.delay)
            if part:
                writer.write(part)
                await writer.drain()
        if self.left is not None or not self.passes_end:
            self.held.set()
            await asyncio.Event().wait()
        writer.write_eof()


class Line:
    """The proxy, for one connection."""

    def __init__(self) -> None:
        self.port = 0
        self.to_server, self.to_client = Way(), Way()
        self.connected = asyncio.Event()
        self.client: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._pumps: list[asyncio.Task[None]] = []

    async def join(self, port: int) -> None:
        """Connect to the server, and pump."""
        assert self.client is not None
        self.server = await asyncio.open_connection("127.0.0.1", port)
        self._pumps = [
            asyncio.create_task(self.to_server.pump(self.client[0], self.server[1])),
            asyncio.create_task(self.to_client.pump(self.server[0], self.client[1])),
        ]
        self.connected.set()

    async def fail(self, how: str) -> None:
        """``"cut"``, ``"reset"`` or ``"silence"``, both ways."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for end in (self.client, self.server):
            assert end is not None
            if how == "reset":
                end[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
                end[1].transport.abort()
            elif how == "cut":
                with contextlib.suppress(OSError):
                    end[1].write_eof()

    async def server_has_ended(self) -> None:
        """Return once the server has ended TCP; whatever else it says. ``TimeoutError`` where it does not."""
        assert self.server is not None
        with contextlib.suppress(ConnectionError):
            while await soon(self.server[0].read(65536)):
                pass

    async def end(self) -> None:
        """Nothing of it is left."""
        await self.fail("silence")
        for end in (self.client, self.server):
            assert end is not None
            end[1].transport.abort()
            with contextlib.suppress(OSError):
                await soon(end[1].wait_closed())


@asynccontextmanager
async def line_to(port: int | None) -> AsyncIterator[Line]:
    """A line for one connection to *port* of 127.0.0.1."""
    assert port is not None
    line = Line()
    joining: list[asyncio.Task[None]] = []

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line.client = reader, writer
        joining.append(asyncio.create_task(line.join(port)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        await asyncio.gather(*joining)
        if line.client is not None:
            await line.end()
        await server.wait_closed()
