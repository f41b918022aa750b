"""Connections made again over real sockets: until open, after a loss, for ever. No test waits for a delay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support import (
    Inbox,
    echo,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    refused_port,
    soon,
    url_of,
)

from firefly_ws import (
    CloseReason,
    ConnectionClosed,
    ConnectionClosedError,
    HandshakeError,
    MessageTooBig,
    Response,
    Server,
    WebSocketConnection,
    WebSocketConnectionException,
    http_server,
    ws,
)
from firefly_ws.per_loop import runtime_of

AT_ONCE = {"base_delay": 0.0, "max_delay": 0.0}
NEVER = {"base_delay": 1e6, "max_delay": 1e6}  # a millionth of it is a second


class Moody:
    """A server that answers with *statuses* first, then accepts; ``requests`` and ``connections`` have what came."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests, self.connections, self.closes = Inbox(), Inbox(), Inbox()
        self.server: Server

    async def listen(self) -> Moody:
        route = http_server().on_upgrade(self._answer).websocket("/").on_message(echo).on_open(self.connections)
        self.server = await route.on_close(lambda _, reason: self.closes(reason)).listen("127.0.0.1", 0)
        return self

    def _answer(self, request: Any) -> Response | None:
        self.requests(request)
        return Response(self.statuses.pop(0), "later") if self.statuses else None

    def builder(self, **options: Any) -> Any:
        return ws(url_of(self.server)).discard().reconnect(**AT_ONCE, **options)


# --- until it is open


async def test_connect_is_tried_until_the_server_takes_it() -> None:
    moody = await Moody(503, 502, 429).listen()
    async with moody.builder().connect() as connection:
        assert connection.is_open
    assert len(moody.requests) == 4
    await moody.server.close()


