"""Clients at the edges: at which stage a connect's time ends, which way it goes, and who has the connection then."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from certificates import Authority
from proxies import http_proxy, socks4_proxy, socks5_proxy
from support import (
    Inbox,
    RawPeer,
    answering,
    echo,
    eventually,
    nothing_leaks,  # noqa: F401
    raw_server,
    soon,
    switching,
    url_of,
)

from firefly_ws import (
    WebSocketConnectionException,
    http_client,
    http_server,
    ws,
    wss,
)
from firefly_ws.dial import ClientHandshake
from firefly_ws.extensions.identity import Identity


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Name look-up by a table, for names that are in it; a future is waited for."""
    table: dict[str, Any] = {}

    def planted_in(look_up: Any) -> Any:
        async def getaddrinfo(self: Any, host: str, port: int, **options: Any) -> Any:
            found = table.get(host, (host,))
            if isinstance(found, asyncio.Future):
                found = await asyncio.shield(found)
            return [info for one in found for info in await look_up(self, one, port, **options)]

        return getaddrinfo

    for kind in (asyncio.BaseEventLoop, uvloop.Loop):
        monkeypatch.setattr(kind, "getaddrinfo", planted_in(kind.getaddrinfo))
    return table


async def silent(peer: RawPeer) -> None:
    with suppress(OSError):
        await peer.rest()


@asynccontextmanager
async def full(sock: socket.socket, address: Any) -> AsyncIterator[None]:
    """A listening socket whose queue has no room left."""
    sock.bind(address)
    sock.listen(0)
    clients = [socket.socket(sock.family) for _ in range(4)]
    try:
        for client in clients:
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
        yield
    finally:
        for one in (sock, *clients):
            one.close()


# --- time


async def test_the_end_of_open_timeout_says_what_was_waited_for(planted: dict[str, Any], tmp_path: Path) -> None:
    planted["slow.example"] = asyncio.get_running_loop().create_future()
    answer = b"HTTP/1.1 302 Found\r\nLocation: ws://slow.example/\r\nContent-Length: 0\r\n\r\n"
    tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "socket")
    async with (
        raw_server(silent) as port,
        raw_server(answering(answer)) as away,
        full(tcp, ("127.0.0.1", 0)),
        full(unix, path),
    ):
        there = f"127.0.0.1:{port}"
        busy = tcp.getsockname()[1]
        for builder, doing in (
            (ws("ws://slow.example/"), "looking up slow.example"),
            (ws(f"ws://127.0.0.1:{away}/").redirects(1), "looking up slow.example"),
            (ws("ws://h/").proxy("http://slow.example"), "looking up slow.example"),
            (ws(f"ws://127.0.0.1:{busy}/"), f"connecting to 127.0.0.1 port {busy}"),
            (ws("ws://h/").unix(path), f"waiting for room in the queue of the unix socket {path!r}"),
            (wss(f"wss://{there}/"), "agreeing on TLS with 127.0.0.1"),
            (ws("ws://h/").proxy(f"http://{there}"), f"waiting for the answer of the proxy http://{there}"),
            (ws("ws://h/").proxy(f"https://{there}"), "agreeing on TLS with 127.0.0.1"),
            (ws("ws://h/").proxy(f"socks5h://{there}"), f"waiting for the answer of the proxy socks5h://{there}"),
            (ws(f"ws://{there}/"), f"waiting for the answer of ws://{there}/"),
        ):
            for seconds in (0.02, 0.2, 2):  # a slow machine may not come as far in the first
                with pytest.raises(WebSocketConnectionException) as raised:
                    await soon(builder.open_timeout(seconds).connect())
                told = f"open_timeout={seconds} seconds, which ended while {doing}; .open_timeout("
                if told in str(raised.value):
                    break
            assert told in str(raised.value)
            # And whoever gives up there leaves nothing, which `nothing_leaks` sees.
            connecting = builder.open_timeout(5).connect()
            await asyncio.sleep(0.01)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(connecting)


async def test_no_limit_but_open_timeout_ends_a_tls_handshake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The loops have one of their own, of 60 s.
    asked: list[Any] = []

    def watched(begin: Any) -> Any:
        def call(self: Any, *args: Any, **options: Any) -> Any:
            asked.append(options.get("ssl_handshake_timeout"))
            return begin(self, *args, **options)

        return call

    for kind in (asyncio.BaseEventLoop, uvloop.Loop):
        monkeypatch.setattr(kind, "create_connection", watched(kind.create_connection))
    issued = Authority(tmp_path)
    app = http_server().secure(issued.issue("127.0.0.1").server_context())
    async with app.websocket("/").discard().listen("127.0.0.1", 0) as server:
        connection = await wss(url_of(server, scheme="wss")).ssl(issued.client_context()).open_timeout(None).connect()
        await soon(connection.close())
    assert all(seconds > 1e7 for seconds in asked)
    assert asked


# --- addresses and names


