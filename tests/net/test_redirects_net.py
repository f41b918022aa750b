"""Redirects over real sockets: followed when asked for, within limits, and without carrying credentials away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from certificates import Authority
from proxies import http_proxy
from support import (
    Inbox,
    RawPeer,
    nothing_leaks,  # noqa: F401
    raw_server,
    soon,
    url_of,
)

from firefly_ws import (
    HandshakeError,
    HttpServer,
    Response,
    Server,
    WebSocketConnectionException,
    dial,
    http_client,
    http_server,
    ws,
)


class Hops:
    """A server whose ``/to`` paths redirect; what reached it is in ``requests``."""

    def __init__(self) -> None:
        self.requests = Inbox()
        self.app: HttpServer = http_server().on_upgrade(self._answer)
        self.to: dict[str, tuple[int, str]] = {}
        for path in ("/", "/end", "/a", "/b", "/c"):
            self.app.websocket(path).on_open(lambda connection: connection.send("here")).origins("*")
        self.server: Server

    async def listen(self) -> Hops:
        self.server = await self.app.listen("127.0.0.1", 0)
        return self

    def _answer(self, request: Any) -> Response | None:
        self.requests(request)
        found = self.to.get(request.target)
        return None if found is None else Response(found[0], "gone there", headers={"Location": found[1]})

    def url(self, path: str) -> str:
        return url_of(self.server, path)


async def arrives(builder: Any) -> Any:
    """Connect, and be greeted; gives the connection's URL."""
    inbox = Inbox()
    async with builder.on_text(inbox).connect() as connection:
        assert await inbox.next() == "here"
        return connection.url


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_when_asked_for(status: int) -> None:
    hops = await Hops().listen()
    hops.to["/a?x=1"] = (status, "/end?y=2")
    assert await arrives(ws(hops.url("/a?x=1")).redirects(1)) == hops.url("/end?y=2")
    first, second = await hops.requests.take(2)
    assert first.headers["sec-websocket-key"] != second.headers["sec-websocket-key"]
    await hops.server.close()


async def test_none_is_followed_by_default_and_the_error_says_how() -> None:
    hops = await Hops().listen()
    hops.to["/a"] = (302, "/end")
    with pytest.raises(HandshakeError, match=r"answered 302 Found.*; \.redirects\(max\) follows it") as raised:
        await ws(hops.url("/a")).connect()
    assert (raised.value.status, raised.value.headers["location"], raised.value.body) == (302, "/end", b"gone there")
    await hops.server.close()


async def test_as_many_are_followed_as_allowed_and_not_one_more() -> None:
    hops = await Hops().listen()
    hops.to |= {"/a": (302, "b"), "/b": (307, "/c"), "/c": (301, hops.url("/end"))}
    assert await arrives(ws(hops.url("/a")).redirects(3)) == hops.url("/end")
    with pytest.raises(HandshakeError, match=r"cannot connect to .*/a: the redirect from .*/c is one more") as raised:
        await ws(hops.url("/a")).redirects(2).connect()
    assert raised.value.status == 301
    await hops.server.close()


async def test_a_loop_is_noticed_before_the_limit() -> None:
    hops = await Hops().listen()
    hops.to |= {"/a": (302, "/b"), "/b": (302, "/a")}
    with pytest.raises(HandshakeError, match=r"the redirect from .*/b leads back to .*/a"):
        await ws(hops.url("/a")).redirects(20).connect()
    assert len(hops.requests) == 2
    await hops.server.close()


async def headers_at_the_end(first: Hops, last: Hops) -> Any:
    """What reaches *last*'s end from *first*, with everything set."""
    first.to["/a"] = (302, last.url("/b"))
    last.to["/b"] = (302, "/end")
    builder = ws(first.url("/a")).redirects(5).bearer("secret").cookies({"a": "b"}).header("X-One", "1")
    await arrives(builder.origin("https://example.com"))
    while (request := await last.requests.next()).path != "/end":
        pass
    return request.headers