async def test_connect_is_tried_until_the_server_is_there(unused_tcp_port: int) -> None:
    servers: list[Server] = []
    tries = 0

    async def appear(builder: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            servers.append(await http_server().websocket("/").discard().listen("127.0.0.1", unused_tcp_port))

    builder = ws(f"ws://127.0.0.1:{unused_tcp_port}/").discard().reconnect(**AT_ONCE, before_try=appear)
    async with builder as connection:
        assert connection.is_open
    assert tries == 3
    await servers[0].close()


async def test_giving_up_says_how_often_and_why() -> None:  # C8
    port = await refused_port()
    with pytest.raises(WebSocketConnectionException, match=rf"gave up after 4 tries.*:{port}/: .*refused") as raised:
        await ws(f"ws://127.0.0.1:{port}/").reconnect(**AT_ONCE, max_tries=4).connect()
    assert raised.value.tries == 4
    assert isinstance(raised.value.__cause__, WebSocketConnectionException)
    assert isinstance(raised.value.__cause__.__cause__, ConnectionRefusedError)


async def test_an_answer_that_will_not_change_is_raised_at_once() -> None:
    moody = await Moody(503, 401, 503).listen()
    with pytest.raises(HandshakeError) as raised:
        await moody.builder().connect()
    assert (raised.value.status, raised.value.tries) == (401, 2)
    assert len(moody.requests) == 2
    await moody.server.close()


async def test_the_predicate_is_the_users() -> None:
    moody = await Moody(401, 404).listen()
    asked: list[int] = []

    def even_so(error: Exception) -> bool:
        assert isinstance(error, HandshakeError)
        asked.append(error.status)
        return True

    async with moody.builder(retry_if=even_so).connect():
        assert asked == [401, 404]
    await moody.server.close()


def renew(tokens: list[str], builder: Any) -> None:
    builder.bearer(tokens.pop(0)).header("X-Try", str(len(tokens))).cookies({"try": str(len(tokens))})


async def renew_later(tokens: list[str], builder: Any) -> None:
    await asyncio.sleep(0)
    renew(tokens, builder)


@pytest.mark.parametrize("hook", [renew, renew_later])
async def test_a_hook_changes_the_request_of_each_try(hook: Callable[..., object]) -> None:
    moody = await Moody(503, 503).listen()
    tokens = ["a", "b", "c"]
    builder = moody.builder(before_try=lambda builder: hook(tokens, builder)).cookies({"session": "1"})
    async with builder.connect():
        requests = await moody.requests.take(3)
    assert [request.headers["authorization"] for request in requests] == ["Bearer a", "Bearer b", "Bearer c"]
    # Nothing adds up: each try begins from the builder as it is.
    assert [request.headers.get_all("x-try") for request in requests] == [["2"], ["1"], ["0"]]
    assert [request.headers["cookie"] for request in requests] == [f"session=1; try={n}" for n in (2, 1, 0)]
    await moody.server.close()


async def test_an_error_of_the_hook_is_raised() -> None:
    def fail(builder: Any) -> None:
        raise KeyError("no token")

    with pytest.raises(KeyError, match="no token"):
        await ws("ws://127.0.0.1:1/").reconnect(before_try=fail).connect()


async def test_giving_up_that_nobody_awaits_is_logged_once() -> None:
    port = await refused_port()
    with logged() as records:
        ws(f"ws://127.0.0.1:{port}/").reconnect(**AT_ONCE, max_tries=2).connect_async(print)
        await eventually(lambda: records)
    assert [record.levelname for record in records] == ["ERROR"]
    assert "gave up after 2 tries" in records[0].getMessage()


# --- connect_async, made again


async def test_a_lost_connection_is_made_again_and_the_callback_called_again() -> None:
    moody = await Moody().listen()
    opened = Inbox()
    connecting = moody.builder().connect_async(opened)
    first = await opened.next()
    (await moody.connections.next()).terminate()
    second = await opened.next()
    assert (first.is_closed, second.is_open) == (True, True)
    assert not connecting.done()
    assert (await soon(second.close())).code == 1000
    assert await soon(connecting) is second
    await moody.server.close()


@pytest.mark.parametrize("code", [1000, 1001, 1008, 4000])
async def test_a_close_of_the_server_is_a_loss(code: int) -> None:
    moody = await Moody().listen()
    opened = Inbox()
    connecting = moody.builder().connect_async(opened)
    await opened.next()
    (await moody.connections.next()).close(code, "later")
    second = await opened.next()
    await soon(second.close())
    await soon(connecting)
    await moody.server.close()


async def test_a_connection_is_made_again_through_refusals() -> None:
    moody = await Moody().listen()
    opened = Inbox()
    connecting = moody.builder(max_tries=3).connect_async(opened)
    for _ in range(3):
        await opened.next()
        moody.statuses = [503, 503]  # one more would be too many, but each opening begins anew
        (await moody.connections.next()).terminate()
    connection = await opened.next()
    await soon(connection.close())
    await soon(connecting)
    await moody.server.close()


async def test_an_error_of_a_message_callback_is_a_loss() -> None:
    moody = await Moody().listen()
    opened = Inbox()

    def fail(text: str, connection: Any) -> None:
        raise KeyError(text)

    builder = ws(url_of(moody.server)).on_text(fail).reconnect(**AT_ONCE)
    connecting = builder.connect_async(opened)
    with logged() as records:
        (await opened.next()).send("mine")
        second = await opened.next()
    assert [record.levelname for record in records] == ["ERROR"]
    await soon(second.close())
    await soon(connecting)
    await moody.server.close()


async def test_the_callback_of_a_lost_connection_is_cancelled_before_the_next() -> None:
    moody = await Moody().listen()
    told = Inbox()

    async def wait(connection: WebSocketConnection) -> None:
        told("begun")
        try:
            await asyncio.Event().wait()
        finally:
            told("ended")

    with logged() as records:
        connecting = moody.builder().connect_async(wait)
        assert await told.next() == "begun"
        (await moody.connections.next()).terminate()
        assert await told.take(2) == ["ended", "begun"]
        connecting.cancel()
        assert await told.next() == "ended"
    assert not records
    await moody.server.close()


async def test_a_send_that_meets_the_loss_ends_nothing() -> None:
    moody = await Moody().listen()
    opened = Inbox()

    async def talk(connection: WebSocketConnection) -> None:
        opened(connection)
        while True:
            await connection.send("more")
            await asyncio.sleep(0)

    with logged() as records:
        connecting = moody.builder().connect_async(talk)
        await opened.next()
        (await moody.connections.next()).terminate()
        second = await opened.next()
        await soon(second.close())
        assert await soon(connecting) is second
    assert not records
    await moody.server.close()


async def test_an_error_of_the_callback_ends_it() -> None:
    moody = await Moody().listen()

    async def fail(connection: WebSocketConnection) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await soon(moody.builder().connect_async(fail))
    assert (await moody.closes.next()).code == 1011
    assert len(moody.requests) == 1
    await moody.server.close()


async def test_closing_inside_the_callback_ends_it_when_the_callback_has_ended() -> None:
    moody = await Moody().listen()
    told = Inbox()

    async def bye(connection: WebSocketConnection) -> None:
        await connection.close(4001, "enough")
        await asyncio.sleep(0)
        told("last words")

    connection = await soon(moody.builder().connect_async(bye))
    assert len(told) == 1
    assert connection.close_sent == (4001, "enough")
    await moody.server.close()


async def test_on_close_of_a_lost_connection_comes_before_on_open_of_the_next() -> None:
    moody = await Moody().listen()
    told = Inbox()

    async def closed(connection: WebSocketConnection, reason: CloseReason) -> None:
        await asyncio.sleep(0.02)
        told("closed")

    builder = moody.builder().on_open(lambda connection: told("opened")).on_close(closed)
    opened = Inbox()
    connecting = builder.connect_async(opened)
    await opened.next()
    (await moody.connections.next()).terminate()
    second = await opened.next()
    assert await told.take(3) == ["opened", "closed", "opened"]
    await soon(second.close())
    await soon(connecting)
    await moody.server.close()


async def test_a_loss_that_is_not_worth_it_is_raised() -> None:
    moody = await Moody().listen()
    opened = Inbox()
    connecting = moody.builder(retry_if=lambda error: not isinstance(error, ConnectionClosed)).connect_async(opened)
    await opened.next()
    (await moody.connections.next()).close(1008, "not you")
    with pytest.raises(ConnectionClosedError) as raised:
        await soon(connecting)
    assert raised.value.received == (1008, "not you")
    await moody.server.close()


async def test_cancelling_ends_the_connection_and_the_trying() -> None:
    moody = await Moody().listen()
    opened = Inbox()
    connecting = moody.builder().connect_async(opened)
    await opened.next()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(connecting)
    assert (await moody.closes.next()).code == 1000
    assert len(moody.requests) == 1
    await moody.server.close()


async def test_a_predicate_sees_what_a_connection_was_lost_by() -> None:
    moody = await Moody().listen()
    seen: list[Any] = []
    builder = ws(url_of(moody.server)).max_message_size(5).on_text(print)
    builder.reconnect(retry_if=lambda error: seen.append(error.__cause__))
    connecting = builder.connect_async(lambda connection: None)
    (await moody.connections.next()).send("too long")
    with pytest.raises(ConnectionClosedError):
        await soon(connecting)
    assert [type(cause) for cause in seen] == [MessageTooBig]
    await moody.server.close()


# --- for ever


async def test_forever_gives_one_connection_after_the_other() -> None:
    moody = await Moody(503).listen()
    inbox, seen = Inbox(), []
    builder = ws(url_of(moody.server)).on_text(inbox).reconnect(**AT_ONCE)
    async for connection in builder.forever():
        assert connection.is_open
        seen.append(connection)
        connection.send(f"hello {len(seen)}")
        assert await inbox.next() == f"hello {len(seen)}"
        if len(seen) == 3:
            break
        # Lost once, and once left open at the end of the body.
        if len(seen) == 1:
            (await moody.connections.next()).terminate()
            await connection.wait_closed()
    assert len(set(seen)) == 3
    assert [(await moody.closes.next()).code for _ in range(3)] == [1006, 1000, 1000]
    await moody.server.close()


async def test_forever_raises_what_is_not_worth_another_try() -> None:
    moody = await Moody(403).listen()

    async def endless() -> None:
        async for _ in ws(url_of(moody.server)).forever():
            raise AssertionError("it opened")

    with pytest.raises(HandshakeError) as raised:
        await endless()
    assert raised.value.status == 403
    await moody.server.close()


async def test_an_error_in_the_body_is_raised_and_closes_with_1011_inside_async_with() -> None:
    moody = await Moody().listen()

    async def endless() -> None:
        async for connection in moody.builder().forever():
            async with connection:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await endless()
    assert (await moody.closes.next()).code == 1011
    await moody.server.close()


async def test_two_loops_go_for_ever_at_once() -> None:
    moody = await Moody().listen()
    builder = moody.builder()

    async def one() -> int:
        count = 0
        async for connection in builder.forever():
            count += connection.is_open
            if count == 2:
                break
        return count

    assert await soon(asyncio.gather(one(), one())) == [2, 2]
    await moody.server.close()


# --- the end of everything


async def test_the_runtimes_end_is_the_end_of_waiting_for_the_next_try() -> None:
    port = await refused_port()
    builder = ws(f"ws://127.0.0.1:{port}/").discard().reconnect(**NEVER)
    runtime = runtime_of(asyncio.get_running_loop())

    async def endless() -> str:
        async for _ in builder.forever():
            raise AssertionError("it opened")
        return "ended"

    loop = asyncio.create_task(endless())
    connecting = builder.connect_async(print)
    await eventually(lambda: len(runtime.tracked) == 2)
    await soon(runtime.close_all())
    assert await soon(loop) == "ended"
    with pytest.raises(asyncio.CancelledError):
        await soon(connecting)


async def test_the_runtimes_end_closes_with_1001_and_makes_no_other() -> None:
    moody = await Moody().listen()
    runtime = runtime_of(asyncio.get_running_loop())
    opened = Inbox()

    async def endless() -> str:
        async for connection in moody.builder().forever():
            opened(connection)
            await connection.wait_closed()
        return "ended"

    loop = asyncio.create_task(endless())
    connecting = moody.builder().connect_async(opened)
    await opened.take(2)
    await soon(runtime.close_all())
    assert await soon(loop) == "ended"
    assert (await soon(connecting)).close_sent.code == 1001
    assert len(moody.requests) == 2


async def test_a_cancelled_wait_leaves_nothing() -> None:
    port = await refused_port()
    connecting = ws(f"ws://127.0.0.1:{port}/").reconnect(**NEVER).connect()
    await eventually(lambda: runtime_of(asyncio.get_running_loop()).tracked)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(connecting)
