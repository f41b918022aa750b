"""The client's opening handshake as bytes on a socket, RFC 6455 §4.1: what it asks, and which answers it takes."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import pytest
from support import (
    TEXT,
    Inbox,
    RawPeer,
    accept_key,
    frame,
    nothing_leaks,  # noqa: F401
    raw_server,
    soon,
    switching,
)

from firefly_ws import HandshakeError, WebSocketConnectionException, http_client, ws


async def asked_of(path: str = "/", change: Any = None) -> tuple[str, dict[str, str], int]:
    """Request line and fields of a client's request, and the port it went to."""
    asked = Inbox()

    async def refuse(peer: RawPeer) -> None:
        asked(await peer.request())
        peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(refuse) as port:
        builder = ws(f"ws://127.0.0.1:{port}{path}").discard()
        if change is not None:
            change(builder)
        with pytest.raises(HandshakeError):
            await builder.connect()
    return (*await asked.next(), port)


async def error_of(answer: Any, change: Any = None) -> HandshakeError:
    """What a client raises for an answer: bytes, or a function of the request's fields that makes them."""

    async def reply(peer: RawPeer) -> None:
        _, fields = await peer.request()
        peer.send(answer(fields["sec-websocket-key"]) if callable(answer) else answer)
        await peer.rest()

    async with raw_server(reply) as port:
        builder = http_client().websocket(f"ws://127.0.0.1:{port}/").discard().open_timeout(2)
        if change is not None:
            change(builder)
        with pytest.raises(HandshakeError) as raised:
            await builder.connect()
    return raised.value


# --- the request


async def test_the_request_is_as_the_rfc_has_it() -> None:
    line, fields, port = await asked_of("/chat?a=b")
    assert line == "GET /chat?a=b HTTP/1.1"
    assert fields["host"] == f"127.0.0.1:{port}"
    assert fields["upgrade"] == "websocket"
    assert fields["connection"] == "Upgrade"
    assert fields["sec-websocket-version"] == "13"
    assert len(base64.b64decode(fields["sec-websocket-key"], validate=True)) == 16
    assert "origin" not in fields
    assert "sec-websocket-extensions" not in fields
    assert "sec-websocket-protocol" not in fields


async def test_every_request_has_a_key_of_its_own() -> None:
    keys = {(await asked_of())[1]["sec-websocket-key"] for _ in range(5)}
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("path", "target"),
    [("", "/"), ("/a b/ü", "/a%20b/%C3%BC"), ("?q=ä b", "/?q=%C3%A4%20b"), ("/%2F", "/%2F"), ("/a/../b", "/a/../b")],
)
async def test_the_target_is_encoded_and_nothing_is_encoded_twice(path: str, target: str) -> None:
    assert (await asked_of(path))[0] == f"GET {target} HTTP/1.1"


async def test_extensions_and_sub_protocols_are_offered_as_lists() -> None:
    _, fields, _ = await asked_of(
        change=lambda builder: builder.extensions(["permessage-deflate"]).sub_protocols(["a", "b"])
    )
    assert fields["sec-websocket-protocol"] == "a, b"
    assert re.match(r"permessage-deflate(; [a-z_]+)*$", fields["sec-websocket-extensions"])


# --- an answer that is an upgrade


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"upgrade": "WebSocket", "connection": "keep-alive, upgrade"},
        {"server": "x", "set_cookie": "a=b"},
        {"sec_websocket_protocol": "b"},
    ],
    ids=str,
)
async def test_a_right_answer_opens_the_connection(fields: dict[str, str]) -> None:
    async def accept(peer: RawPeer) -> None:
        _, asked = await peer.request()
        peer.send(switching(asked["sec-websocket-key"], **fields))
        await peer.frame()

    async with raw_server(accept) as port:
        connection = await ws(f"ws://127.0.0.1:{port}/").discard().sub_protocols(["a", "b"]).connect()
        assert connection.sub_protocol == fields.get("sec_websocket_protocol")
        assert connection.response is not None
        for name, value in fields.items():
            assert connection.response.headers[name.replace("_", "-")] == value
        await soon(connection.close())


