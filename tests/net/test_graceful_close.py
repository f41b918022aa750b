"""`Server.close` under the eyes of clients: who waits gets in, what is acknowledged has arrived, all end in time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
from http_support import request
from support import CLOSE, TEXT, RawPeer, close_frame, echo, eventually, frame, raw_client, soon, upgrade
from support import nothing_leaks as nothing_leaks

from firefly_ws import Server, ending, http_server
from firefly_ws import server as server_module

AWAY = b"\x03\xe9"


def app() -> Any:
    return http_server().websocket("/").on_message(echo)


async def opened(server: Server, stack: AsyncExitStack, count: int) -> list[RawPeer]:
    peers = [await stack.enter_async_context(raw_client(server.port)) for _ in range(count)]
    for peer in peers:
        peer.send(upgrade())
        assert (await peer.head()).status == 101
    return peers


async def told(peer: RawPeer, payload: bytes = AWAY) -> None:
    """It gets a Close, answers, and sees the end of TCP."""
    assert await peer.frame() == (0x80 | CLOSE, payload)
    peer.send(close_frame(1001))
    assert await peer.rest() == b""


@pytest.mark.parametrize("by_loop", [False, True], ids=["own listener", "the loop's"])
async def test_who_waits_to_be_accepted_is_let_in_before_the_socket_closes(
    monkeypatch: pytest.MonkeyPatch, by_loop: bool
) -> None:
    monkeypatch.setattr(ending, "MOMENT", 5)
    if by_loop:
        monkeypatch.setattr(server_module, "available", lambda: False)
    server = await app().listen("127.0.0.1", 0)
    assert server.port is not None
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
    closed = server.close()  # and the loop has not turned since
    peers = [RawPeer(*await asyncio.open_connection(sock=sock)) for sock in waiting]
    for peer in peers:
        peer.send(upgrade())
        assert (await peer.head()).status == 101
    for peer in peers:
        await told(peer)
        await peer.close()
    await soon(closed)
    assert server.stats()["opened"] == 30


async def test_who_is_in_the_middle_of_tls_is_let_in(contexts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "MOMENT", 5)
    server = await app().secure(contexts[0]).listen("127.0.0.1", 0)
    reading, writing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = contexts[1].wrap_bio(reading, writing, server_hostname="127.0.0.1")
    async with raw_client(server.port) as peer:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        peer.send(writing.read())
        reading.write(await soon(peer.reader.read(65536)))
        assert len(server._greeting) == 1
        closed = server.close()
        await asyncio.sleep(0)
        tls.do_handshake()
        tls.write(upgrade())
        peer.send(writing.read())
        got = b""
        while not got.endswith(b"\x88\x02" + AWAY):
            reading.write(await soon(peer.reader.read(65536)))
            try:
                got += tls.read()
            except ssl.SSLWantReadError:
                continue
        assert got.startswith(b"HTTP/1.1 101 ")
        tls.write(close_frame(1001))
        peer.send(writing.read())
    await soon(closed)


async def test_who_connected_long_ago_and_said_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 0.02
    monkeypatch.setattr(ending, "MOMENT", moment)
    async with app().listen("127.0.0.1", 0) as server, raw_client(server.port) as idle, raw_client(server.port) as new:
        await asyncio.sleep(moment)
        new.send(upgrade()[:40])
        await eventually(lambda: server.stats()["handshaking"] == 2 and sum(h.is_silent for h in server._waiting) == 1)
        monkeypatch.setattr(ending, "MOMENT", moment / 2)
        closed = server.close()
        assert await idle.rest() == b""
        assert await new.rest() == b""
        await soon(closed)


async def test_with_a_spread_the_others_go_on_until_it_is_their_turn() -> None:
    async with app().listen("127.0.0.1", 0) as server, AsyncExitStack() as stack:
        peers = await opened(server, stack, 8)
        closed = server.close(1012, "restart", spread=0.2)
        firsts = Counter[str]()

        async def one(peer: RawPeer) -> None:
            peer.send(frame(TEXT, "on"))
            first = await peer.frame()
            if first == (0x80 | TEXT, b"on"):
                firsts["echo"] += 1
                first = await peer.frame()
            assert first == (0x80 | CLOSE, b"\x03\xf4restart")
            firsts["close"] += 1
            peer.send(close_frame(1012))
            assert await peer.rest() == b""

        await asyncio.gather(*map(one, peers))
        assert firsts["close"] == 8
        assert firsts["echo"] >= 6, "all but those of the first moment"
        await soon(closed)


async def test_a_spread_is_within_the_grace() -> None:
    async with app().listen("127.0.0.1", 0) as server:
        with pytest.raises(ValueError, match="spread=11 must be at most grace=10 seconds"):
            server.close(spread=11)
        with pytest.raises(ValueError, match="spread=-1 must be at least 0 seconds"):
            server.close(spread=-1)
        with pytest.raises(TypeError, match="spread=None must be a number of seconds"):
            server.close(spread=None)  # type: ignore[arg-type]
        assert server.is_listening


async def test_what_a_callback_has_sent_when_it_ended_arrives_before_the_close() -> None:
    ended = Counter[Any]()

    async def on_text(text: str, connection: Any) -> None:
        if int(text) % 3 == 0:
            await asyncio.sleep(0)
        connection.send(f"done {text}")
        ended[connection.remote_address] += 1

    route = http_server().websocket("/").on_text(on_text)
    async with route.listen("127.0.0.1", 0) as server, AsyncExitStack() as stack:
        peers = await opened(server, stack, 5)

        async def flood(peer: RawPeer) -> int:
            for number in range(4000):
                peer.send(frame(TEXT, str(number)))
                if number % 100 == 0:
                    await asyncio.sleep(0)
            return 0

        async def acknowledged(peer: RawPeer) -> int:
            count = 0
            while (got := await peer.frame()) != (0x80 | CLOSE, AWAY):
                assert got == (0x80 | TEXT, f"done {count}".encode())
                count += 1
            peer.send(close_frame(1001))
            return count

        floods = [asyncio.create_task(flood(peer)) for peer in peers]
        counts = [asyncio.create_task(acknowledged(peer)) for peer in peers]
        await eventually(lambda: len(ended) == 5 and sum(ended.values()) > 500)
        closed = server.close()
        got = await soon(asyncio.gather(*counts))
        await soon(asyncio.gather(*floods, return_exceptions=True))
        assert dict(zip((peer.writer.get_extra_info("sockname") for peer in peers), got, strict=True)) == ended
        await soon(closed)


async def test_the_grace_bounds_peers_callbacks_and_handlers_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "CALLBACK_GRACE", 0.02)
    did: list[str] = []

    async def hang(*arguments: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            did.append("cancelled")

    route = http_server().get("/slow", hang).websocket("/").on_text(hang).on_close(hang)
    server = await route.listen("127.0.0.1", 0)
    async with AsyncExitStack() as stack:
        deaf, busy, http = [*await opened(server, stack, 2), await stack.enter_async_context(raw_client(server.port))]
        busy.send(frame(TEXT, "x"))
        http.send(request(path="/slow"))
        await eventually(lambda: server._http.is_busy and server.stats()["connections"] == 2)
        await soon(server.close(grace=0.05))
        assert not server.connections
        # Its on_close comes behind the callback, and hangs: a moment later it is cancelled too.
        await eventually(lambda: len(did) == 4)
        assert AWAY in await deaf.rest()


async def test_a_builder_says_how_a_server_closes_that_nobody_closes() -> None:
    with pytest.raises(ValueError, match="1005"):
        app().closing(1005)
    async with AsyncExitStack() as stack:
        async with app().closing(1012, "restart", 0.1).listen("127.0.0.1", 0) as server:
            (peer,) = await opened(server, stack, 1)
        assert await peer.rest() == b"\x88\x09\x03\xf4restart"
