"""The `websockets` library, as client at our server and as server for our client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets.exceptions
from support import (
    Inbox,
    echo,
    nothing_leaks,  # noqa: F401
    soon,
    url_of,
)
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from firefly_ws import CloseReason, Server, WebSocketConnection, http_client, http_server

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 300000]
CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]


@asynccontextmanager
async def our_server(**callbacks: Any) -> AsyncIterator[Server]:
    route = http_server().websocket("/").sub_protocols(["chat"])
    for name, callback in callbacks.items():
        getattr(route, name)(callback)
    async with route.listen("127.0.0.1", 0) as server:
        yield server


@asynccontextmanager
async def their_server(handler: Any, **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def their_echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


# --- websockets' client at our server


async def test_their_client_gets_every_message_back() -> None:  # F5, K4
    async with our_server(on_message=echo) as server, connect(url_of(server), proxy=None) as theirs:
        for size in SIZES:
            await theirs.send("ä" * (size // 2))
            assert await soon(theirs.recv()) == "ä" * (size // 2)
            await theirs.send(b"\0\xff" * (size // 2))
            assert await soon(theirs.recv()) == b"\0\xff" * (size // 2)


async def test_their_clients_fragments_are_one_message() -> None:  # K4
    async with our_server(on_message=echo) as server, connect(url_of(server), proxy=None) as theirs:
        for parts in (["a", "", "ä", "b" * 70000], [b"\xff", b"", b"x" * 70000], ["one"], [""]):
            await theirs.send(parts)
            assert await soon(theirs.recv()) == type(parts[0])().join(parts)  # type: ignore[attr-defined]


async def test_pings_are_answered_in_both_directions() -> None:  # C5
    pings, opened = Inbox(), Inbox()
    async with our_server(on_accept=opened, on_ping=pings) as server, connect(url_of(server), proxy=None) as theirs:
        await soon(await theirs.ping(b"theirs"))
        assert await pings.next() == b"theirs"
        ours: WebSocketConnection = await opened.next()
        assert 0 <= await soon(ours.ping(b"ours")) < 5
        assert await soon(asyncio.gather(*(ours.ping() for _ in range(10))))


@pytest.mark.parametrize("code", CODES)
async def test_their_close_reaches_us_and_is_echoed(code: int) -> None:
    closes = Inbox()
    async with our_server(on_close=lambda connection, reason: closes(reason)) as server:
        theirs = await connect(url_of(server), proxy=None)
        await soon(theirs.close(code, "their reason, ä"))
        assert (theirs.close_code, theirs.close_reason) == (code, "their reason, ä")
        assert await closes.next() == CloseReason(code, "their reason, ä")


@pytest.mark.parametrize("code", CODES)
async def test_our_close_reaches_their_client(code: int) -> None:
    async with our_server(on_accept=lambda connection: connection.close(code, "our reason, ä")) as server:
        theirs = await connect(url_of(server), proxy=None)
        with pytest.raises(websockets.exceptions.ConnectionClosed) as raised:
            await soon(theirs.recv())
        assert raised.value.rcvd is not None
        assert (raised.value.rcvd.code, raised.value.rcvd.reason) == (code, "our reason, ä")
        await soon(theirs.wait_closed())


async def test_their_close_without_a_code_is_1005() -> None:
    closes = Inbox()
    async with our_server(on_close=lambda connection, reason: closes(reason)) as server:
        theirs = await connect(url_of(server), proxy=None)
        theirs.protocol.send_close()
        theirs.send_data()  # type: ignore[no-untyped-call]
        await soon(theirs.wait_closed())
        assert await closes.next() == CloseReason(1005, "")


async def test_their_client_sees_our_sub_protocol_and_refusals() -> None:
    async with our_server() as server:
        async with connect(url_of(server), subprotocols=["x", "chat"], proxy=None) as theirs:  # type: ignore[list-item]
            assert theirs.subprotocol == "chat"
        with pytest.raises(websockets.exceptions.InvalidStatus) as raised:
            await connect(url_of(server, "/nothing"), proxy=None)
        assert raised.value.response.status_code == 404


async def test_both_ends_stream_at_the_same_time() -> None:  # F12
    count, size = 200, 20000
    got = Inbox()

    async def push(connection: WebSocketConnection) -> None:
        for number in range(count):
            await connection.send(bytes([number]) * size)

    async with our_server(on_accept_async=push, on_binary=got) as server, connect(url_of(server), proxy=None) as theirs:

        async def send() -> None:
            for number in range(count):
                await theirs.send(bytes([number]) * size)

        sending = asyncio.create_task(send())
        for number in range(count):
            assert (await soon(theirs.recv()))[0] == number
        assert [data[0] for data in await got.take(count)] == list(range(count))
        await sending


async def test_their_clients_sixteen_megabytes_come_back() -> None:  # K4
    large = bytes(range(256)) * 65536
    route = http_server().websocket("/").max_message_size(2**25).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server, connect(url_of(server), proxy=None, max_size=None) as theirs:
        await theirs.send(large)
        assert await soon(theirs.recv()) == large


async def test_a_message_above_our_limit_is_1009_for_their_client() -> None:  # F9
    async with our_server(on_message=echo) as server, connect(url_of(server), proxy=None) as theirs:
        await theirs.send("a" * (2**20 + 1))
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as raised:
            await soon(theirs.recv())
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1009
        assert "max_message_size" in raised.value.rcvd.reason


# --- our client at websockets' server


async def test_their_server_gives_every_message_back() -> None:  # F5, K4
    inbox = Inbox()
    async with their_server(their_echo) as url:  # noqa: SIM117
        async with http_client().websocket(url).on_text(inbox).on_binary(inbox).connect() as ours:
            for size in SIZES:
                ours.send("ä" * (size // 2))
                assert await inbox.next() == "ä" * (size // 2)
                ours.send(b"\0\xff" * (size // 2))
                assert await inbox.next() == b"\0\xff" * (size // 2)


async def test_their_server_gives_sixteen_megabytes_back() -> None:  # K4
    large = bytes(range(256)) * 65536
    inbox = Inbox()
    async with their_server(their_echo, max_size=None) as url:  # noqa: SIM117
        async with http_client().websocket(url).max_message_size(2**25).on_binary(inbox).connect() as ours:
            ours.send(large)
            assert await inbox.next() == large


async def test_a_message_above_their_servers_limit_is_1009_for_us() -> None:
    async with their_server(their_echo, max_size=1000) as url:
        ours = await http_client().websocket(url).discard().connect()
        ours.send("a" * 1001)
        assert (await soon(ours.wait_closed())).code == 1009


async def test_their_servers_fragments_and_pings() -> None:  # K4
    inbox, pings = Inbox(), Inbox()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(["a", "", "ä"])
        await (await connection.ping(b"theirs"))
        await connection.send([b"\xff", b"x" * 70000])
        await connection.wait_closed()

    async with their_server(handler) as url:
        client = http_client().websocket(url).on_text(inbox).on_binary(inbox).on_ping(pings)
        async with client.connect() as ours:
            assert await inbox.take(2) == ["aä", b"\xff" + b"x" * 70000]
            assert await pings.next() == b"theirs"
            assert 0 <= await soon(ours.ping()) < 5


@pytest.mark.parametrize("code", CODES)
async def test_close_codes_reach_their_server_and_ours(code: int) -> None:
    closed = Inbox()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed((connection.close_code, connection.close_reason))

    async def close(connection: ServerConnection) -> None:
        await connection.close(code, "their reason, ä")

    async with their_server(wait) as url:
        ours = await http_client().websocket(url).discard().connect()
        assert await soon(ours.close(code, "our reason, ä")) == CloseReason(code, "our reason, ä")
        assert await closed.next() == (code, "our reason, ä")
    async with their_server(close) as url:
        ours = await http_client().websocket(url).discard().connect()
        assert await soon(ours.wait_closed()) == CloseReason(code, "their reason, ä")
        assert ours.close_received == (code, "their reason, ä")
        assert ours.close_sent is not None
        assert ours.close_sent.code == code


async def test_what_their_server_is_told_by_our_client() -> None:
    told = Inbox()

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        told((connection.request.path, connection.request.headers["X-One"], connection.subprotocol))

    async with their_server(handler, subprotocols=["chat"]) as url:
        async with http_client().websocket(url + "a?b=c").discard().header("X-One", "1").sub_protocols(["chat"]):
            pass
        assert await told.next() == ("/a?b=c", "1", "chat")
