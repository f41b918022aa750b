"""What is safe without having been asked for, by real bytes: hosts, TLS, errors, line breaks, credentials, masks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http_support import answer, request
from proxies import http_proxy
from support import (
    TEXT,
    Inbox,
    RawPeer,
    close_frame,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    raw_server,
    soon,
    switching,
    upgrade,
    url_of,
)

from firefly_ws import HandshakeError, Response, http_client, http_server
from firefly_ws.errors import WebSocketConnectionException

SECRET = "Pa55wOrd"


async def test_a_host_that_is_none_is_400_for_a_page_and_for_a_websocket() -> None:
    bad = (
        "", "  ", "a b", "a/b", "a@b", "user:password@a", "a:80:80", "a:b", "[::1", "::1",
        "a,b", "a\\b", "a\tb", "[a]", "a%zz", "a%", "a:65536", "a:123456", "a" * 300,
    )  # fmt: skip
    app = http_server().get("/", lambda _: "page").websocket("/ws").discard()
    async with app.listen("127.0.0.1", 0) as server:
        for host in bad:
            for asked in (request(host=host), upgrade("/ws", host=host), request(host=host, version="1.0")):
                async with raw_client(server.port) as peer:
                    peer.send(asked)
                    assert (await peer.answer()).status == 400, (host, asked)
        twice = b"Host: example.com\r\nHost: example.com\r\n\r\n"
        for asked in (request(), upgrade("/ws")):
            async with raw_client(server.port) as peer:
                peer.send(asked[:-2] + twice)
                assert (await peer.answer()).status == 400, asked
        for host in ("a", "a:80", "127.0.0.1:1", "[::1]:80", "xn--bcher-kva.example", "a_b", "a:65535", "a%20b", "a:"):
            async with raw_client(server.port) as peer:
                peer.send(request(host=host))
                assert (await answer(peer)).body == b"page", host
            async with raw_client(server.port) as peer:
                peer.send(upgrade("/ws", host=host))
                assert (await peer.head()).status == 101, host


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """*context*, made to speak nothing newer than TLS 1.1."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