async def test_credentials_go_along_within_an_origin() -> None:
    hops = await Hops().listen()
    headers = await headers_at_the_end(hops, hops)
    assert (headers["authorization"], headers["cookie"], headers["x-one"]) == ("Bearer secret", "a=b", "1")
    await hops.server.close()


async def test_credentials_do_not_go_to_another_origin() -> None:
    first, last = await Hops().listen(), await Hops().listen()
    headers = await headers_at_the_end(first, last)
    assert "authorization" not in headers
    assert "cookie" not in headers
    assert (headers["x-one"], headers["origin"]) == ("1", "https://example.com")
    await first.server.close()
    await last.server.close()


async def test_credentials_that_were_dropped_do_not_come_back() -> None:
    first, last = await Hops().listen(), await Hops().listen()
    first.to["/a"] = (302, last.url("/b"))
    last.to["/b"] = (302, first.url("/end"))
    await arrives(ws(first.url("/a")).redirects(5).bearer("secret"))
    assert "authorization" in (await first.requests.next()).headers
    assert "authorization" not in (await first.requests.next()).headers
    await first.server.close()
    await last.server.close()


async def test_a_redirect_to_tls_is_followed_and_away_from_it_is_not(tmp_path: Any) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    plain, secure = await Hops().listen(), Hops()
    secure.app.secure(issued.server_context())
    await secure.listen()
    there = f"https://127.0.0.1:{secure.server.port}"
    plain.to["/a"] = (301, f"{there}/end")
    client = http_client().ssl(authority.client_context())
    assert await arrives(client.ws(plain.url("/a")).redirects(1)) == f"wss://127.0.0.1:{secure.server.port}/end"
    secure.to["/a"] = (301, plain.url("/end"))
    with pytest.raises(HandshakeError, match="would give up TLS"):
        await client.wss(f"wss://127.0.0.1:{secure.server.port}/a").redirects(5).connect()
    await plain.server.close()
    await secure.server.close()


async def test_a_redirect_without_a_location_is_a_refusal() -> None:
    async def serve(peer: RawPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(serve) as port:
        with pytest.raises(HandshakeError, match="302 Found instead of 101") as raised:
            await ws(f"ws://127.0.0.1:{port}/").redirects(5).connect()
    assert raised.value.status == 302


async def test_the_body_of_a_redirect_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "PATIENCE", 60)

    async def serve(peer: RawPeer) -> None:
        await peer.request()
        peer.send(f"HTTP/1.1 302 Found\r\nLocation: {hops.url('/end')}\r\nContent-Length: 9\r\n\r\n".encode())
        await peer.rest()

    hops = await Hops().listen()
    async with raw_server(serve) as port:
        assert await soon(arrives(ws(f"ws://127.0.0.1:{port}/").redirects(1))) == hops.url("/end")
    await hops.server.close()


async def test_open_timeout_covers_all_hops() -> None:
    async def silent(peer: RawPeer) -> None:
        await peer.rest()

    hops = await Hops().listen()
    async with raw_server(silent) as port:
        hops.to["/a"] = (302, f"ws://127.0.0.1:{port}/")
        with pytest.raises(WebSocketConnectionException, match=r"/a: not open within open_timeout=0\.1"):
            await soon(ws(hops.url("/a")).redirects(1).open_timeout(0.1).connect())
    await hops.server.close()


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda builder: builder.redirects(-1), ValueError, r"redirects\(-1\): the number must be at least 0"),
        (lambda builder: builder.redirects("1"), TypeError, r"redirects\('1'\): the number must be an int, not str"),
        (lambda builder: builder.redirects(True), TypeError, r"redirects\(True\)"),
    ],
)
def test_a_bad_number_is_refused(call: Callable[[Any], Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        call(ws("ws://h/"))


async def test_each_hop_goes_through_its_proxy() -> None:  # W6
    first, last = await Hops().listen(), await Hops().listen()
    first.to["/a"] = (302, last.url("/end"))
    async with http_proxy() as proxy:
        await arrives(ws(first.url("/a")).redirects(1).proxy(proxy.url()))
    assert proxy.asked == [("127.0.0.1", first.server.port), ("127.0.0.1", last.server.port)]
    await first.server.close()
    await last.server.close()