async def test_the_address_that_answers_is_taken_where_others_do_not(planted: dict[str, Any]) -> None:
    async with http_server().websocket("/").discard().listen("127.0.0.1", 0) as server:
        planted["both.example"] = ("127.0.0.2", "127.0.0.1")
        async with ws(url_of(server, host="both.example")).connect() as connection:
            assert connection.remote_address[0] == "127.0.0.1"
        dead = socket.socket()
        async with full(dead, ("127.0.0.3", server.port)):  # takes nobody, and does not say so
            planted["both.example"] = ("127.0.0.3", "127.0.0.1")
            async with ws(url_of(server, host="both.example")).connect() as connection:
                assert connection.remote_address[0] == "127.0.0.1"
        planted["both.example"] = ("127.0.0.2", "127.0.0.4")
        with pytest.raises(WebSocketConnectionException, match=r"both\.example port .*refused"):
            await ws(url_of(server, host="both.example")).connect()


async def test_socks_4_is_asked_for_addresses_that_it_can_name(monkeypatch: pytest.MonkeyPatch) -> None:  # W6
    asked: list[tuple[str, int]] = []

    def watched(look_up: Any) -> Any:
        async def getaddrinfo(self: Any, host: str, port: int, **options: Any) -> Any:
            asked.append((host, options.get("family")))
            return await look_up(self, "127.0.0.1", port, **options)

        return getaddrinfo

    for kind in (asyncio.BaseEventLoop, uvloop.Loop):
        monkeypatch.setattr(kind, "getaddrinfo", watched(kind.getaddrinfo))
    async with http_server().websocket("/").discard().listen("127.0.0.1", 0) as server:
        for make in (socks4_proxy, socks5_proxy):
            async with make() as proxy:
                builder = ws(url_of(server, host="both.example")).proxy(proxy.url())
                await soon((await soon(builder.connect())).close())
    families = [family for host, family in asked if host == "both.example"]
    assert families == [socket.AF_INET, socket.AF_UNSPEC]


async def test_the_root_of_a_name_is_no_part_of_its_certificate(planted: dict[str, Any], tmp_path: Path) -> None:
    planted["secure.example."] = ("127.0.0.1",)
    asked, hosts = Inbox(), Inbox()
    authority = Authority(tmp_path)
    context = authority.issue("secure.example").server_context()
    context.sni_callback = lambda sock, name, context: asked(name)  # type: ignore[method-assign,assignment]
    route = http_server().secure(context).websocket("/").on_open(lambda c: hosts(c.request.headers["host"]))
    async with route.listen("127.0.0.1", 0) as server:
        url = url_of(server, scheme="wss", host="secure.example.")
        async with wss(url).ssl(authority.client_context()).discard().connect():
            assert await asked.next() == "secure.example"
            assert await hosts.next() == f"secure.example.:{server.port}"


async def test_a_connect_waits_for_a_listen_that_is_slow_to_begin(  # F2
    planted: dict[str, Any], unused_tcp_port: int
) -> None:
    planted["slow.example"] = asyncio.get_running_loop().create_future()
    listening = http_server().websocket("/").discard().listen("slow.example", unused_tcp_port)
    begun = [ws("127.0.0.1", unused_tcp_port).connect(), ws("127.0.0.1", unused_tcp_port).connect_async(print_nothing)]
    await asyncio.sleep(0.01)
    assert not any(connecting.done() for connecting in begun)  # refused, if they did not wait
    planted["slow.example"].set_result(("127.0.0.1",))
    for connection in await soon(asyncio.gather(*begun)):
        await soon(connection.close())
    await soon(listening.close())


async def test_a_clients_tcp_has_keepalive_and_no_nagle_its_own_or_given(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[bool, bool]] = []

    def watched(begin: Any) -> Any:
        def call(self: Any, *args: Any, sock: socket.socket | None = None, **options: Any) -> Any:
            if sock is not None:  # None: the proxy's own way on
                keep = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                found.append((bool(keep), bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))))
            return begin(self, *args, sock=sock, **options)

        return call

    for kind in (asyncio.BaseEventLoop, uvloop.Loop):
        monkeypatch.setattr(kind, "create_connection", watched(kind.create_connection))
    async with http_server().websocket("/").discard().listen("127.0.0.1", 0) as server, http_proxy() as proxy:
        given = socket.socket()  # which names no protocol: the loops would leave Nagle's algorithm on
        given.connect(("127.0.0.1", server.port))
        for connecting in (
            ws(url_of(server)).connect(),
            ws(url_of(server)).proxy(proxy.url()).connect(),
            ws(url_of(server)).connect(sock=given),
        ):
            await soon((await soon(connecting)).close())
    assert found == [(True, True)] * 3


# --- TLS


async def test_who_has_no_certificate_is_told_that_the_server_wants_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = issued.server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority.pem)
        context.maximum_version = version
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(5)
            thread = threading.Thread(target=refuse, args=(listening, context))
            thread.start()
            port = listening.getsockname()[1]
            with pytest.raises(WebSocketConnectionException, match=r"want a certificate of yours: .*load_cert_chain"):
                await soon(wss("127.0.0.1", port).ssl(authority.client_context()).connect())
            thread.join(5)