async def test_tls_below_1_2_is_refused_by_both_ends(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    app = http_server().secure(issued.certificate, issued.key)
    assert app.ssl_context is not None
    assert app.ssl_context.minimum_version >= ssl.TLSVersion.TLSv1_2
    context = authority.client_context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    async with app.websocket("/").discard().listen("127.0.0.1", 0) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await soon(asyncio.open_connection("127.0.0.1", server.port, ssl=old(authority.client_context())))
        async with http_client().websocket(url_of(server, scheme="wss")).ssl(context).connect() as connection:
            assert connection.is_open

    async def serve(peer: RawPeer) -> None:
        pytest.fail("a handshake with TLS 1.1 came to its end")

    with contextlib.ExitStack() as stack:
        loop = asyncio.get_running_loop()
        stack.callback(loop.set_exception_handler, loop.get_exception_handler())
        loop.set_exception_handler(lambda _, context: None)  # asyncio's own server tells of a failed handshake
        async with raw_server(serve, ssl=old(issued.server_context())) as port:
            with pytest.raises(WebSocketConnectionException):
                await soon(http_client().wss("127.0.0.1", port, "/").ssl(context).connect())


class Failure(Exception):
    """Its text is nobody's business."""

    def __init__(self) -> None:
        super().__init__(SECRET)


def fail(*_: object) -> Any:
    raise Failure


async def fail_later(*_: object) -> Any:
    await asyncio.sleep(0)
    raise Failure


async def fail_in_the_middle(*_: object) -> AsyncIterator[bytes]:
    yield b"begun"
    raise Failure


async def failing_application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/app/begun":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    if scope["path"] == "/app/open":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
    raise Failure


def failing_server() -> Any:
    """Everything of ours that a peer can have called, and that raises."""
    app = http_server().get("/page", fail).get("/later", fail_later)
    app.get("/stream", lambda _: Response(200, fail_in_the_middle())).health("/health", checks={"db": fail})
    app.on_upgrade(lambda request: fail() if "refuse" in request.query else None).asgi(failing_application)
    for path, name in (("/message", "on_message"), ("/accept", "on_accept"), ("/text", "on_text")):
        for suffix, callback in (("", fail), ("/async", fail_later)):
            getattr(app.websocket(path + suffix), name)(callback)
    app.websocket("/handler").handler(fail_later)
    app.websocket("/protocol").on_sub_protocol_select(fail).discard()
    app.websocket("/extension").on_extension_select(fail).discard()
    return app


async def test_no_peer_reads_the_text_of_an_exception_or_a_traceback() -> None:
    pages = {"/page": 500, "/later": 500, "/stream": 200, "/health": 503, "/app": 500, "/app/begun": 200}
    asked: dict[str, tuple[bytes, int]] = {
        path: (request(path=path, connection="close"), status) for path, status in pages.items()
    }
    callbacks = ("/message", "/accept", "/text")
    for path in (*callbacks, *(f"{path}/async" for path in callbacks), "/handler", "/app/open"):
        asked[f"websocket {path}"] = (upgrade(path) + frame(TEXT, "x"), 101)
    asked["refused"] = (upgrade("/message?refuse=1"), 500)
    asked["protocol"] = (upgrade("/protocol", sec_websocket_protocol="a"), 500)
    asked["extension"] = (upgrade("/extension", sec_websocket_extensions="permessage-deflate"), 500)
    asked["application"] = (upgrade("/app/refused"), 500)
    with logged(level=logging.ERROR) as records:
        async with failing_server().listen("127.0.0.1", 0) as server:
            for name, (data, status) in asked.items():
                async with raw_client(server.port) as peer:
                    peer.send(data)
                    if status == 101:
                        assert (await peer.head()).status == 101, name
                        first, payload = await peer.frame()
                        assert (first, payload) == (0x88, b"\x03\xf3"), name  # 1011, without a word
                        peer.send(close_frame(1011))
                        assert await peer.rest() == b""
                    else:
                        got = await peer.rest()
                        assert got.startswith(b"HTTP/1.1 %d " % status), name
                        for word in (SECRET, "Failure", "Traceback", ".py", "raise"):
                            assert word.encode() not in got, name
    told = {record.exc_info[1].__class__ for record in records if record.exc_info}
    assert told == {Failure}
    assert len(records) >= len(asked)


BROKEN = "a\r\nSet-Cookie: stolen=1"


async def test_no_line_break_of_a_header_reaches_a_peer() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", BROKEN.encode())]})

    made: dict[str, Callable[[], Response]] = {
        "/header": lambda: Response.text(200, "", {"X": BROKEN}),
        "/name": lambda: Response.text(200, "", {BROKEN: "x"}),
        "/cookie": lambda: Response.text(200, "").cookie("a", BROKEN),
        "/cookie-name": lambda: Response.text(200, "").cookie(BROKEN, "a"),
        "/cookie-path": lambda: Response.text(200, "").cookie("a", "b", path=BROKEN),
        "/type": lambda: Response(200, "", content_type=BROKEN),
        "/redirect": lambda: Response.redirect(f"/{BROKEN}"),
    }
    app = http_server().asgi(application)
    for path, make in made.items():
        app.get(path, lambda _, make=make: make())
    app.on_upgrade(lambda request: Response.text(403, "", {"X": BROKEN}) if request.path == "/refused" else None)
    app.websocket("/refused").discard()
    app.websocket("/protocol").on_sub_protocol_select(lambda offered, _: BROKEN).discard()
    with logged(level=logging.ERROR):
        async with app.listen("127.0.0.1", 0) as server:
            for data in (
                *(request(path=path, connection="close") for path in (*made, "/app")),
                upgrade("/refused"),
                upgrade("/protocol", sec_websocket_protocol="a"),
            ):
                async with raw_client(server.port) as peer:
                    peer.send(data)
                    got = await peer.answer()
                    assert "set-cookie" not in got.headers, data
                    expected = 302 if b"/redirect" in data else 500
                    assert got.status == expected, data
    builder = http_client().ws("127.0.0.1", 1, "/")
    for call in (
        lambda: builder.header("X", BROKEN),
        lambda: builder.header(BROKEN, "x"),
        lambda: builder.headers({"X": BROKEN}),
        lambda: builder.bearer(BROKEN),
        lambda: builder.cookies({"a": BROKEN}),
        lambda: builder.cookies({BROKEN: "a"}),
        lambda: builder.origin(BROKEN),
        lambda: builder.sub_protocols([BROKEN]),
        lambda: http_client().websocket(f"ws://127.0.0.1:1/{BROKEN}"),
        lambda: http_client().ws(BROKEN, 1, "/"),
    ):
        with pytest.raises(ValueError, match=r"must|no "):
            await call().connect()  # type: ignore[no-untyped-call]
    # Whatever a user is called and a password is, one line of base64 is sent.
    assert b"\n" not in builder.basic_auth("ada", BROKEN)._target().headers[0][1].encode()


async def test_credentials_are_in_no_log_line_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    got = Inbox()

    def note(connection: Any) -> None:
        got(connection.request.headers["authorization"])
        said.append(f"{connection!r} {connection.request!r} {connection.request.headers!r}")
        raise RuntimeError("after the handshake")

    app = http_server().get("/page", fail_quietly).websocket("/").on_accept(note)
    app.websocket("/refused").discard()
    app.on_upgrade(lambda request: Response.text(401, "no") if request.path == "/refused" else None)
    async with app.listen("127.0.0.1", 0) as server, http_proxy() as proxy, http_proxy(DENIED) as closed:
        there = f"127.0.0.1:{server.port}"
        ways = [
            http_client().websocket(f"ws://ada:{SECRET}@{there}/"),
            http_client().websocket(f"ws://{there}/").bearer(SECRET).cookies({"sid": SECRET}),
            http_client().websocket(f"ws://{there}/").basic_auth("ada", SECRET).proxy(proxy.url(f"ada:{SECRET}")),
        ]
        for way in ways:
            async with way.discard().connect() as connection:
                assert "a" in await got.next()
                asked = connection.request
                said.append(f"{way!r} {connection!r} {connection.url} {asked!r} {asked.headers!r}")
                await soon(connection.wait_closed())
        for way in (
            http_client().websocket(f"ws://ada:{SECRET}@{there}/refused"),
            http_client().websocket(f"ws://{there}/refused").bearer(SECRET).cookies({"sid": SECRET}),
            http_client().websocket(f"ws://ada:{SECRET}@{there}/").proxy(closed.url(f"ada:{SECRET}")),
            http_client().websocket(f"wss://ada:{SECRET}@{there}/"),
            http_client().websocket(f"ws://ada:{SECRET}@127.0.0.1:1/"),
        ):
            with pytest.raises(WebSocketConnectionException) as raised:
                await soon(way.connect())
            said.append(f"{raised.value} {raised.value!r}")
        async with raw_client(server.port) as peer:
            peer.send(request(path="/page", authorization=SECRET, cookie=f"a={SECRET}", connection="close"))
            assert (await peer.answer()).status == 500
        for data in (
            upgrade("/", authorization=SECRET, cookie=f"a={SECRET}", origin="https://elsewhere.example"),
            upgrade("/", authorization=SECRET, cookie=f"a={SECRET}", without="sec-websocket-key"),
            request(authorization=SECRET, cookie=f"a={SECRET}", host=f"ada:{SECRET}@example.com"),
        ):
            async with raw_client(server.port) as peer:
                peer.send(data)
                assert (await peer.answer()).status in (400, 403)
    formatter = logging.Formatter()
    said += [formatter.format(record) for record in caplog.records if record.name.startswith("firefly_ws")]
    assert len(said) > 10
    for text in said:
        assert SECRET not in text
    assert "cGE1NXdPcmQ" not in "".join(said)


DENIED = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"


def fail_quietly(request: Any) -> str:
    raise RuntimeError("a handler's error")


async def test_a_client_masks_with_the_systems_randomness_and_the_key_of_its_handshake_is_of_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[bytes] = []
    system = os.urandom

    def urandom(size: int) -> bytes:
        drawn.append(system(size))
        return drawn[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    keys = Inbox()

    async def serve(peer: RawPeer) -> None:
        _, fields = await peer.request()
        keys(fields["sec-websocket-key"])
        peer.send(switching(fields["sec-websocket-key"]))
        for _ in range(2500):
            head = await soon(peer.reader.readexactly(6))
            assert head[:2] == b"\x81\x81"
            keys(head[2:])
            await soon(peer.reader.readexactly(1))
        peer.send(close_frame(mask=None))

    async with raw_server(serve) as port:
        async with http_client().ws("127.0.0.1", port, "/").discard().connect() as connection:
            for _ in range(2500):
                connection.send("x")
            await soon(connection.wait_closed())
        key = await keys.next()
        masks = await keys.take(2500)
    assert len(set(masks)) > 2490
    assert base64.b64decode(key) in drawn
    pool = b"".join(drawn)
    assert sum(mask in pool for mask in masks) > 1024  # all but those of a pool that was drawn before


async def test_a_refusal_that_repeats_our_credentials_is_quoted_without_them() -> None:
    said = f"nobody has {SECRET}"
    app = http_server().websocket("/").on_upgrade(lambda _: Response.text(401, said, {"Set-Cookie": f"a={SECRET}"}))
    async with app.discard().listen("127.0.0.1", 0) as server:
        for way in (
            http_client().websocket(f"ws://ada:{SECRET}@127.0.0.1:{server.port}/"),
            http_client().websocket(url_of(server)).bearer(SECRET),
            http_client().websocket(url_of(server)).cookies({"sid": SECRET}),
        ):
            with pytest.raises(HandshakeError, match=r"'nobody has \*\*\*'$") as raised:
                await soon(way.connect())
            assert SECRET not in f"{raised.value} {raised.value!r} {raised.value.headers!r}"
            assert SECRET in raised.value.body.decode()
    assert raised.value.headers["set-cookie"] == f"a={SECRET}"


async def test_a_health_page_names_what_failed_and_no_more() -> None:
    with logged(level=logging.ERROR):
        async with (
            http_server().health(checks={"db": fail}).listen("127.0.0.1", 0) as server,
            raw_client(server.port) as peer,
        ):
            peer.send(request(path="/healthz"))
            got = await answer(peer)
            assert got.status == 503
            assert SECRET not in got.body.decode()
            assert "db" in json.dumps(json.loads(got.body))


async def test_a_server_that_nobody_has_configured_holds_its_limits_to_the_byte() -> None:
    """As docs/limits.md has them; each of these passes with one byte, field or fragment less."""
    app = http_server().post("/", lambda _: "got it").websocket("/ws").on_message(lambda frame, _: got(frame))
    got = Inbox()
    mebibyte = 2**20
    room = 16384 - len(request(x="", connection="close"))
    fields = b"".join(b"x%d: \r\n" % number for number in range(128 - 3))
    post = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n"
    answers = {
        request("POST", x="y" * (room - 1), connection="close"): 200,
        request("POST", x="y" * room, connection="close"): 431,
        post % 0 + fields + b"\r\n": 200,
        post % 0 + fields + b"y: \r\n\r\n": 431,
        post % mebibyte + b"\r\n" + bytes(mebibyte): 200,
        post % (mebibyte + 1) + b"\r\n": 413,
    }
    messages = {
        b"\x82\xff" + mebibyte.to_bytes(8, "big") + bytes(4 + mebibyte): None,  # the mask is zero
        b"\x82\xff" + (mebibyte + 1).to_bytes(8, "big"): 1009,  # of which nothing need be sent
        frame(2, b"", fin=False) + frame(0, b"", fin=False) * 131070 + frame(0): None,
        frame(2, b"", fin=False) + frame(0, b"", fin=False) * 131071 + frame(0): 1009,
    }
    async with app.listen("127.0.0.1", 0) as server:
        for data, status in answers.items():
            async with raw_client(server.port) as peer:
                peer.send(data)
                assert (await peer.answer()).status == status, data[:200]
        for data, code in messages.items():
            async with raw_client(server.port, limit=4 * mebibyte) as peer:
                peer.send(upgrade("/ws"), data, close_frame(1000))
                assert (await peer.head()).status == 101
                first, payload = await peer.frame()
                assert (first, payload[:2]) == (0x88, (code or 1000).to_bytes(2, "big")), (data[:20], payload)
                assert len(got) == (code is None)
                if code is None:
                    await got.next()
