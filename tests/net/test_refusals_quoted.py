"""What the error of a refusal tells of the answer: quoted, short, without secrets, and not late."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from support import (
    RawPeer,
    answering,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_server,
    soon,
    url_of,
)

from firefly_ws import (
    HandshakeError,
    ProxyError,
    Response,
    WebSocketConnectionException,
    dial,
    http_server,
    tunnel,
    ws,
)

SECRET = "Pa55wOrd"


async def test_a_refusal_quotes_what_the_server_said() -> None:
    page = "<html><head><title>x</title></head><body><h1>Sign in first</h1></body></html>"
    refusals = {
        "/text": (Response.text(401, "the token\nhas expired"), "401 Unauthorized", ": 'the token has expired'"),
        "/page": (Response(403, page, {"Content-Type": "text/html"}), "403 Forbidden", ": 'Sign in first'"),
        "/image": (Response(403, b"GIF89a", {"Content-Type": "image/gif"}), "403 Forbidden", ""),
        "/echo": (Response.text(401, f"Bearer {SECRET} of sid={SECRET}x"), "401", ": 'Bearer *** of sid=***'"),
    }
    app = http_server().on_upgrade(lambda request: refusals[request.path][0])
    for path in refusals:
        app.websocket(path).discard()
    async with app.listen("127.0.0.1", 0) as server:
        for path, (_, status, said) in refusals.items():
            with pytest.raises(HandshakeError) as raised:
                await ws(url_of(server, path)).bearer(SECRET).cookies({"sid": f"{SECRET}x"}).connect()
            assert f" answered {status}" in str(raised.value), path
            assert str(raised.value).endswith(f" instead of 101 Switching Protocols{said}"), path
            assert SECRET not in f"{raised.value} {raised.value!r}"
            assert raised.value.body  # whole, whatever is quoted of it


async def test_a_proxys_refusal_is_quoted_without_its_password() -> None:  # W6
    answer = f"HTTP/1.1 403 No\r\nContent-Length: {len(SECRET) + 12}\r\n\r\nnot for ada/{SECRET}".encode()
    async with raw_server(answering(answer)) as port:
        with pytest.raises(ProxyError, match=r"it answered 403 No: 'not for ada/\*\*\*'$"):
            await ws("ws://h/").proxy(f"http://ada:{SECRET}@127.0.0.1:{port}").connect()


async def test_a_refusal_is_not_held_up_by_a_body_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a length it ends with the connection, which a server may keep; without open_timeout that took for ever.
    for module in (dial, tunnel):
        monkeypatch.setattr(module, "PATIENCE", 0.02)

    async def dribble(peer: RawPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 403 No\r\n\r\n")
        with suppress(OSError):
            while True:
                peer.send(b"x")
                await asyncio.sleep(0.01)
                await peer.writer.drain()

    async with raw_server(dribble) as port:
        for builder in (ws(f"ws://127.0.0.1:{port}/"), ws("ws://h/").proxy(f"http://127.0.0.1:{port}")):
            with pytest.raises(WebSocketConnectionException, match=r"answered 403 No.*: 'x+'$"):
                await soon(builder.open_timeout(None).connect())


async def test_a_refusal_cannot_write_into_a_log_what_it_likes() -> None:
    answer = b"HTTP/1.1 404 \x1b[31mred" + b"x" * 500 + b"\r\nContent-Length: 10\r\n\r\n\x1b[2Ja\r\nb\x00c"
    async with raw_server(answering(answer)) as port:
        with logged() as records:
            ws(f"ws://127.0.0.1:{port}/").connect()
            await eventually(lambda: records)
    (record,) = records
    text = record.getMessage()
    assert text.isprintable()
    assert "404 [31mredxxx" in text
    assert text.endswith(": '[2Ja b c'")
    assert len(text) < 400


async def test_a_redirect_that_is_not_followed_says_where_to() -> None:
    answer = b"HTTP/1.1 302 Found\r\n%sContent-Length: 0\r\n\r\n"
    async with raw_server(answering(answer % b"Location: http://me:secret@h/login\r\n")) as port:
        leads = r"302 Found instead of 101 .*, but leads to 'http://\*\*\*@h/login'; \.redirects\(max\) follows it$"
        with pytest.raises(HandshakeError, match=leads):
            await ws(f"ws://127.0.0.1:{port}/").connect()
    async with raw_server(answering(answer % b"")) as port:
        with pytest.raises(HandshakeError, match=r"302 Found instead of 101 Switching Protocols$"):
            await ws(f"ws://127.0.0.1:{port}/").connect()
