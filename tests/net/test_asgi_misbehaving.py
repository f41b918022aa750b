"""Applications that break the protocol: an answer or an end for the client, a line in the log, nothing else harmed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from http_support import answer, request
from support import (
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
)

from firefly_ws import http_server

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def app_of(*events: Any, then: Any = None) -> Any:
    """An application that sends *events*, and then raises or returns *then*."""

    async def app(scope: Any, receive: Any, send: Any) -> Any:
        assert scope["type"] != "lifespan"
        if scope["path"] == "/fine":
            await send(START)
            await send(body(b"fine"))
            return None
        for event in events:
            await send(event)
        if isinstance(then, BaseException):
            raise then
        return then

    return app


async def served(app: Any, first: bytes) -> tuple[bytes, bool, list[str]]:
    """What came for one request: bytes, whether the connection went on behind it; and the log."""
    with logged() as records:
        async with http_server().asgi(app).listen("127.0.0.1", 0) as server:
            async with raw_client(server.port) as peer:
                peer.send(first, request(path="/fine", connection="close"))
                try:
                    data = await peer.rest()
                except ConnectionResetError:
                    data = b""
            async with raw_client(server.port) as peer:
                peer.send(request(path="/fine"))
                assert (await answer(peer)).body == b"fine"
    return (
        data,
        data.endswith(b"fine"),
        [f"{record.getMessage()} {record.exc_info and record.exc_info[1]}" for record in records],
    )


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (app_of(), "returned without an answer"),
        (app_of(START), "returned without completing its answer"),
        (app_of(then=ValueError("secret")), "raised"),
        (app_of(START, then=ValueError("secret")), "raised"),
        (app_of(body(b"x")), "before 'http.response.start'"),
        (app_of({"type": "http.response.start", "status": "200"}), "raised"),
        (app_of({"type": "http.response.start", "status": 200, "headers": [("a", "b")]}), "raised"),
        (app_of({"type": "http.unknown"}), "raised"),
        (app_of({"kind": "x"}), "raised"),
        (app_of(START, START), "raised"),
        (app_of(START, body(b"too long")), "raised"),
        (app_of(START, body(b"no")), "raised"),
    ],
)
async def test_what_goes_wrong_before_the_answer_leaves_is_a_500(app: Any, words: str) -> None:
    data, goes_on, log = await served(app, request())
    assert data.startswith(b"HTTP/1.1 500 ")
    assert goes_on
    assert b"secret" not in data
    assert len(log) == 1
    assert words in log[0]


@pytest.mark.parametrize(
    ("app", "logged_lines"),
    [
        (app_of(START, body(b"ab", True)), 1),
        (app_of(START, body(b"ab", True), then=ValueError("secret")), 1),
        (app_of(START, body(b"ab", True), body(b"cde", True)), 1),
        (app_of(START, body(b"ab", True), body(b"c")), 1),
        (app_of(START, body(b"ab", True), START), 1),
        (app_of(START, body(b"ab", True), {**START, "type": 5}), 1),
        (app_of(START, body(b"ab", True), {"type": "websocket.send"}), 1),
        (app_of(START, body(b"ab", True), then=asyncio.CancelledError()), 0),
    ],
)
async def test_what_goes_wrong_in_its_middle_ends_the_connection(app: Any, logged_lines: int) -> None:
    data, goes_on, log = await served(app, request())
    assert not goes_on
    assert b"abcd" not in data
    assert len(log) == logged_lines


async def test_what_goes_wrong_behind_the_answer_is_logged_alone() -> None:
    for app, words in (
        (app_of(START, body(b"four"), then=ValueError("late")), "raised behind its answer"),
        (app_of(START, body(b"four"), body(b"more")), "behind the end of the answer"),
        (app_of(START, body(b"four"), then=5), "returned 5"),
    ):
        data, goes_on, log = await served(app, request())
        assert goes_on
        assert b"\r\n\r\nfour" in data
        assert len(log) == 1
        assert words in log[0]


async def test_a_websocket_that_sends_nonsense_is_closed_with_1011() -> None:
    accept = {"type": "websocket.accept"}
    for event in (
        accept,
        {"type": "http.response.start"},
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": b"bytes"},
        {"type": "websocket.send", "bytes": "text"},
        {"type": "websocket.close", "code": 99},
        {"kind": "x"},
    ):
        with logged() as records:
            listening = http_server().asgi(app_of(accept, event)).listen("127.0.0.1", 0)
            async with listening as server, raw_client(server.port) as peer:
                peer.send(upgrade("/"))
                assert (await peer.head()).status == 101
                assert await peer.frame() == (0x88, b"\x03\xf3"), event
        assert len(records) == 1, event


async def test_a_send_behind_its_own_close_raises_and_the_close_stands() -> None:
    accept, close = {"type": "websocket.accept"}, {"type": "websocket.close", "code": 3000}
    app = app_of(accept, close, {"type": "websocket.send", "text": "late"})
    with logged() as records:
        async with http_server().asgi(app).listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
            peer.send(upgrade("/"))
            await peer.head()
            assert await peer.frame() == (0x88, b"\x0b\xb8")
            await eventually(lambda: records)
    assert "raised" in records[0].getMessage()


async def test_an_application_that_never_answers_meets_the_timeout_of_http() -> None:
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(scope["path"])

    with logged() as records:
        listening = http_server().asgi(app).timeout(0.02).listen("127.0.0.1", 0)
        async with listening as server, raw_client(server.port) as peer:
            peer.send(request(path="/slow"))
            assert (await soon(answer(peer))).status == 503
    assert ended == ["/slow"]
    assert "did not answer within timeout" in records[0].getMessage()


def test_bad_arguments_raise_at_once() -> None:
    with pytest.raises(TypeError, match="must be callable"):
        http_server().asgi(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is set already"):
        http_server().asgi(app_of()).asgi(app_of())
    for root_path in ("api", "/api/"):
        with pytest.raises(ValueError, match="must begin with '/' and not end with one"):
            http_server().asgi(app_of(), root_path=root_path)
    with pytest.raises(ValueError, match="startup_timeout=-1"):
        http_server().asgi(app_of(), startup_timeout=-1)
    with pytest.raises(TypeError, match="root_path=5 must be a str"):
        http_server().asgi(app_of(), root_path=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_body_size=-1"):
        http_server().asgi(app_of(), max_body_size=-1)
