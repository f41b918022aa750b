"""A websocket scope's receive and send, without a connection: what comes before it is open, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firefly_ws.asgi.events import ClientDisconnected
from firefly_ws.asgi.websocket import WebSocketSession

SCOPE = {"type": "websocket", "path": "/", "subprotocols": ["a", "b"]}


class Doorkeeper:
    """A door that writes down what it is asked."""

    def __init__(self) -> None:
        self.denied: list[tuple[int, bytes]] = []

    def accept(self, sub_protocol: Any, headers: Any) -> Any:
        raise AssertionError("not in these tests")

    def deny(self, status: int, answer: bytes) -> None:
        self.denied.append((status, answer))


async def run(app: Any) -> Doorkeeper:
    door = Doorkeeper()
    session = WebSocketSession(app, dict(SCOPE), door)
    await session.run()
    return door


async def test_connect_comes_once_and_first() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "websocket.connect"}
        second = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.close"})
        assert await second == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        assert (await receive())["type"] == "websocket.disconnect"

    door = await run(app)
    assert [status for status, _ in door.denied] == [403]


async def test_a_denial_response_leaves_as_a_whole() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"no")]})
        with pytest.raises(RuntimeError, match="an answer has been started"):
            await send({"type": "websocket.accept"})
        await send({"type": "websocket.http.response.body", "body": b"go ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"away"})
        with pytest.raises(RuntimeError, match="behind the end"):
            await send({"type": "websocket.http.response.body"})

    [(status, answer)] = (await run(app)).denied
    assert status == 401
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\nx-why: no\r\n")
    assert answer.endswith(b"connection: close\r\n\r\n3\r\ngo \r\n4\r\naway\r\n0\r\n\r\n")


async def test_an_application_that_does_not_decide_is_answered_for_with_500(caplog: Any) -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("boom")

    async def returns(scope: Any, receive: Any, send: Any) -> int:
        return 5

    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401})

    for app, words in ((raises, "raised"), (returns, "without websocket.accept"), (half, "completing its answer")):
        caplog.clear()
        assert [status for status, _ in (await run(app)).denied] == [500]
        assert words in caplog.text


async def test_bad_events_raise_from_send() -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        ({"type": "websocket.send", "text": "x"}, RuntimeError, "expected 'websocket.accept'"),
        ({"type": "websocket.http.response.body"}, RuntimeError, "expected 'websocket.accept'"),
        ({"type": "websocket.accept", "subprotocol": "c"}, ValueError, "'c' was not offered; offered: a, b"),
        ({"type": "websocket.accept", "headers": [("x", "y")]}, TypeError, "must be a pair"),
        ({"type": "websocket.accept", "headers": [b"x"]}, TypeError, "must be a pair"),
        ({}, TypeError, "a 'type'"),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event, error, words in cases:
            with pytest.raises(error, match=words):
                await send(event)
        await send({"type": "websocket.close"})

    assert len((await run(app)).denied) == 1


async def test_a_client_that_leaves_before_the_decision_is_told_of_and_is_no_error(caplog: Any) -> None:
    door = Doorkeeper()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        session.gone()
        assert (await receive()) == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        await send({"type": "websocket.accept"})

    session = WebSocketSession(app, dict(SCOPE), door)
    await session.run()
    assert not door.denied
    assert not caplog.records
    with pytest.raises(ClientDisconnected):
        await session.send({"type": "websocket.accept"})
