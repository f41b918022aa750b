"""The server's opening handshake as bytes on a socket, RFC 6455 §4.2: what is upgraded, and how the rest is refused."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from typing import Any

import pytest
from every import for_each
from support import (
    ACCEPT,
    CLOSE,
    TEXT,
    Answer,
    Inbox,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    timers,
    upgrade,
)

from firefly_ws import HttpConfig, Request, Response, Server, http_server

HELLO = frame(TEXT, "hello")


async def listening(config: HttpConfig | None = None, change: Any = None) -> Server:
    app = http_server(config)
    app.websocket("/").on_message(echo).websocket("/room/{name}").on_message(echo)
    if change is not None:
        change(app)
    server: Server = await app.listen("127.0.0.1", 0)
    return server


async def answer_to(request: bytes, *, config: HttpConfig | None = None, change: Any = None) -> Answer:
    """What a server answers: the head of an upgrade, or a whole refusal, behind which it ends the connection."""
    server = await listening(config, change)
    async with raw_client(server.port) as peer:
        peer.send(request)
        answer = await peer.head()
        if answer.status != 101:
            answer.body = await peer.rest()
            assert "close" in answer.headers["connection"]
            assert answer.headers["content-length"] == f"{len(answer.body)}"
            assert "date" in answer.headers
            assert server.stats()["refused"] == 1
    await server.close()
    return answer


# --- 101


async def test_the_upgrade_is_answered_as_the_rfc_has_it() -> None:
    answer = await answer_to(upgrade())
    assert (answer.version, answer.status, answer.reason) == ("HTTP/1.1", 101, "Switching Protocols")
    assert answer.headers == {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT}


@for_each(
    "fields",
    [
        {"connection": "keep-alive, Upgrade"},
        {"connection": "upgrade,keep-alive"},
        {"upgrade": "WebSocket"},
        {"upgrade": "h2c, websocket"},
        {"host": "example.com:8090"},
        {"host": "[::1]:8090"},
        {"content_length": "0"},
        {"sec_websocket_extensions": "x-unknown; a=1"},
        {"sec_websocket_protocol": "nobody-knows"},
        {"cookie": "a=b", "authorization": "Bearer x"},
    ],
)
async def test_what_browsers_and_libraries_send_is_upgraded(fields: dict[str, str]) -> None:  # K2
    answer = await answer_to(upgrade(**fields))
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers
    assert "sec-websocket-protocol" not in answer.headers


@pytest.mark.parametrize("path", ["/?a=b", "/room/a%2Fb?x#".rstrip("#"), "http://example.com/"])
async def test_a_target_with_query_or_in_absolute_form_finds_its_route(path: str) -> None:
    assert (await answer_to(upgrade(path))).status == 101


async def test_empty_lines_before_the_request_are_passed_over() -> None:
    assert (await answer_to(b"\r\n\r\n" + upgrade())).status == 101


async def test_the_head_may_be_split_at_any_byte_and_frames_behind_it_are_kept() -> None:
    server = await listening()
    request = upgrade(connection="keep-alive, Upgrade", user_agent="x") + HELLO

    async def split(at: int) -> None:
        async with raw_client(server.port) as peer:
            peer.send(request[:at])
            await asyncio.sleep(0.02)
            peer.send(request[at:])
            assert (await peer.head()).status == 101
            assert await peer.frame() == (0x81, b"hello")

    await asyncio.gather(*(split(at) for at in range(1, len(request))))
    await server.close()


async def test_the_head_may_come_a_byte_at_a_time() -> None:
    server = await listening()
    async with raw_client(server.port) as peer:
        await peer.send_bytewise(upgrade() + HELLO)
        assert (await peer.head()).status == 101
        assert await peer.frame() == (0x81, b"hello")
    await server.close()


async def test_frames_in_one_packet_with_the_handshake_are_delivered_in_order() -> None:
    server = await listening()
    async with raw_client(server.port) as peer:
        peer.send(upgrade(), *(frame(TEXT, f"{number}") for number in range(50)), frame(CLOSE, b"\x03\xe8"))
        assert (await peer.head()).status == 101
        assert [await peer.frame() for _ in range(50)] == [(0x81, f"{number}".encode()) for number in range(50)]
        assert await peer.frame() == (0x88, b"\x03\xe8")
        assert await peer.rest() == b""
    await server.close()


# --- refusals


@for_each(
    ("request_", "status"),
    [
        (upgrade("/nothing"), 404),
        (upgrade(method="BREW"), 501),
        (upgrade(without="connection"), 400),
        (upgrade(connection="keep-alive"), 400),
        (upgrade(without="sec-websocket-version"), 426),
        (upgrade(sec_websocket_version="8"), 426),
        (upgrade(sec_websocket_version="13, 8"), 426),
        (upgrade(without="sec-websocket-key"), 400),
        (upgrade(sec_websocket_key=""), 400),
        (upgrade(sec_websocket_key="dG9vIHNob3J0"), 400),
        (upgrade(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ=!"), 400),
        (upgrade(sec_websocket_key="dGhlIHNhbXBsZSBub25jZXNzcw=="), 400),
        (upgrade(without="host"), 400),
        (upgrade(host=""), 400),
        (upgrade(host="a b"), 400),
        (upgrade(host="example.com\r\nHost: example.org"), 400),
        (upgrade(content_length="5") + b"hello", 400),
        (upgrade(transfer_encoding="chunked"), 400),
        (upgrade(sec_websocket_protocol="a, a"), 400),
        (upgrade(sec_websocket_protocol="a b"), 400),
        (upgrade(sec_websocket_extensions="permessage-deflate; ="), 400),
        (upgrade("/#fragment"), 400),
        (upgrade(version="2.0"), 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), 400),
        (b"GET /\r\n\r\n", 400),
        (upgrade(x_folded="a\r\n b"), 400),
        (upgrade(x_null="a\0b"), 400),
        (b"GET / HTTP/1.1\r\nHost : example.com\r\n\r\n", 400),
    ],
)
async def test_what_is_no_upgrade_is_refused(request_: bytes, status: int) -> None:  # W1
    answer = await answer_to(request_)
    assert answer.status == status
    if status == 426:
        assert answer.headers["upgrade"] == "websocket"


@pytest.mark.parametrize("fields", [{"without": "sec-websocket-version"}, {"sec_websocket_version": "7"}])
async def test_another_version_is_told_which_one_is_served(fields: dict[str, Any]) -> None:  # K1
    answer = await answer_to(upgrade(**fields))
    assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.parametrize(
    ("config", "request_", "status"),
    [
        (HttpConfig(max_header_size=200), upgrade(x_pad="x" * 100), 431),
        (HttpConfig(max_header_size=200), b"GET /" + b"x" * 200, 431),
        (HttpConfig(max_header_size=200), b"\r\n" * 200, 431),
        (HttpConfig(max_header_count=5), upgrade(), 101),
        (HttpConfig(max_header_count=5), upgrade(x_one="1"), 431),
        (HttpConfig(), upgrade(x_pad="x" * 16384), 431),
        (HttpConfig(max_header_size=None), upgrade(x_pad="x" * 60000), 101),
    ],
    ids=["long field", "endless line", "endless empty lines", "count fits", "count", "default", "no limit"],
)
async def test_a_head_beyond_a_limit_gets_431(config: HttpConfig, request_: bytes, status: int) -> None:
    assert (await answer_to(request_, config=config)).status == status


async def test_a_request_that_does_not_arrive_in_time_gets_408() -> None:
    server = await listening(HttpConfig(open_timeout=0.1))
    for sent in (b"", upgrade()[:-1]):
        async with raw_client(server.port) as peer:
            peer.send(sent)
            assert (await peer.answer()).status == 408
    await server.close()


async def test_a_byte_now_and_then_does_not_prolong_the_time() -> None:
    server = await listening(HttpConfig(open_timeout=0.15))
    sent = 0
    async with raw_client(server.port) as peer:
        for byte in upgrade():
            peer.send(bytes((byte,)))
            sent += 1
            await asyncio.sleep(0.01)
            if peer.reader.at_eof() or peer.reader._buffer:  # type: ignore[attr-defined]
                break
        assert (await peer.answer()).status == 408
    assert sent < len(upgrade())
    await server.close()


# --- origins


SAME = {"host": "example.com:8090", "origin": "http://example.com:8090"}


@for_each(
    ("fields", "allowed", "status"),
    [
        (SAME, None, 101),
        ({"origin": "https://Example.COM"}, None, 101),
        ({"host": "example.com:443", "origin": "https://example.com"}, None, 101),
        ({"host": "example.com", "origin": "http://example.com:80"}, None, 101),
        ({"host": "example.com", "origin": "http://example.com:443"}, None, 403),
        ({"origin": "https://example.org"}, None, 403),
        ({"origin": "http://example.com:8080"}, None, 403),
        ({"origin": "null"}, None, 403),
        ({"origin": ""}, None, 403),
        ({"origin": "https://example.org", "x_forwarded_host": "example.org"}, None, 403),
        ({"origin": "https://example.org"}, ["https://example.org"], 101),
        ({"origin": "https://example.org:443"}, ["https://EXAMPLE.org"], 101),
        ({"origin": "http://example.org"}, ["https://example.org"], 403),
        ({"origin": "https://example.com"}, ["https://example.org"], 403),
        ({"origin": "null"}, ["*"], 101),
        ({"origin": "https://evil.example"}, ["*"], 101),
        ({}, ["https://example.org"], 101),
    ],
)
async def test_the_origin_must_be_allowed(fields: dict[str, str], allowed: list[str] | None, status: int) -> None:
    def change(app: Any) -> None:
        if allowed is not None:
            app.origins(*allowed)

    answer = await answer_to(upgrade(**fields), change=change)
    assert answer.status == status
    if status == 403:
        assert b"origin" in answer.body.lower()


async def test_a_routes_origins_win_over_the_servers() -> None:
    app = http_server().origins("https://one.example")
    server = await app.websocket("/").origins("https://two.example").discard().listen("127.0.0.1", 0)
    for origin, status in (("https://one.example", 403), ("https://two.example", 101)):
        async with raw_client(server.port) as peer:
            peer.send(upgrade(origin=origin))
            assert (await peer.head()).status == status
    await server.close()


# --- on_upgrade


async def later(value: Any) -> Any:
    await asyncio.sleep(0.01)
    return value


def of_a_thread(value: Any) -> concurrent.futures.Future[Any]:
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_result(value)
    return future


@pytest.mark.parametrize("wrap", [lambda value: value, later, of_a_thread], ids=["plain", "async", "future"])
async def test_on_upgrade_accepts_with_none_and_refuses_with_a_response(wrap: Any) -> None:  # F11
    def check(request: Request) -> Any:
        return wrap(None if request.query.get("token") == "abc" else Response(401, "who?", [("WWW-Authenticate", "x")]))

    assert (await answer_to(upgrade("/?token=abc"), change=lambda app: app.on_upgrade(check))).status == 101
    answer = await answer_to(upgrade(), change=lambda app: app.on_upgrade(check))
    assert (answer.status, answer.headers["www-authenticate"], answer.body) == (401, "x", b"who?")


async def test_a_refusal_longer_than_what_the_system_takes_at_once_arrives_whole() -> None:
    page = "x" * 8_000_000
    answer = await answer_to(upgrade(), change=lambda app: app.on_upgrade(lambda request: Response(403, page)))
    assert (answer.status, len(answer.body)) == (403, len(page))


async def test_on_upgrade_sees_who_asks_and_the_connection_and_its_request_do_so_to_the_end() -> None:
    asked, opened = Inbox(), Inbox()
    server = await listening(change=lambda app: app.on_upgrade(asked).websocket("/who").on_open(opened).discard())
    for packets in ([upgrade("/who")], [upgrade("/who")[:30], upgrade("/who")[30:]]):
        async with raw_client(server.port) as peer:
            for packet in packets:
                peer.send(packet)
                await asyncio.sleep(0.01)
            assert (await peer.head()).status == 101
            ours = peer.writer.get_extra_info("sockname")
            request, connection = await asked.next(), await opened.next()
            assert request is connection.request
            assert connection.local_address == peer.writer.get_extra_info("peername")
        await soon(connection.wait_closed())
        assert request.remote_address == connection.remote_address == ours
    await server.close()


@pytest.mark.parametrize("wrap", [lambda value: value, later], ids=["plain", "async"])
async def test_on_upgrade_that_raises_or_returns_nonsense_gives_500_and_is_logged(wrap: Any) -> None:
    async def raising(request: Request) -> None:
        await wrap(None) if wrap is later else None
        raise KeyError("secret")

    for hook, said in ((raising, "secret"), (lambda request: wrap(17), "17")):
        with logged() as records:
            answer = await answer_to(upgrade(), change=lambda app, hook=hook: app.on_upgrade(hook))
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert said in str(records[0].exc_info[1])  # type: ignore[index]


async def test_what_arrives_while_on_upgrade_decides_belongs_to_the_websocket() -> None:
    decide = asyncio.Event()

    async def hook(request: Request) -> None:
        await decide.wait()

    server = await listening(change=lambda app: app.on_upgrade(hook))
    async with raw_client(server.port) as peer:
        peer.send(upgrade(), frame(TEXT, "one"))
        await asyncio.sleep(0.02)
        peer.send(frame(TEXT, "two"))
        await asyncio.sleep(0.02)
        peer.send(frame(TEXT, "three"))
        decide.set()
        assert (await peer.head()).status == 101
        assert [await peer.frame() for _ in range(3)] == [(0x81, b"one"), (0x81, b"two"), (0x81, b"three")]
    await server.close()


async def test_on_upgrade_is_not_asked_about_what_is_no_upgrade() -> None:
    asked = Inbox()
    cases = ((upgrade(without="sec-websocket-key"), 400), (upgrade(origin="http://evil.example"), 403))
    for request, status in cases:
        answer = await answer_to(request, change=lambda app: app.on_upgrade(asked))
        assert answer.status == status
    assert len(asked) == 0


async def test_on_upgrade_is_cancelled_when_the_client_goes_away() -> None:
    ended = Inbox()

    async def hook(request: Request) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended(request.path)

    server = await listening(change=lambda app: app.on_upgrade(hook))
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        await eventually(lambda: server.stats()["handshaking"] == 1)
    assert await ended.next() == "/"
    await soon(server.close())


async def test_on_upgrade_that_takes_longer_than_open_timeout_is_cancelled_with_408() -> None:
    ended = Inbox()

    async def hook(request: Request) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        ended(request.path)  # and accepts, in vain

    server = await listening(HttpConfig(open_timeout=0.05), lambda app: app.on_upgrade(hook))
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        assert (await peer.answer()).status == 408
        assert await ended.next() == "/"
    await soon(server.close())


async def test_who_was_refused_and_leaves_is_forgotten_when_it_leaves() -> None:
    """The timer for those who stay held the transport of each for a second: who is refused often cost that much."""
    loop = asyncio.get_running_loop()
    server = await listening()
    before = timers(loop)
    async with raw_client(server.port) as peer:
        peer.send(upgrade("/nowhere", without="host"))
        await peer.rest()
        ours = [handle for handle in timers(loop, before) if "abort" in repr(handle)]
    if isinstance(loop, asyncio.SelectorEventLoop):  # uvloop does not show its timers
        assert ours
        await eventually(lambda: all(handle.cancelled() for handle in ours))
    await server.close()
