"""Moves one GiB as a single message and prints how many KiB of memory that took, beyond what was there before.

`python one_gibibyte.py up|down deflate|plain`: between our client and our server, in fragments;
`python one_gibibyte.py frame plain`: one single frame from a client that writes it by hand.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from firefly_ws import http_client, http_server, run

GIB = 1 << 30
BLOCK = bytes(range(256)) * 1024


def memory(field: str) -> int:
    """KiB of resident memory: VmRSS now, VmHWM at most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise LookupError(field)


def blocks() -> Iterator[bytes]:
    for _ in range(GIB // len(BLOCK)):
        yield BLOCK


async def asynchronous() -> AsyncIterator[bytes]:
    for block in blocks():
        yield block


async def take(connection: Any) -> None:
    size = 0
    async for piece in connection.receive_stream(max_size=GIB):
        size += len(piece)
    assert size == GIB, size


async def by_hand(port: int | None) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x82\xff" + GIB.to_bytes(8, "big") + bytes(4))
    for block in blocks():
        writer.write(block)
        await writer.drain()
    # The server's handler has read it to its end, and closes.
    assert (await reader.read())[:4] == b"\x88\x02\x03\xe8"
    writer.close()


async def main() -> None:
    how, extensions = sys.argv[1], ["permessage-deflate"] if sys.argv[2] == "deflate" else []
    route = http_server().websocket("/").extensions(extensions)
    if how == "down":
        route.handler(lambda connection: connection.send_stream(blocks()))
    else:
        route.handler(take)
    async with route.listen("127.0.0.1", 0) as server:
        base = memory("VmRSS")
        if how == "frame":
            await by_hand(server.port)
        else:
            builder = http_client().ws("127.0.0.1", server.port, "/").extensions(extensions)
            async with builder.connect() as connection:
                await (take(connection) if how == "down" else connection.send_stream(asynchronous()))
                reason = await connection.wait_closed()
            assert reason.code == 1000, reason
    print(memory("VmHWM") - base)


run(main)