async def test_interim_answers_are_passed_over() -> None:
    async def accept(peer: RawPeer) -> None:
        _, asked = await peer.request()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await asyncio.sleep(0.01)
        peer.send(switching(asked["sec-websocket-key"]))
        await peer.frame()

    async with raw_server(accept) as port, ws(f"ws://127.0.0.1:{port}/").discard().connect() as connection:
        assert connection.response is not None
        assert connection.response.status == 101


@pytest.mark.parametrize("bytewise", [False, True])
async def test_frames_behind_the_answer_are_delivered_in_order(bytewise: bool) -> None:
    async def accept(peer: RawPeer) -> None:
        _, asked = await peer.request()
        data = switching(asked["sec-websocket-key"]) + b"".join(frame(TEXT, f"{n}", mask=None) for n in range(20))
        await (peer.send_bytewise(data) if bytewise else asyncio.sleep(0, peer.send(data)))
        assert await peer.frame() == (0x81, b"ready")
        await peer.frame()

    inbox = Inbox()
    async with raw_server(accept) as port:
        builder = ws(f"ws://127.0.0.1:{port}/").on_accept(lambda connection: connection.send("ready"))
        async with builder.on_text(inbox).connect():
            assert await inbox.take(20) == [f"{number}" for number in range(20)]


async def test_the_answer_may_be_split_at_any_byte() -> None:
    async def accept(peer: RawPeer) -> None:
        _, asked = await peer.request()
        data = switching(asked["sec-websocket-key"]) + frame(TEXT, "hello", mask=None)
        at = int(asked["x-at"])
        peer.send(data[:at])
        await asyncio.sleep(0.02)
        peer.send(data[at:])
        await peer.frame()

    async def one(port: int, at: int) -> None:
        inbox = Inbox()
        async with ws(f"ws://127.0.0.1:{port}/").header("X-At", f"{at}").on_text(inbox).connect():
            assert await inbox.next() == "hello"

    async with raw_server(accept) as port:
        await asyncio.gather(*(one(port, at) for at in range(1, len(switching()) + 7)))


# --- an answer that is none


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sec_websocket_accept": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, "Sec-WebSocket-Accept is 'AAAAAAAAAAAAAAAAAAAAAAA"),
        ({"sec_websocket_accept": ""}, "Sec-WebSocket-Accept is missing"),
        ({"upgrade": ""}, "Upgrade is missing"),
        ({"upgrade": "h2c"}, "Upgrade is 'h2c'"),
        ({"connection": ""}, "Connection is missing"),
        ({"connection": "close"}, "Connection is 'close'"),
        ({"sec_websocket_protocol": "other"}, "'other', which was not offered; offered: a, b"),
        ({"sec_websocket_protocol": "a, b"}, "more than one subprotocol"),
        ({"sec_websocket_extensions": "x-unknown"}, "x-unknown"),
        ({"sec_websocket_extensions": "permessage-deflate; oh=1"}, "permessage-deflate"),
        ({"sec_websocket_extensions": "permessage-deflate; server_no_context_takeover=1"}, "permessage-deflate"),
        ({"sec_websocket_extensions": "permessage-deflate, permessage-deflate"}, "permessage-deflate"),
        ({"sec_websocket_extensions": ";"}, "Sec-WebSocket-Extensions|extension"),
    ],
    ids=str,
)
async def test_a_wrong_upgrade_is_refused_with_its_facts(fields: dict[str, str], said: str) -> None:
    def answer(key: str) -> bytes:
        return switching(key, **fields)

    error = await error_of(answer, lambda builder: builder.sub_protocols(["a", "b"]).extensions(["permessage-deflate"]))
    assert error.status == 101
    assert re.search(said, str(error)), str(error)
    for name, value in fields.items():
        assert error.headers.get(name.replace("_", "-"), "") == value