def refuse(listening: socket.socket, context: ssl.SSLContext) -> None:
    """OpenSSL's own server, which sends an alert to who has no certificate; the event loops' servers only end TCP."""
    sock, _ = listening.accept()
    sock.settimeout(5)
    with sock:
        try:
            with context.wrap_socket(sock, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            pass


# --- who has the connection


async def test_a_connection_that_opens_as_its_waiter_is_cancelled_is_closed() -> None:
    closes = Inbox()
    route = http_server().websocket("/").on_close(lambda connection, reason: closes(reason.code))
    async with route.listen("127.0.0.1", 0) as server:
        for begin in (lambda: ws(url_of(server)).connect(), lambda: ws(url_of(server)).connect_async(print_nothing)):
            connecting = begin()

            async def wait(connecting: Any = connecting) -> Any:
                return await connecting

            waiter = asyncio.create_task(wait())
            connecting._task.add_done_callback(lambda _, waiter=waiter: waiter.cancel())
            with pytest.raises(asyncio.CancelledError):
                await soon(waiter)
            assert await closes.next() == 1000


@pytest.mark.parametrize("inside", [False, True], ids=["TLS", "TLS in a tunnel"])
async def test_who_gives_up_just_as_tls_stands_leaves_nothing(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = ClientHandshake.connection_made
    stood = Inbox()

    def give_up(self: ClientHandshake, transport: Any) -> None:
        begin(self, transport)
        connecting.cancel()
        stood("TLS")

    monkeypatch.setattr(ClientHandshake, "connection_made", give_up)
    authority = Authority(tmp_path)
    context = authority.issue("127.0.0.1").server_context()
    ends: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        thread = threading.Thread(target=hold, args=(listening, context, ends))
        thread.start()
        async with http_proxy() as proxy:
            builder = wss("127.0.0.1", listening.getsockname()[1]).ssl(authority.client_context())
            connecting = (builder.proxy(proxy.url()) if inside else builder).connect()
            with pytest.raises(asyncio.CancelledError):
                await soon(connecting)
            assert await stood.next() == "TLS"
            await eventually(lambda: ends)
        thread.join(5)
    assert ends == [True]


def hold(listening: socket.socket, context: ssl.SSLContext, ends: list[bool]) -> None:
    """Agree on TLS, answer no farewell of TLS's, for which a client waits 30 s, and tell whether TCP ends."""
    sock, _ = listening.accept()
    sock.settimeout(3)
    secure = context.wrap_socket(sock, server_side=True)
    with secure, socket.socket(fileno=os.dup(secure.fileno())) as tcp:
        tcp.settimeout(3)
        try:
            while tcp.recv(1000):
                pass
            ends.append(True)
        except OSError as error:
            ends.append(not isinstance(error, TimeoutError))


async def test_a_given_socket_is_closed_where_there_is_nothing_to_ask_with() -> None:
    class Careless(Identity):
        asked = 0

        def offers(self) -> Any:
            self.asked += 1  # once by the builder, which judges it
            if self.asked > 1:
                raise KeyError("mine")
            return super().offers()

    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(KeyError, match="mine"):
        await ws("ws://h/").extensions([Careless()]).connect(sock=ours)
    assert ours.fileno() == -1


def print_nothing(connection: Any) -> None:
    pass


async def test_an_application_that_is_started_may_connect_elsewhere() -> None:  # F11
    # It waited for the listen that waits for it.
    events = Inbox()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        async with ws(url_of(upstream)).on_text(events) as connection:
            connection.send("from the startup")
            events(await events.next())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async with http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0) as upstream:
        server = await soon(http_server().asgi(application).listen("127.0.0.1", 0))
        assert await events.next() == "from the startup"
        await soon(server.close())


# --- many at once, at a server that is slow to accept


async def test_a_unix_socket_with_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listening = socket.socket(socket.AF_UNIX)
    async with full(listening, path):
        connecting = [asyncio.ensure_future(ws("ws://h/").unix(path).discard().connect()) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert not any(one.done() for one in connecting)  # of those before nobody has been accepted
        server = await asyncio.start_unix_server(accept, sock=listening.dup())
        for connection in await soon(asyncio.gather(*connecting)):
            connection.terminate()
            await soon(connection.wait_closed())
        server.close()
        await server.wait_closed()


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = RawPeer(reader, writer)
    try:
        _, fields = await peer.request()
        peer.send(switching(fields["sec-websocket-key"]))
        await peer.rest()
    except (OSError, asyncio.IncompleteReadError):
        return  # one that only filled the queue
    finally:
        await peer.close()


def test_a_context_of_the_other_end_is_refused_at_once() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for call in (
        lambda: wss("h").ssl(context),
        lambda: http_client().ssl(context),
        lambda: ws("h").proxy("https://p", ssl=context),
    ):
        with pytest.raises(ValueError, match="PROTOCOL_TLS_SERVER, which no client can use"):
            call()
