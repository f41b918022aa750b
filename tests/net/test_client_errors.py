"""Clients that get no connection: what is raised, with which facts, and how long it takes."""

from __future__ import annotations

import asyncio

import pytest
from support import (
    Inbox,
    RawPeer,
    echo,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_server,
    soon,
    switching,
    url_of,
)

from firefly_ws import (
    HandshakeError,
    HttpConfig,
    WebSocketConnection,
    WebSocketConnectionException,
    WebSocketPolicy,
    http_client,
    http_server,
)


async def accept_and_end(peer: RawPeer) -> None:
    """Upgrade, then end TCP."""
    _, fields = await peer.request()
    peer.send(switching(fields["sec-websocket-key"]))


async def test_a_refusal_gives_its_status_headers_and_body() -> None:
    async def refuse(peer: RawPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 418 I'm a teapot\r\nX-Fact: yes\r\nContent-Length: 5\r\n\r\nshort and stout")
        await peer.rest()

    async with raw_server(refuse) as port:
        with pytest.raises(HandshakeError, match=f"127.0.0.1:{port}.*418 I'm a teapot") as raised:
            await http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect()
    error = raised.value
    assert (error.status, error.headers["x-fact"], error.body) == (418, "yes", b"short")
    assert isinstance(error, OSError)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"Content-Length: 100\r\n\r\nhalf a body", b"half a body"),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n", b"wikipedia"),
        (b"\r\nto the end", b"to the end"),
        (b"Content-Length: 0\r\n\r\n", b""),
    ],
    ids=["cut", "chunked", "to the end", "empty"],
)
async def test_the_body_of_a_refusal_is_read_however_it_is_framed(answer: bytes, body: bytes) -> None:
    async def refuse(peer: RawPeer) -> None:
        await peer.request()
        await peer.send_bytewise(b"HTTP/1.1 503 Busy\r\n" + answer)

    async with raw_server(refuse) as port:
        with pytest.raises(HandshakeError) as raised:
            await http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect()
    assert (raised.value.status, raised.value.body) == (503, body)


async def test_a_server_that_ends_the_connection_instead_of_answering_is_told() -> None:
    async def leave(peer: RawPeer) -> None:
        await peer.request()

    async with raw_server(leave) as port:
        with pytest.raises(HandshakeError, match="ended before the server answered") as raised:
            await http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect()
    assert raised.value.status == 0


async def test_open_timeout_bounds_the_wait_for_an_answer() -> None:
    async def silent(peer: RawPeer) -> None:
        await peer.rest()

    async with raw_server(silent) as port:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(WebSocketConnectionException, match=r"open_timeout=0\.1") as raised:
            await http_client().websocket(f"ws://127.0.0.1:{port}/").discard().open_timeout(0.1).connect()
        assert asyncio.get_running_loop().time() - begun < 1
    assert isinstance(raised.value.__cause__, TimeoutError)


@pytest.mark.parametrize(
    "config", [HttpConfig(open_timeout=0.05), HttpConfig(policy=WebSocketPolicy(open_timeout=0.05))]
)
async def test_open_timeout_may_be_a_default_of_the_client(config: HttpConfig) -> None:  # C1
    async def silent(peer: RawPeer) -> None:
        await peer.rest()

    client = http_client(config)
    async with raw_server(silent) as port:
        with pytest.raises(WebSocketConnectionException, match=r"open_timeout=0\.05"):
            await client.websocket(f"ws://127.0.0.1:{port}/").discard().connect()


@pytest.mark.parametrize("how", ["cancel", "task"])
async def test_a_connect_can_be_cancelled(how: str) -> None:
    came = asyncio.Event()

    async def silent(peer: RawPeer) -> None:
        came.set()
        await peer.rest()

    async with raw_server(silent) as port:
        connecting = http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect()

        async def wait() -> None:
            await connecting

        task = asyncio.create_task(wait())
        await soon(came.wait())
        with logged() as records:
            (connecting if how == "cancel" else task).cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(task)
        await eventually(connecting.done)
        assert not records


async def test_a_connection_that_ends_right_after_its_upgrade_is_still_handed_over() -> None:
    async with raw_server(accept_and_end) as port:
        connection = await http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect()
        assert (await soon(connection.wait_closed())).code == 1006


async def test_cancelling_connect_async_cancels_its_callback_and_closes() -> None:
    closes, inbox = Inbox(), Inbox()
    server = await http_server().websocket("/").on_close(lambda c, reason: closes(reason.code)).listen("127.0.0.1", 0)

    async def callback(connection: WebSocketConnection) -> None:
        inbox("begun")
        try:
            await asyncio.sleep(10)
        finally:
            inbox("ended")

    connecting = http_client().websocket(url_of(server)).discard().connect_async(callback)
    assert await inbox.next() == "begun"
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(connecting)
    assert await inbox.next() == "ended"
    assert await closes.next() == 1000
    await server.close()


async def test_an_error_of_a_callback_that_is_being_cancelled_is_not_lost() -> None:
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    begun = asyncio.Event()

    async def callback(connection: WebSocketConnection) -> None:
        try:
            begun.set()
            await asyncio.sleep(10)
        finally:
            raise KeyError("mine")

    connecting = http_client().websocket(url_of(server)).discard().connect_async(callback)
    await soon(begun.wait())
    with logged() as records:
        connecting.cancel()
        await eventually(lambda: records)
    await server.close()
    assert [repr(record.exc_info[1]) for record in records if record.exc_info] == ["KeyError('mine')"]
