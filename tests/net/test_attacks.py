"""What `python -m benchmarks.attacks` has found, and what it measures as far as no clock is needed for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import socket
import tracemalloc
import zlib
from typing import Any

import pytest
from http_support import answer, request, serving
from support import (
    BINARY,
    LIMIT,
    PING,
    TEXT,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
)

from firefly_ws import PingTimeout, WebSocketConnection, http_server
from firefly_ws._core.listening import _starving
from firefly_ws._core.poll import available

CONT = 0
KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize("how", ["callback", "async callback", "handler"])
async def test_keepalive_releases_a_client_that_is_stopped_while_answers_to_it_are_unread(how: str) -> None:  # F9
    accepted: list[WebSocketConnection] = []

    async def later(data: bytes, connection: WebSocketConnection) -> None:
        await connection.send(data)

    async def handler(connection: WebSocketConnection) -> None:
        accepted.append(connection)
        async for message in connection:
            await connection.send(message)

    route = http_server().websocket("/").ping_interval(0.05).ping_timeout(0.05).write_timeout(None)
    route.write_high_water(64 * KIB).write_low_water(16 * KIB)
    route.close_timeout(0.1)  # for so long what came before the end waits for somebody who receives it
    if how == "handler":
        route.handler(handler)
    elif how == "callback":
        route.on_accept(accepted.append).on_message(echo)
    else:
        route.on_accept(accepted.append).on_binary(later)
    loop = asyncio.get_running_loop()
    async with route.listen("127.0.0.1", 0) as server:
        # A stopped process reads nothing, and its kernel takes what still fits: so does this one.
        client = socket.create_connection(("127.0.0.1", server.port))
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * KIB)
        await loop.sock_sendall(client, upgrade())
        sending = asyncio.ensure_future(loop.sock_sendall(client, frame(BINARY, bytes(64 * KIB)) * 400))
        await eventually(lambda: accepted and accepted[0].is_closed)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        client.close()
        assert isinstance(accepted[0].error, PingTimeout)
        assert (await soon(accepted[0].wait_closed())).code == 1006


@pytest.mark.parametrize("how", ["callback", "handler"])
async def test_a_half_close_behind_more_than_fits_anywhere_still_gets_every_answer(how: str) -> None:
    async def handler(connection: WebSocketConnection) -> None:
        async for message in connection:
            await connection.send(message)

    route = http_server().websocket("/").write_high_water(64 * KIB).write_low_water(16 * KIB)
    route = route.handler(handler) if how == "handler" else route.on_message(echo)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade())
        await peer.head()
        peer.send(frame(BINARY, bytes(100 * KIB)) * 100)
        peer.writer.write_eof()
        answers = (b"\x82\x7f" + (100 * KIB).to_bytes(8, "big") + bytes(100 * KIB)) * 100
        rest = await peer.rest()
        assert rest[: len(answers)] == answers
        assert rest[len(answers) :] in (b"", b"\x88\x02\x03\xe8")


async def test_a_half_close_behind_messages_that_wait_for_a_handler_gets_every_answer() -> None:
    async def handler(connection: WebSocketConnection) -> None:
        async for message in connection:
            await asyncio.sleep(0.001)
            connection.send(message)

    async with http_server().websocket("/").handler(handler).listen("127.0.0.1", 0) as server:
        for count in (1, 2, 100):
            async with raw_client(server.port) as peer:
                peer.send(upgrade())
                await peer.head()
                peer.send(*[frame(TEXT, f"{number:03}") for number in range(count)])
                peer.writer.write_eof()
                assert await peer.rest() == b"".join(b"\x81\x03%03d" % number for number in range(count)), count
            await eventually(lambda: not server.connections)


async def test_requests_sent_ahead_leave_others_their_turns() -> None:
    served: list[int] = []
    turns: list[int] = []
    async with serving(lambda app: app.get("/", lambda asked: served.append(1) or "x")) as (_, peer):
        peer.send(request() * 2000)

        async def watch() -> None:
            while len(served) < 2000:
                turns.append(len(served))
                await asyncio.sleep(0)

        async def read() -> None:
            for _ in range(2000):
                await answer(peer)

        await asyncio.gather(asyncio.wait_for(watch(), 60), asyncio.wait_for(read(), 60))
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 40


async def test_requests_and_bodies_sent_ahead_are_told_apart_wherever_they_are_cut() -> None:
    async def post(asked: Any) -> bytes:
        return bytes(await asked.body())

    def chunked(body: bytes, size: int) -> bytes:
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])

    bodies = [b"%d" % number * (1 + 977 * number % 3001) for number in range(80)]
    stream = b"".join(
        request("POST", "/", chunked(body, 1 + number % 7 * 50), transfer_encoding="chunked")
        if number % 2 else request("POST", "/", body)
        for number, body in enumerate(bodies)
    )  # fmt: skip
    assert len(stream) > 256 * KIB
    async with serving(lambda app: app.post("/", post)) as (_, peer):
        peer.send(stream)
        for number, body in enumerate(bodies):
            assert (await answer(peer)).body == body, number


async def test_messages_that_have_inflated_leave_no_memory_behind() -> None:
    sizes: list[int] = []
    route = http_server().websocket("/").on_binary(lambda data, connection: sizes.append(len(data)))
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_extensions="permessage-deflate"))
        await peer.head()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(12):
                packer = zlib.compressobj(wbits=-15)
                packed = packer.compress(bytes(MIB - number)) + packer.flush(zlib.Z_SYNC_FLUSH)
                peer.send(frame(BINARY, packed[:-4], rsv=4))
            await eventually(lambda: len(sizes) == 12)
            assert tracemalloc.get_traced_memory()[0] - before < 3 * MIB
        finally:
            tracemalloc.stop()


async def test_a_flood_of_any_kind_leaves_another_connection_its_answers() -> None:
    floods = {
        "Pings": frame(PING, "x") * 40_000,
        "messages of a byte": frame(TEXT, "x") * 40_000,
        "empty fragments": frame(TEXT, "", fin=False) + frame(CONT, "", fin=False) * 40_000,
    }
    route = http_server().websocket("/").on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        for name, flood in floods.items():
            async with raw_client(server.port) as attacker, raw_client(server.port) as other:
                for peer in (attacker, other):
                    peer.send(upgrade())
                    await peer.head()
                attacker.send(flood)
                for number in range(20):
                    other.send(frame(TEXT, f"{number}"))
                    assert await other.frame() == (0x81, b"%d" % number), name


@pytest.mark.skipif(not available(), reason="the loop's own listening")
async def test_out_of_descriptors_each_one_that_ends_gives_way_to_the_next_with_one_line_in_the_log() -> None:
    loop = asyncio.get_running_loop()
    _starving._last.clear()
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    clients = [socket.socket() for _ in range(12)]
    kept: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                kept.append(os.open("/dev/null", os.O_RDONLY))
        os.close(kept.pop())  # there is one connection at a time
        with logged() as records:
            for client in clients:
                client.connect(("127.0.0.1", server.port))  # the system's queue takes them all
                client.setblocking(False)
                await loop.sock_sendall(client, upgrade())
            async with asyncio.timeout(LIMIT):  # a second's pause for each would be longer
                for client in clients:
                    assert (await loop.sock_recv(client, 12)) == b"HTTP/1.1 101"
                    client.shutdown(socket.SHUT_RDWR)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in kept:
            os.close(descriptor)
        for client in clients:
            client.close()
        await server.close()
    (line,) = [record.getMessage() for record in records]
    assert "RLIMIT_NOFILE" in line
    assert "max_connections" in line
