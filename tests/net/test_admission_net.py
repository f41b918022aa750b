"""More connections than a server takes: who is turned away, what it is told, and when there is a place again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support import (
    TEXT,
    RawPeer,
    close_frame,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
)

from firefly_ws import ConnectionClosed, HandshakeError, Server, admission, http_client, http_server
from firefly_ws.seldom import Seldom

GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slow is no client that is."""
    monkeypatch.setattr(admission, "PATIENCE", 30)


def app(**limits: int) -> Any:
    """A server with these limits, a websocket at /ws and a page at /."""
    built: Any = http_server()
    for name, value in limits.items():
        getattr(built, name)(value)
    return built.get("/", lambda request: "page").websocket("/ws").on_message(echo)


@asynccontextmanager
async def opened(port: int | None, **options: Any) -> AsyncIterator[RawPeer]:
    """A websocket that has been taken."""
    async with raw_client(port, **options) as peer:
        peer.send(upgrade("/ws"))
        assert (await peer.head()).status == 101
        yield peer


async def test_beyond_max_connections_who_asks_gets_503_and_a_place_that_is_free_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "seldom", Seldom(logging.getLogger("firefly_ws"), 60))
    async with app(max_connections=2).listen("127.0.0.1", 0) as server:
        with logged() as lines:
            async with opened(server.port) as first, raw_client(server.port) as second:
                second.send(GET)
                assert (await second.head()).status == 200  # and is kept alive
                for request in (upgrade("/ws"), GET):
                    async with raw_client(server.port) as third:
                        third.send(request)
                        answer = await third.answer()
                        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
                        assert answer.headers["connection"] == "close"
                        assert b"as many connections as it takes" in answer.body
                with pytest.raises(HandshakeError) as caught:
                    await http_client().ws("127.0.0.1", server.port, "/ws").connect()
                assert caught.value.status == 503
                assert server.stats()["refused"] == 3
                first.send(frame(TEXT, "served"), close_frame())
                assert await first.frame() == (0x81, b"served")
                await first.rest()
                await eventually(lambda: not server.connections)
                async with opened(server.port):
                    pass
        assert len(lines) == 1
        assert ".max_connections(number)" in lines[0].getMessage()


async def test_a_connection_has_one_place_from_accepting_through_http_and_the_upgrade_to_its_end() -> None:
    async with app(max_connections=1, max_connections_per_address=1).listen("127.0.0.1", 0) as server:
        for _ in range(3):
            async with raw_client(server.port) as peer:
                peer.send(GET)
                await soon(peer.reader.readuntil(b"page"))
                peer.send(upgrade("/ws"), frame(TEXT, "behind"))
                assert (await peer.head()).status == 101
                assert await peer.frame() == (0x81, b"behind")
                peer.send(close_frame())
                await peer.rest()
            await eventually(lambda: server._admission is not None and server._admission._taken == 0)
        async with raw_client(server.port) as silent:
            await eventually(lambda: server.stats()["handshaking"] == 1)
            async with raw_client(server.port) as other:
                other.send(GET)
                assert (await other.answer()).status == 503
            await silent.close()
        await eventually(lambda: server._admission is not None and server._admission._taken == 0)


async def test_each_address_has_places_of_its_own_and_gets_429_beyond_them() -> None:
    async with app(max_connections_per_address=1).listen("127.0.0.1", 0) as server, opened(server.port):
        async with raw_client(server.port) as second:
            second.send(upgrade("/ws"))
            answer = await second.answer()
            assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        async with opened(server.port, local_addr=("127.0.0.2", 0)) as other:
            other.send(frame(TEXT, "hello"))
            assert await other.frame() == (0x81, b"hello")


