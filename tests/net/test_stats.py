"""What a server counts: exact after sessions of every kind, open or ended."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest
from http_support import answer, request
from support import (
    BINARY,
    CLOSE,
    PONG,
    TEXT,
    close_frame,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)

from firefly_ws import Frame, HandshakeError, Server, http_client, http_server


def told(server: Server, *names: str) -> list[Any]:
    stats: dict[str, Any] = dict(server.stats())
    return [stats[name] for name in names]


MESSAGES = ("texts_received", "texts_sent", "binaries_received", "binaries_sent", "messages_received", "messages_sent")


async def test_messages_are_counted_by_type_while_open_and_behind_the_end() -> None:  # F10
    def pieces(parts: list[bytes]) -> Any:
        yield from parts

    async def pull(connection: Any) -> None:
        async for message in connection:
            connection.send(message)

    app = http_server().websocket("/").on_message(echo).websocket("/pull").handler(pull)
    async with app.listen("127.0.0.1", 0) as server:
        expected = [0] * 6
        for path, extensions in (("/", []), ("/", ["permessage-deflate"]), ("/pull", [])):
            client = http_client().websocket(url_of(server, path)).extensions(extensions)
            async with client.connect() as connection:
                for message in ("a", "b" * 1000, b"c" * 1000):
                    connection.send(message)
                    assert await soon(connection.receive()) == message
                await connection.send_stream(pieces([b"d", b"e" * 70000]))
                await soon(connection.receive())
                expected = [more + one for more, one in zip((2, 2, 2, 2, 4, 4), expected, strict=True)]
                assert told(server, *MESSAGES) == expected
        await eventually(lambda: not server.stats()["connections"])
        assert told(server, *MESSAGES, "opened") == [*expected, 3]


async def test_a_raw_session_counts_whole_messages_by_the_type_of_their_first_fragment() -> None:
    inbox: list[Frame] = []

    def back(got: Frame, connection: Any) -> None:
        inbox.append(got)
        connection.send_frame(got)

    app = http_server().websocket("/").raw().on_message(back)
    async with app.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(), frame(TEXT, "a", fin=False), frame(0, "b"), frame(BINARY, "c"), frame(PONG), close_frame())
        await soon(peer.rest())
        await eventually(lambda: not server.stats()["connections"])
        assert told(server, *MESSAGES) == [1, 1, 1, 1, 2, 2]


async def test_bytes_are_those_of_the_frames() -> None:
    async with http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0) as server:
        async with raw_client(server.port) as peer:
            sent = [frame(TEXT, "hello"), frame(BINARY, "x" * 200), close_frame(4001, "bye")]
            peer.send(upgrade(), *sent)
            await peer.head()
            got = await soon(peer.rest())
        await eventually(lambda: not server.stats()["connections"])
        assert told(server, "bytes_read", "bytes_written") == [sum(map(len, sent)), len(got)]
        assert told(server, "closed", "close_sent", "close_received") == [{4001: 1}] * 3


async def test_each_end_is_counted_by_its_codes_and_its_error() -> None:
    def fail(text: str, connection: Any) -> None:
        raise ValueError(text)

    app = http_server().websocket("/").on_text(fail).max_message_size(100)
    async with app.listen("127.0.0.1", 0) as server:
        with logged(level=logging.ERROR) as records:
            for last in (
                [frame(TEXT, "x"), close_frame()],
                [frame(BINARY, "x" * 101)],
                [frame(3)],
                [frame(CLOSE)],
                [],
            ):
                async with raw_client(server.port) as peer:
                    peer.send(upgrade(), *last)
                    await peer.head()
                    if last:
                        await soon(peer.rest())
            await eventually(lambda: server.stats()["opened"] == 5 and not server.stats()["connections"])
        assert [record.getMessage().endswith("a callback raised") for record in records] == [True]
        assert told(server, "close_sent") == [{1011: 1, 1009: 1, 1002: 1, 1005: 1}]
        assert told(server, "close_received") == [{1000: 1, 1005: 1}]
        assert told(server, "closed") == [{1000: 1, 1006: 3, 1005: 1}]
        assert told(server, "errors", "callback_errors") == [{"callback": 1, "MessageTooBig": 1, "ProtocolError": 1}, 1]


async def test_private_close_codes_take_no_more_room_than_they_may() -> None:
    async with http_server().websocket("/").discard().listen("127.0.0.1", 0) as server:
        for code in range(4000, 4040):
            async with raw_client(server.port) as peer:
                peer.send(upgrade(), close_frame(code))
                await soon(peer.rest())
        await eventually(lambda: not server.stats()["connections"])
        closed = server.stats()["close_received"]
        assert (sum(closed.values()), len(closed), closed[0]) == (40, 33, 8)


async def test_refusals_are_counted_by_status_and_those_who_leave_apart() -> None:
    app = http_server().websocket("/").origins("https://a.example").discard()
    async with app.listen("127.0.0.1", 0) as server:
        with pytest.raises(HandshakeError):
            await http_client().websocket(url_of(server, "/nothing")).connect()
        with pytest.raises(HandshakeError):
            await http_client().websocket(url_of(server)).origin("https://b.example").connect()
        for bytes_ in (upgrade(sec_websocket_version="8"), b"nonsense\r\n\r\n"):
            async with raw_client(server.port) as peer:
                peer.send(bytes_)
                await soon(peer.rest())
        async with raw_client(server.port) as peer:
            peer.send(b"GET / HTTP/1.1\r\n")
            await eventually(lambda: server.stats()["handshaking"] == 1)
        await eventually(lambda: server.stats()["abandoned"] == 1)
        assert told(server, "refused_by_status", "refused", "opened") == [{404: 1, 403: 1, 426: 1, 400: 1}, 4, 0]


async def test_http_is_counted_by_request_and_answer() -> None:
    def broken(asked: Any) -> None:
        raise ValueError("secret")

    app = http_server().get("/", lambda _: "x").get("/stream", lambda _: iter(["a", "b"])).get("/broken", broken)
    async with app.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        with logged():
            for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/stream"), ("POST", "/"), ("TRACE", "/x"),
                                 ("GET", "/broken")):  # fmt: skip
                peer.send(request(method, path))
                await answer(peer, method)
        assert told(server, "http_connections", "http_requests", "http_errors") == [1, 6, 1]
        assert told(server, "http_answers") == [{"2xx": 3, "4xx": 2, "5xx": 1}]
        assert server.counts().http_requests == {
            ("GET", 200): 2, ("HEAD", 200): 1, ("POST", 405): 1, ("other", 404): 1, ("GET", 500): 1,
        }  # fmt: skip
        with contextlib.suppress(ConnectionError):
            peer.send(b"no request\r\n\r\n")
            await soon(peer.rest())
        assert server.counts().http_requests[("other", 400)] == 1


async def test_an_application_is_counted_as_our_own_routes_are() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})
            raise ValueError("of a websocket")
        if scope["path"] == "/early":
            raise ValueError("before the answer")
        await send({"type": "http.response.start", "status": 201})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        if scope["path"] == "/late":
            raise ValueError("in its middle")
        await send({"type": "http.response.body"})

    async with http_server().asgi(application).listen("127.0.0.1", 0) as server:
        with logged():
            async with raw_client(server.port) as peer:
                for path in ("/", "/early"):
                    peer.send(request("POST", path))
                    await answer(peer, "POST")
                peer.send(request("GET", "/late"))
                await soon(peer.rest())
            async with raw_client(server.port) as peer:
                peer.send(upgrade())
                await peer.head()
                assert await peer.frame() == (0x80 | TEXT, b"hello")
                peer.send(close_frame(1011))
                await soon(peer.rest())
            await eventually(lambda: server.stats()["opened"] == 1 and not server.stats()["connections"])
        assert server.counts().http_requests == {("POST", 201): 1, ("POST", 500): 1, ("GET", 201): 1}
        assert told(server, "http_errors", "texts_sent", "callback_errors", "close_sent") == [2, 1, 1, {1011: 1}]