async def test_a_field_of_the_upgrade_that_comes_twice_is_refused() -> None:
    for name, value in (
        ("Upgrade", "websocket"), ("Upgrade", "h2c"), ("Sec-WebSocket-Accept", ""), ("Sec-WebSocket-Protocol", "a"),
        ("Sec-WebSocket-Protocol", "b"),
    ):  # fmt: skip

        def answer(key: str, name: str = name, value: str = value) -> bytes:
            again = f"{name}: {value or accept_key(key)}\r\n\r\n".encode()
            return switching(key, sec_websocket_protocol="a").removesuffix(b"\r\n") + again

        error = await error_of(answer, lambda builder: builder.sub_protocols(["a", "b"]))
        assert error.status == 101
        what = "chose more than one subprotocol" if name.endswith("Protocol") else f"the server's {name} is '"
        assert what in str(error), (name, value)


async def test_what_was_not_offered_at_all_is_refused() -> None:
    error = await error_of(lambda key: switching(key, sec_websocket_extensions="permessage-deflate"))
    assert "permessage-deflate" in str(error)
    error = await error_of(lambda key: switching(key, sec_websocket_protocol="chat"))
    assert "offered: none" in str(error)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda key: switching(key).replace(b"HTTP/1.1", b"HTTP/1.0"), 101, "HTTP/1.0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "200 OK"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, "302 Found"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 0, "no HTTP/1.1 response"),
        (b"HTTP/1.1 abc\r\n\r\n", 0, "no HTTP/1.1 response"),
        (b"HTTP/1.1 099 Odd\r\n\r\n", 0, "no status; it begins with b'HTTP/1.1 099 Odd"),
        (b"\x15\x03\x01\x00\x02\x02\x28", 0, "it begins with b'\\x15\\x03\\x01\\x00\\x02\\x02('; that is TLS: is it a"),
        (b"HTTP/1.1 404 Not Found\r\nX: " + b"x" * 20000, 0, "max_header_size=16384"),
        (b"HTTP/1.1 404 Not Found\r\n" + b"X: y\r\n" * 200 + b"\r\n", 0, "max_header_count=128"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0, "interim"),
    ],
    ids=["1.0", "200", "302", "ssh", "no status", "zero", "tls", "long", "many", "interim"],
)
async def test_what_is_no_upgrade_is_refused_with_its_facts(answer: Any, status: int, said: str) -> None:
    error = await error_of(answer)
    assert error.status == status
    assert said in str(error)


async def test_the_error_names_the_address() -> None:
    error = await error_of(lambda key: switching(key, upgrade="h2c"))
    assert "ws://127.0.0.1:" in str(error)


async def test_the_limits_of_the_answers_head_are_options() -> None:
    async def reply(peer: RawPeer) -> None:
        _, fields = await peer.request()
        peer.send(switching(fields["sec-websocket-key"], x_pad="x" * 20000))
        await peer.rest()

    async with raw_server(reply) as port:
        builder = ws(f"ws://127.0.0.1:{port}/").discard().close_timeout(0.05)
        async with builder.max_header_size(None).connect() as connection:
            assert connection.response is not None
            assert len(connection.response.headers["x-pad"]) == 20000
        with pytest.raises(WebSocketConnectionException, match="max_header_size=100"):
            await ws(f"ws://127.0.0.1:{port}/").discard().max_header_size(100).connect()


async def test_an_endless_refusal_is_read_up_to_a_limit_and_no_longer_than_open_timeout() -> None:
    async def endless(peer: RawPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 500 Oops\r\n\r\n")
        try:
            while True:
                peer.send(b"x" * 10000)
                await peer.writer.drain()
        except OSError:
            pass

    async with raw_server(endless) as port:
        with pytest.raises(HandshakeError) as raised:
            await ws(f"ws://127.0.0.1:{port}/").discard().connect()
    assert raised.value.body == b"x" * 65536


async def test_a_refusal_whose_body_never_comes_still_tells_its_status() -> None:
    async def slow(peer: RawPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\nabc")
        await peer.rest()

    async with raw_server(slow) as port:
        with pytest.raises(HandshakeError) as raised:
            await ws(f"ws://127.0.0.1:{port}/").discard().open_timeout(0.1).connect()
    assert (raised.value.status, raised.value.body) == (401, b"abc")
