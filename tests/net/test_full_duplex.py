"""Both ends of the library send at the same time, more than fits anywhere, on one connection and on fifty."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from support import (
    eventually,
    nothing_leaks,  # noqa: F401
    url_of,
)

from firefly_ws import DONE, WebSocketConnection, http_client, http_server

SIZE = 64 * 1024
LIMIT = 60  # seconds; the machine may be busy


class End:
    """What one end has received on each of its connections."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.got: dict[int, list[int]] = {}
        self.waited = 0

    async def stream(self, connection: WebSocketConnection) -> None:
        for number in range(self.count):
            sent = connection.send(bytes((number,)) * SIZE)
            self.waited += sent is not DONE
            await sent

    def on_binary(self, data: bytes, connection: WebSocketConnection) -> None:
        assert len(data) == SIZE
        self.got.setdefault(connection.id, []).append(data[0])

    def configured(self, builder: Any) -> Any:
        return builder.on_binary(self.on_binary).write_low_water(SIZE // 4).write_high_water(SIZE // 2)

    def has_all(self, connections: int) -> bool:
        return [*self.got.values()] == [list(range(self.count))] * connections


def tight_socket() -> socket.socket:
    """One whose connections get so little room in the kernel that their sends have to wait."""
    sock = socket.socket()
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SIZE // 2)
    sock.bind(("127.0.0.1", 0))
    return sock


@pytest.mark.parametrize(("connections", "count"), [(1, 200), (50, 30)])
async def test_both_ends_stream_at_once_without_a_deadlock(connections: int, count: int) -> None:  # F2, F12
    ours, theirs = End(count), End(count)
    async with asyncio.timeout(LIMIT):
        route = ours.configured(http_server().websocket("/")).on_accept_async(ours.stream)
        async with route.listen(sock=tight_socket()) as server:
            client = theirs.configured(http_client().websocket(url_of(server)))
            opened = await asyncio.gather(*(client.connect() for _ in range(connections)))
            await asyncio.gather(*map(theirs.stream, opened))
            await eventually(lambda: ours.has_all(connections) and theirs.has_all(connections), LIMIT)
            assert ours.waited
            await asyncio.gather(*(connection.close() for connection in opened))


@pytest.mark.parametrize("connections", [1, 50])
async def test_callbacks_that_answer_each_other_do_not_deadlock(connections: int) -> None:  # F12
    """Each message is answered from within its callback, so that both ends are held back by their own answers."""
    ends = [0, 0]

    def answer(end: int) -> Any:
        def on_binary(data: bytes, connection: WebSocketConnection) -> object:
            ends[end] += 1
            return connection.send(bytes((data[0] - 1,)) * SIZE) if data[0] else None

        return on_binary

    async with asyncio.timeout(LIMIT):
        route = http_server().websocket("/").on_binary(answer(0)).write_high_water(SIZE).write_low_water(SIZE)
        async with route.listen("127.0.0.1", 0) as server:
            client = http_client().websocket(url_of(server)).on_binary(answer(1))
            client.write_high_water(SIZE).write_low_water(SIZE)
            opened = await asyncio.gather(*(client.connect() for _ in range(connections)))
            for connection in opened:
                for _ in range(8):
                    connection.send(bytes((9,)) * SIZE)
            await eventually(lambda: ends == [8 * 5 * connections] * 2, LIMIT)
            await asyncio.gather(*(connection.close() for connection in opened))
