"""A server that accepts nothing new: what is open stays, HTTP is answered once more, and draining tells of the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from http_support import answer, request
from support import CLOSE, TEXT, close_frame, echo, eventually, frame, raw_client, soon, upgrade
from support import nothing_leaks as nothing_leaks

from firefly_ws import Server, http_server


def app() -> Any:
    server = http_server().get("/", lambda request: "here")
    server.websocket("/ws").on_message(echo)
    return server


async def test_draining_refuses_new_connections_and_leaves_the_open_ones() -> None:
    async with app().listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        port = server.port
        peer.send(upgrade("/ws"))
        assert (await peer.head()).status == 101
        assert not server.is_draining
        drained = server.drain()
        assert server.is_draining
        assert not server.is_listening
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        peer.send(frame(TEXT, "still"))
        assert await peer.frame() == (0x80 | TEXT, b"still")
        assert not drained.done()
        peer.send(close_frame())
        assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe8")
        assert await soon(drained) is True
        assert server.is_draining, "until it is closed"
    assert not server.is_draining


async def test_a_kept_alive_connection_gets_503_for_an_upgrade_and_one_last_answer_for_http() -> None:
    async with app().listen("127.0.0.1", 0) as server, raw_client(server.port) as http, raw_client(server.port) as ws:
        for peer in (http, ws):
            peer.send(request())
            assert (await answer(peer)).body == b"here"
        assert await soon(server.drain()) is True, "an idle connection is nothing to wait for"
        ws.send(upgrade("/ws"))
        refused = await answer(ws)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["connection"] == "close"
        http.send(request())
        last = await answer(http)
        assert (last.body, last.headers["connection"]) == (b"here", "close")
        assert await http.rest() == b""
        assert server.stats()["refused"] == 1


async def test_what_was_accepted_before_may_still_shake_hands() -> None:
    async with app().listen("127.0.0.1", 0) as server, raw_client(server.port) as peer, raw_client(server.port) as http:
        await eventually(lambda: server.stats()["handshaking"] == 2)
        drained = server.drain()
        peer.send(upgrade("/ws"))
        assert (await peer.head()).status == 101
        http.send(request())
        last = await answer(http)
        assert (last.body, last.headers["connection"]) == (b"here", "close")
        assert not drained.done()
        peer.send(close_frame())
        assert await soon(drained) is True


async def test_a_drain_ends_with_false_at_its_timeout_and_when_the_server_closes() -> None:
    async with app().listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade("/ws"))
        assert (await peer.head()).status == 101
        assert await server.drain(0) is False
        assert await server.drain(0.01) is False
        waiting = server.drain()
        ending = server.close(1012)
        assert await soon(waiting) is False
        assert await peer.frame() == (0x80 | CLOSE, b"\x03\xf4")
        peer.send(close_frame(1012))
        await soon(ending)
        for bad in (-1, float("nan")):
            with pytest.raises(ValueError, match=f"timeout={bad} must be at least 0"):
                server.drain(bad)
        with pytest.raises(TypeError, match="timeout='1' must be a number"):
            server.drain("1")  # type: ignore[arg-type]


async def test_a_handler_and_a_callback_under_way_are_waited_for() -> None:
    go = asyncio.Event()

    async def slow(request: Any) -> str:
        await go.wait()
        return "done"

    async with app().get("/slow", slow).listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(request(path="/slow"))
        await eventually(lambda: server._http.is_busy)
        drained = server.drain()
        await asyncio.sleep(0.005)
        assert not drained.done()
        go.set()
        assert (await answer(peer)).body == b"done"
        assert await soon(drained) is True


async def test_draining_before_it_is_bound_leaves_nothing_listening() -> None:
    server: Server = app().listen("127.0.0.1", 0)
    drained = server.drain()
    await server
    assert await soon(drained) is True
    assert not server.is_listening
    await server.close()
