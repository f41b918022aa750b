"""Clients that do not go by host and port: unix sockets, and sockets that are connected already."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from support import (
    Inbox,
    echo,
    nothing_leaks,  # noqa: F401
    refused_port,
    soon,
    url_of,
)

from firefly_ws import HandshakeError, WebSocketConnectionException, http_client, http_server, ws


async def talks(connecting: Any, inbox: Inbox) -> Any:
    async with connecting as connection:
        connection.send("there?")
        assert await inbox.next() == "there?"
        return connection


async def test_a_client_connects_to_a_unix_socket(tmp_path: Path) -> None:
    path, hosts, inbox = tmp_path / "socket", Inbox(), Inbox()
    route = http_server().websocket("/chat").on_message(echo).on_open(lambda c: hosts(c.request.headers["host"]))
    server = await route.listen(path=path)
    builder = ws("ws://example.com/chat").unix(path).on_text(inbox)
    connection = await talks(builder.connect(), inbox)
    assert connection.remote_address == str(path)
    assert connection.url == "ws://example.com/chat"
    assert await hosts.next() == "example.com"
    async with builder as connection:  # every end of the chain goes there
        assert connection.is_open
    await server.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets")
async def test_an_abstract_unix_socket_is_a_path_as_well(tmp_path: Path) -> None:
    path, inbox = f"\0firefly{tmp_path}", Inbox()
    server = await http_server().websocket("/").on_message(echo).listen(path=path)
    await talks(ws("ws://h/").unix(path).on_text(inbox).connect(), inbox)
    await server.close()
    with pytest.raises(WebSocketConnectionException, match=r"the unix socket '@firefly.*refused"):
        await ws("ws://h/").unix(path).connect()


async def test_tls_goes_over_a_unix_socket(tmp_path: Path) -> None:
    authority, inbox = Authority(tmp_path), Inbox()
    issued = authority.issue("example.com")
    app = http_server().secure(issued.certificate, issued.key)
    server = await app.websocket("/").on_message(echo).listen(path=tmp_path / "socket")
    builder = http_client().wss("example.com").ssl(authority.client_context()).unix(tmp_path / "socket")
    connection = await talks(builder.on_text(inbox).connect(), inbox)
    assert connection.is_secure
    await server.close()


async def test_a_unix_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WebSocketConnectionException, match=r"the unix socket '.*/none': No such file") as raised:
        await ws("ws://h/").unix(tmp_path / "none").connect()
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    assert raised.value.errno == raised.value.__cause__.errno
    with pytest.raises(WebSocketConnectionException, match="path too long"):
        await ws("ws://h/").unix("x" * 200).connect()


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_connected_socket_is_used_and_closed_with_the_connection(blocking: bool) -> None:
    inbox = Inbox()
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    sock = socket.create_connection(("127.0.0.1", server.port or 0))
    sock.setblocking(blocking)
    local = sock.getsockname()
    connection = await talks(ws(url_of(server, host="example.com")).on_text(inbox).connect(sock=sock), inbox)
    assert connection.local_address == local
    assert sock.fileno() == -1
    await server.close()


async def test_connect_async_takes_a_socket_too() -> None:
    inbox = Inbox()
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    sock = socket.create_connection(("127.0.0.1", server.port or 0))
    connection = await soon(ws(url_of(server)).discard().connect_async(inbox, sock=sock))
    assert await inbox.next() is connection
    await connection.close()
    await server.close()


async def test_a_pair_of_sockets_needs_no_network() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    connecting = ws("ws://h/").open_timeout(5).connect(sock=ours)
    assert (await soon(reader.readuntil(b"\r\n\r\n"))).startswith(b"GET / HTTP/1.1\r\n")
    writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(HandshakeError) as raised:
        await connecting
    assert raised.value.status == 403
    assert ours.fileno() == -1  # it belonged to the connection that did not come about
    writer.close()
    await writer.wait_closed()


async def test_a_clients_proxy_is_not_for_unix_sockets_and_given_ones(tmp_path: Path) -> None:  # C1
    path, inbox = tmp_path / "socket", Inbox()
    client = http_client().proxy(f"http://127.0.0.1:{await refused_port()}")
    server = await http_server().websocket("/").on_message(echo).listen(path=path)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    await talks(client.ws("h").on_text(inbox).connect(sock=sock), inbox)
    await talks(client.ws("h").unix(path).on_text(inbox).connect(), inbox)
    await server.close()


async def test_a_given_socket_is_closed_when_the_connect_is_cancelled() -> None:
    server = await http_server().websocket("/").discard().listen("127.0.0.1", 0)
    sock = socket.create_connection(("127.0.0.1", server.port or 0))
    connecting = ws(url_of(server)).discard().connect(sock=sock)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert sock.fileno() == -1
    await server.close()


def unconnected() -> socket.socket:
    return socket.socket()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unconnected, "must be connected: Transport endpoint is not connected"),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "must be a stream socket"),
    ],
)
async def test_a_socket_that_cannot_be_used_is_refused_at_once(make: Callable[[], socket.socket], said: str) -> None:
    with make() as sock, pytest.raises(ValueError, match=said):
        ws("ws://h/").connect(sock=sock)


async def test_a_socket_is_given_once() -> None:
    # With asyncio the second one read what was for the first, and closed it.
    inbox = Inbox()
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    sock = socket.create_connection(("127.0.0.1", server.port or 0))
    async with ws(url_of(server)).on_text(inbox).connect(sock=sock) as connection:
        for again in (lambda: ws("ws://h/").connect(sock=sock), lambda: ws("ws://h/").connect_async(print, sock=sock)):
            with pytest.raises(ValueError, match="was given to another connection"):
                again()
        connection.send("there?")
        assert await inbox.next() == "there?"
    await server.close()


def test_a_socket_that_speaks_tls_already_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with (
        theirs,
        ours,
        ssl.create_default_context().wrap_socket(ours, do_handshake_on_connect=False, server_hostname="h") as secure,
        pytest.raises(ValueError, match="speaks TLS already: give the plain socket"),
    ):
        ws("ws://h/").connect(sock=secure)


@pytest.mark.parametrize("sock", [5, "sock"])
async def test_what_is_no_socket_is_refused_at_once(sock: Any) -> None:
    with pytest.raises(TypeError, match=r"sock=.* must be a socket or None"):
        ws("ws://h/").connect(sock=sock)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda builder: builder.unix("/x").proxy("http://p"), r"proxy\(\) and unix\(\) exclude each other"),
        (lambda builder: builder.unix("/x").redirects(1), r"unix\(\) and redirects\(\) exclude each other"),
    ],
)
async def test_ways_that_exclude_each_other_are_told(change: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        change(ws("ws://h/")).connect()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda builder: builder.unix("/x"), r"unix\(\) and sock= exclude each other"),
        (lambda builder: builder.proxy("http://p"), r"proxy\(\) and sock= exclude each other"),
        (lambda builder: builder.redirects(1), r"sock= and redirects\(\) exclude each other"),
        (lambda builder: builder.reconnect(), r"reconnect\(\) has nothing to make another from"),
    ],
)
async def test_a_given_socket_excludes_other_ways(change: Callable[[Any], Any], said: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match=said):
        change(ws("ws://h/")).connect(sock=ours)