async def test_a_place_is_free_when_the_handler_of_a_lost_connection_ends_whatever_it_has_left_unread() -> None:
    gate = asyncio.Event()

    async def handler(connection: Any) -> None:
        await gate.wait()

    built: Any = http_server().max_connections(1)
    built = built.websocket("/ws").handler(handler).max_queue(2).close_timeout(None)
    async with built.listen("127.0.0.1", 0) as server:
        async with raw_client(server.port) as peer:
            peer.send(upgrade("/ws"), *[frame(TEXT, "unread")] * 10)
            assert (await peer.head()).status == 101
            (connection,) = server.connections
            await eventually(lambda: connection.messages_received == 2)
            peer.writer.transport.abort()
        with contextlib.suppress(ConnectionClosed):  # nothing is read, so that only a send tells of the loss
            while True:
                connection.send("x")
                await asyncio.sleep(0.002)
        assert connection.is_closed
        assert server._admission is not None
        assert server._admission._taken == 1
        gate.set()
        await eventually(lambda: server._admission is not None and server._admission._taken == 0)


async def test_unix_sockets_have_no_address_to_count(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with app(max_connections_per_address=1, max_connections=3).listen(path=path):
        writers = []
        for status in (b"101", b"101", b"101", b"503"):
            reader, writer = await asyncio.open_unix_connection(path)
            writers.append(writer)
            writer.write(upgrade("/ws"))
            assert (await soon(reader.readuntil(b"\r\n"))).split()[1] == status
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_who_is_turned_away_and_says_nothing_is_let_go_and_so_are_those_beyond_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "PATIENCE", 0.05)
    monkeypatch.setattr(admission, "TURNED_AWAY", 2)
    async with app(max_connections=1).listen("127.0.0.1", 0) as server, opened(server.port):
        async with raw_client(server.port) as one, raw_client(server.port) as two:
            await eventually(lambda: server.stats()["refused"] == 2)
            async with raw_client(server.port) as three:
                with contextlib.suppress(ConnectionResetError):
                    assert await three.rest() == b""
            for silent in (one, two):
                with contextlib.suppress(ConnectionResetError):
                    assert await silent.rest() == b""
        async with raw_client(server.port) as four:
            four.send(GET)
            assert (await four.answer()).status == 503


async def test_what_still_comes_does_not_reset_the_answer() -> None:
    async with (
        app(max_connections=1).listen("127.0.0.1", 0) as server,
        opened(server.port),
        raw_client(server.port) as peer,
    ):
        peer.send(GET)
        await eventually(lambda: server.stats()["refused"] == 1)
        for _ in range(5):
            peer.send(bytes(65536))
            await asyncio.sleep(0.001)
        assert (await peer.answer()).status == 503


async def test_a_server_that_closes_does_not_wait_for_who_is_turned_away() -> None:
    server: Server = await app(max_connections=1).listen("127.0.0.1", 0)
    async with opened(server.port), raw_client(server.port) as away:
        await eventually(lambda: server.stats()["refused"] == 1)
        await soon(server.close(grace=0))
        with contextlib.suppress(ConnectionResetError):
            assert await away.rest() == b""


async def test_the_limits_hold_with_tls_too(net_tls: Any) -> None:
    server_context, client_context = net_tls
    built = app(max_connections=1, max_connections_per_address=1).secure(server_context)
    async with built.listen("127.0.0.1", 0) as server:
        builder = http_client().wss("127.0.0.1", server.port, "/ws").ssl(client_context).discard()
        async with builder.connect():
            with pytest.raises(HandshakeError) as caught:
                await builder.connect()
            assert caught.value.status == 503
        await eventually(lambda: not server.connections)
        async with builder.connect():
            pass


@pytest.fixture
def net_tls(contexts: Any) -> Any:
    return contexts


async def test_many_that_come_at_once_never_get_more_places_than_there_are() -> None:
    sock = socket.create_server(("127.0.0.1", 0), backlog=200)
    async with app(max_connections=10).listen(sock=sock) as server:

        async def one() -> int:
            async with raw_client(server.port) as peer:
                peer.send(upgrade("/ws"))
                try:
                    status = (await peer.head()).status
                except (ConnectionResetError, asyncio.IncompleteReadError):
                    return 0
                await all_asked.wait()
                return status

        all_asked = asyncio.Event()
        asking = [asyncio.ensure_future(one()) for _ in range(50)]
        await eventually(lambda: server.stats()["refused"] == 40)
        await eventually(lambda: len(server.connections) == 10)
        all_asked.set()
        assert sorted(await asyncio.gather(*asking)) == [101] * 10 + [503] * 40
