"""Clients behind proxies: HTTP, HTTPS and SOCKS ones, ws and wss through them, and what is raised when they refuse."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Any

import pytest
import uvloop
from certificates import Authority, Issued
from proxies import Proxying, http_proxy, socks4_proxy, socks5_proxy
from support import (
    Inbox,
    RawPeer,
    echo,
    nothing_leaks,  # noqa: F401
    raw_server,
    refused_port,
    soon,
    url_of,
)

from firefly_ws import (
    HandshakeError,
    HttpClient,
    ProxyError,
    Response,
    Server,
    WebSocketConnectionException,
    http_client,
    http_server,
)
from firefly_ws.backoff import is_worth_retrying


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Issued:
    return authority.issue("localhost", "127.0.0.1")


PROXIES: dict[str, Any] = {
    "http": http_proxy,
    "socks4": lambda: socks4_proxy(scheme="socks4"),
    "socks5h": lambda: socks5_proxy(scheme="socks5h"),
}


async def listening(issued: Issued | None = None) -> Server:
    app = http_server()
    if issued is not None:
        app.secure(issued.certificate, issued.key)
    server: Server = await app.websocket("/").on_message(echo).listen("127.0.0.1", 0)
    return server


def client(server: Server, authority: Authority | None, host: str = "127.0.0.1") -> Any:
    if authority is None:
        return http_client().websocket(url_of(server, host=host))
    return http_client().websocket(url_of(server, scheme="wss", host=host)).ssl(authority.client_context())


async def talks(builder: Any) -> None:
    inbox = Inbox()
    async with builder.on_text(inbox).connect() as connection:
        connection.send("through")
        assert await inbox.next() == "through"


@pytest.fixture(params=["ws", "wss"])
def secure(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "wss")


async def test_a_connection_goes_through_an_http_proxy(secure: bool, authority: Authority, ours: Issued) -> None:  # W6
    server = await listening(ours if secure else None)
    async with http_proxy() as proxy:
        await talks(client(server, authority if secure else None).proxy(proxy.url()))
    assert proxy.asked == [("127.0.0.1", server.port)]
    assert proxy.heads[0]["host"] == f"127.0.0.1:{server.port}"
    assert "proxy-authorization" not in proxy.heads[0]
    await server.close()


async def test_a_connection_goes_through_an_https_proxy(secure: bool, authority: Authority, ours: Issued) -> None:  # W6
    server = await listening(ours if secure else None)
    async with http_proxy(ssl=ours.server_context()) as proxy:
        await talks(client(server, authority if secure else None).proxy(proxy.url(), ssl=authority.client_context()))
    assert proxy.asked == [("127.0.0.1", server.port)]
    await server.close()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_connection_goes_through_a_socks5_proxy(
    scheme: str, secure: bool, authority: Authority, ours: Issued
) -> None:  # W6
    server = await listening(ours if secure else None)
    async with socks5_proxy(scheme=scheme) as proxy:
        await talks(client(server, authority if secure else None, "localhost").proxy(proxy.url()))
    # With h the proxy looks the name up.
    assert proxy.asked == [("localhost" if scheme == "socks5h" else "127.0.0.1", server.port)]
    await server.close()


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
async def test_a_connection_goes_through_a_socks4_proxy(
    scheme: str, secure: bool, authority: Authority, ours: Issued
) -> None:  # W6
    server = await listening(ours if secure else None)
    async with socks4_proxy(scheme=scheme) as proxy:
        await talks(client(server, authority if secure else None, "localhost").proxy(proxy.url("ada")))
    assert proxy.asked == [("localhost" if scheme == "socks4a" else "127.0.0.1", server.port, "ada")]
    await server.close()


async def test_an_http_proxy_is_told_user_and_password_and_the_server_is_not() -> None:  # W6
    requests = Inbox()
    route = http_server().websocket("/").on_open(lambda connection: requests(connection.request))
    server = await route.listen("127.0.0.1", 0)
    async with http_proxy() as proxy, client(server, None).proxy(proxy.url("ada:p%40ss%C3%A4")).connect():
        request = await requests.next()
    kind, value = proxy.heads[0]["proxy-authorization"].split()
    assert (kind, base64.b64decode(value).decode()) == ("Basic", "ada:p@ssä")
    assert "proxy-authorization" not in request.headers
    await server.close()


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """``both.example`` has an address where nobody is, and ours."""

    def with_both(look_up: Any) -> Any:
        async def getaddrinfo(self: Any, host: str, port: int, **options: Any) -> Any:
            addresses = ("127.0.0.2", "127.0.0.1") if host == "both.example" else (host,)
            return [info for one in addresses for info in await look_up(self, one, port, **options)]

        return getaddrinfo

    for kind in (asyncio.BaseEventLoop, uvloop.Loop):
        monkeypatch.setattr(kind, "getaddrinfo", with_both(kind.getaddrinfo))


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5h"])
async def test_all_addresses_of_a_proxy_are_tried(scheme: str, both: None) -> None:  # W6
    # Of a SOCKS proxy it was the first one alone.
    server = await listening()
    async with PROXIES[scheme]() as proxy:
        await talks(client(server, None).proxy(proxy.url().replace("127.0.0.1", "both.example")))
    assert len(proxy.asked) == 1
    await server.close()


async def test_all_addresses_of_the_server_are_asked_of_a_socks_proxy_that_looks_none_up(both: None) -> None:  # W6
    server = await listening()
    async with socks5_proxy(away=("127.0.0.2",)) as proxy:
        await talks(client(server, None, "both.example").proxy(proxy.url()))
    assert proxy.asked == [("127.0.0.2", server.port), ("127.0.0.1", server.port)]
    await server.close()


async def test_a_socks_proxy_that_wants_no_part_of_it_is_not_asked_again(both: None) -> None:  # W6
    async with socks5_proxy(reply=2) as proxy:
        with pytest.raises(ProxyError, match="not allowed by ruleset"):
            await http_client().websocket("ws://both.example/").proxy(proxy.url()).connect()
    assert proxy.asked == [("127.0.0.2", 80)]


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_proxy_whose_name_nobody_knows_is_said_so(scheme: str) -> None:  # W6
    # Of a SOCKS proxy it was "Unknown error -2".
    with pytest.raises(ProxyError, match=r"through the proxy .*: the host 'nowhere\.invalid' does not resolve: \D+$"):
        await http_client().websocket("ws://127.0.0.1/").proxy(f"{scheme}://nowhere.invalid").connect()


async def test_a_server_whose_name_nobody_knows_is_no_matter_of_the_proxy() -> None:  # W6
    async with socks5_proxy() as proxy:
        with pytest.raises(WebSocketConnectionException, match=r"'nowhere\.invalid' does not resolve") as raised:
            await http_client().websocket("ws://nowhere.invalid/").proxy(proxy.url()).connect()
    assert not isinstance(raised.value, ProxyError)
    assert not proxy.asked


async def test_a_socks5_proxy_is_told_user_and_password() -> None:  # W6
    server = await listening()
    async with socks5_proxy(user=(b"ada", b"p@ss")) as proxy:
        await talks(client(server, None).proxy(proxy.url("ada:p%40ss")))
        with pytest.raises(ProxyError, match="authentication failure") as raised:
            await client(server, None).proxy(proxy.url("ada:wrong")).connect()
        assert "wrong" not in str(raised.value)
        with pytest.raises(ProxyError, match="No acceptable authentication"):
            await client(server, None).proxy(proxy.url()).connect()
    await server.close()


# --- refusals


async def test_a_proxy_that_refuses_gives_its_answer() -> None:  # W6, C8
    refusal = b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nno one"
    async with http_proxy(refusal) as proxy:
        with pytest.raises(ProxyError, match=f"through the proxy {proxy.url()}: it answered 407 Who are you") as raised:
            await http_client().websocket("ws://server.example/").proxy(proxy.url("ada:secret")).connect()
    error = raised.value
    assert (error.status, error.headers["proxy-authenticate"], error.body) == (407, "Basic", b"no on")
    assert isinstance(error, WebSocketConnectionException)
    assert "secret" not in str(error)
    assert proxy.asked == [("server.example", 80)]


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\nto the end", 502, "502 Bad Gateway"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", 301, "301 Moved"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 0, "no HTTP/1.1 response"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", 200, "bytes behind its answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 0, "max_header_size=16384"),
    ],
    ids=["to the end", "redirect", "no http", "bytes behind", "endless head"],
)
async def test_what_a_proxy_may_answer_instead_of_200(answer: bytes, status: int, said: str) -> None:  # W6
    async def serve(peer: RawPeer) -> None:
        await peer.request()
        peer.send(answer)

    async with raw_server(serve) as port:
        with pytest.raises(ProxyError, match=said) as raised:
            await soon(http_client().websocket("ws://server.example/").proxy(f"http://127.0.0.1:{port}").connect())
    assert raised.value.status == status


async def test_a_200_with_lengths_has_no_body_all_the_same() -> None:  # W6
    server = await listening()
    async with http_proxy(opened=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as proxy:
        await talks(client(server, None).proxy(proxy.url()))
    await server.close()


async def test_a_proxy_that_ends_the_connection_is_told_and_worth_another_try() -> None:  # W6
    async def leave(peer: RawPeer) -> None:
        await soon(peer.reader.read(1000))

    async def leave_later(peer: RawPeer) -> None:
        await soon(peer.reader.read(3))
        peer.send(b"\x05\x00")
        await leave(peer)

    for scheme, serve in (("http", leave), ("socks4a", leave), ("socks5h", leave), ("socks5h", leave_later)):
        async with raw_server(serve) as port:
            with pytest.raises(ProxyError, match="it ended the connection before it answered") as raised:
                await soon(
                    http_client().websocket("ws://server.example/").proxy(f"{scheme}://127.0.0.1:{port}").connect()
                )
        assert raised.value.status == 0
        assert is_worth_retrying(raised.value), scheme


@pytest.mark.parametrize("late", [False, True], ids=["at once", "in TLS"])
async def test_an_https_proxy_that_ends_the_way_it_has_opened_is_told(  # W6
    late: bool, authority: Authority, ours: Issued
) -> None:
    # At once, in the same packet: asyncio gave an AttributeError and uvloop the whole of open_timeout.
    if late:  # CPython before 3.11.8 and 3.12.2 complains of an error of its own (gh-113214)
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    async def leave(peer: RawPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        if late:
            await soon(peer.reader.read(1))

    async with raw_server(leave, ssl=ours.server_context()) as port:
        for scheme, said in (("ws", "ended before the server answered"), ("wss", "ended")):
            builder = http_client().websocket(f"{scheme}://server.example/")
            builder.proxy(f"https://127.0.0.1:{port}", ssl=authority.client_context()).open_timeout(None)
            with pytest.raises(WebSocketConnectionException, match=said) as raised:
                await soon(builder.connect())
            assert is_worth_retrying(raised.value)


@pytest.mark.parametrize(("reply", "said"), [(2, "not allowed by ruleset"), (5, "Connection refused"), (9, "0X9")])
async def test_a_socks5_proxy_that_refuses_gives_its_reply(reply: int, said: str) -> None:  # W6
    async with socks5_proxy(reply=reply) as proxy:
        with pytest.raises(ProxyError, match=said) as raised:
            await http_client().websocket("ws://127.0.0.1/").proxy(proxy.url()).connect()
    assert raised.value.status == (reply if reply < 9 else 0)


async def test_a_socks4_proxy_that_refuses_gives_its_reply() -> None:  # W6
    async with socks4_proxy(reply=91) as proxy:
        with pytest.raises(ProxyError, match="rejected or failed") as raised:
            await http_client().websocket("ws://127.0.0.1/").proxy(proxy.url()).connect()
    assert raised.value.status == 91


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5"])
async def test_a_proxy_that_is_not_there_is_named(scheme: str) -> None:  # W6
    url = f"{scheme}://127.0.0.1:{await refused_port()}"
    with pytest.raises(ProxyError, match=f"through the proxy {url}: .*refused") as raised:
        await http_client().websocket("ws://127.0.0.1/").proxy(url).connect()
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_silent_proxy_is_bounded_by_open_timeout(scheme: str) -> None:  # W6
    async def silent(peer: RawPeer) -> None:
        await peer.rest()

    async with raw_server(silent) as port:
        builder = http_client().websocket("ws://127.0.0.1/").proxy(f"{scheme}://127.0.0.1:{port}").open_timeout(0.05)
        with pytest.raises(WebSocketConnectionException, match=r"open_timeout=0\.05"):
            await soon(builder.connect())


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_connect_through_a_silent_proxy_can_be_cancelled(scheme: str) -> None:  # W6
    asked = asyncio.Event()

    async def silent(peer: RawPeer) -> None:
        await peer.reader.read(1)
        asked.set()
        await peer.rest()

    async with raw_server(silent) as port:
        connecting = http_client().websocket("ws://127.0.0.1/").proxy(f"{scheme}://127.0.0.1:{port}").connect()
        await soon(asked.wait())
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def test_the_certificate_of_an_https_proxy_is_verified(authority: Authority, ours: Issued) -> None:  # W6
    async def serve(peer: RawPeer) -> None:
        await peer.rest()

    async with raw_server(serve, ssl=ours.server_context()) as port:
        builder = http_client().websocket("ws://127.0.0.1/").proxy(f"https://127.0.0.1:{port}")
        with pytest.raises(ProxyError, match=r"not valid for 127.0.0.1: .*\.proxy\(url, ssl=context\)") as raised:
            await soon(builder.connect())
        assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)


async def test_the_servers_certificate_is_verified_inside_the_tunnel(ours: Issued) -> None:  # W6
    server = await listening(ours)
    async with http_proxy() as proxy:
        builder = http_client().websocket(url_of(server, scheme="wss")).proxy(proxy.url())
        with pytest.raises(WebSocketConnectionException, match=r"certificate is not valid.*\.ssl\(context\)") as raised:
            await soon(builder.connect())
    assert not isinstance(raised.value, ProxyError)
    await server.close()


async def test_the_servers_refusal_comes_through_the_tunnel() -> None:  # W6
    app = http_server().on_upgrade(lambda request: Response(403, "not you"))
    server = await app.websocket("/").discard().listen("127.0.0.1", 0)
    async with http_proxy() as proxy:
        with pytest.raises(HandshakeError) as raised:
            await client(server, None).proxy(proxy.url()).connect()
    assert (raised.value.status, raised.value.body) == (403, b"not you")
    await server.close()


# --- which proxy


async def through(client: HttpClient, server: Server, proxy: Proxying, change: Any = None) -> bool:
    """Whether a connection went through *proxy*."""
    proxy.asked.clear()
    builder = client.websocket(url_of(server))
    if change is not None:
        change(builder)
    await talks(builder)
    return bool(proxy.asked)


async def test_a_clients_proxy_is_for_all_and_a_connections_wins() -> None:  # W6, C1
    server = await listening()
    async with http_proxy() as proxy:
        ours = http_client().proxy(proxy.url())
        assert await through(ours, server, proxy)
        assert not await through(ours, server, proxy, lambda builder: builder.proxy(None))
        assert await through(http_client(), server, proxy, lambda builder: builder.proxy(proxy.url()))
    await server.close()


async def test_the_environment_is_asked_only_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:  # W6
    server = await listening()
    async with http_proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        monkeypatch.delenv("no_proxy", raising=False)
        assert not await through(http_client(), server, proxy)
        assert await through(http_client(), server, proxy, lambda builder: builder.proxy_from_env())
        ours = http_client().proxy_from_env()
        assert await through(ours, server, proxy)
        # It is read when a connection begins.
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        assert not await through(ours, server, proxy)
    await server.close()


async def test_a_variable_that_is_no_proxys_address_is_told_by_connect(monkeypatch: pytest.MonkeyPatch) -> None:  # W6
    monkeypatch.setenv("http_proxy", "ftp://x")
    with pytest.raises(ValueError, match="http_proxy: proxy 'ftp://x' must begin with"):
        http_client().websocket("ws://h/").proxy_from_env().connect()
