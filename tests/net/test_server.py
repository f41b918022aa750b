"""Servers: the ways to listen, what a server tells, what may be changed while it runs, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
from typing import Any

import pytest
import uvloop
from support import (
    CLOSE,
    Inbox,
    echo,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)

from firefly_ws import (
    CloseReason,
    HandshakeError,
    Server,
    WebSocketConnectionException,
    http_client,
    http_server,
)


def echo_server() -> Any:
    return http_server().websocket("/").on_message(echo)


async def answers(url: str) -> bool:
    """Whether an echo server is there."""
    inbox = Inbox()
    async with http_client().websocket(url).on_text(inbox).connect() as connection:
        connection.send("there?")
        return bool(await inbox.next() == "there?")


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name, "both", with two addresses of IPv4: a machine of the tests may have no IPv6."""

    async def getaddrinfo(self: Any, host: str, port: int, **options: Any) -> Any:
        addresses = ("127.0.0.1", "127.0.0.2") if host == "both" else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port)) for one in addresses]

    for kind in (asyncio.BaseEventLoop, uvloop.Loop):
        monkeypatch.setattr(kind, "getaddrinfo", getaddrinfo)


# --- listening


async def test_entering_that_is_cancelled_leaves_no_server() -> None:
    async def enter() -> None:
        async with echo_server().listen("127.0.0.1", 0):
            entered.set()
            await asyncio.Event().wait()

    entered, behind = asyncio.Event(), 0
    while not entered.is_set():  # cancelled one turn of the loop later each time; what stays is found at the end
        task = asyncio.create_task(enter())
        for _ in range(behind):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        behind += 1
        assert behind < 1000
    assert behind > 2


async def test_awaiting_listen_gives_the_bound_server() -> None:
    server = await echo_server().listen("127.0.0.1", 0)
    assert isinstance(server, Server)
    assert server.is_listening
    assert server.port
    assert server.addresses == (("127.0.0.1", server.port),)
    assert await answers(url_of(server))
    await server.close()
    assert not server.is_listening
    assert "closed" in repr(server)


async def test_awaiting_a_server_again_gives_it_again() -> None:
    async with echo_server().listen("127.0.0.1", 0) as server:
        assert await server is server


async def test_async_with_closes_at_its_end() -> None:
    async with echo_server().listen("127.0.0.1", 0) as server:
        url = url_of(server)
        assert await answers(url)
    with pytest.raises(WebSocketConnectionException):
        await answers(url)


async def test_a_server_need_not_be_awaited_before_it_is_connected_to(unused_tcp_port: int) -> None:
    server = echo_server().listen("127.0.0.1", unused_tcp_port)
    assert await answers(f"ws://127.0.0.1:{unused_tcp_port}/")
    await server.close()


async def test_close_before_it_is_bound_closes_it_all_the_same() -> None:
    server = echo_server().listen("127.0.0.1", 0)
    assert not server.is_listening
    await soon(server.close())
    assert not server.is_listening


@pytest.mark.usefixtures("two_addresses")
async def test_with_port_0_all_addresses_get_one_port() -> None:
    async with echo_server().listen("both", 0) as server:
        assert server.addresses == (("127.0.0.1", server.port), ("127.0.0.2", server.port))
        assert await answers(url_of(server))
        assert await answers(url_of(server, host="127.0.0.2"))


@pytest.mark.usefixtures("two_addresses")
async def test_with_port_0_another_port_is_tried_where_the_first_is_taken_at_the_second_address() -> None:
    # Whatever the kernel gives for the first address is taken at the second, until all its choices were ours once.
    taken: list[socket.socket] = []
    bind = socket.socket.bind
    tries = 0

    def bind_and_take(self: socket.socket, address: Any) -> None:
        nonlocal tries
        if address[0] == "127.0.0.2" and tries < 2 and address[1]:
            tries += 1
            blocker = socket.socket()
            taken.append(blocker)
            bind(blocker, address)  # raises where another program has the port already, which is as good
            blocker.listen()
        bind(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "bind", bind_and_take)
        server = await echo_server().listen("both", 0)
    assert tries == 2
    assert [address[1] for address in server.addresses] == [server.port] * 2
    assert server.port not in [one.getsockname()[1] for one in taken]
    await server.close()
    for one in taken:
        one.close()


async def test_without_a_host_it_listens_on_every_address() -> None:
    async with echo_server().listen(port=0) as server:
        assert await answers(url_of(server))
        assert await answers(url_of(server, host="127.0.0.2"))
        assert len({address[1] for address in server.addresses}) == 1


async def test_localhost_is_reachable_by_name_and_number() -> None:
    async with echo_server().listen("localhost", 0) as server:
        assert await answers(url_of(server, host="localhost"))
        assert await answers(url_of(server))


async def test_an_existing_socket_is_listened_on() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    async with echo_server().listen(sock=sock) as server:
        assert server.port == sock.getsockname()[1]
        assert await answers(url_of(server))
    assert sock.fileno() == -1


async def test_reuse_port_lets_two_servers_share_one() -> None:
    async with (
        echo_server().listen("127.0.0.1", 0, reuse_port=True) as one,
        echo_server().listen("127.0.0.1", one.port, reuse_port=True) as other,
    ):
        assert one.port == other.port
        for _ in range(4):
            assert await answers(url_of(one))
        assert one.stats()["opened"] + other.stats()["opened"] == 4


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the socket's backlog")
async def test_the_backlog_reaches_the_socket() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    with sock.dup() as same:
        async with echo_server().listen(sock=sock, backlog=7):
            # tcp_info of a listening socket has its backlog in tcpi_sacked.
            info = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            assert struct.unpack_from("=I", info, 28) == (7,)


async def test_one_builder_listens_at_several_places() -> None:
    app = echo_server()
    async with app.listen("127.0.0.1", 0) as one, app.listen("127.0.0.1", 0) as other:
        assert one.port != other.port
        assert await answers(url_of(one))
        assert await answers(url_of(other))


async def test_a_bind_error_is_raised_where_it_is_awaited() -> None:
    async with echo_server().listen("127.0.0.1", 0) as server:
        again = echo_server().listen("127.0.0.1", server.port)
        with logged() as records, pytest.raises(WebSocketConnectionException, match=str(server.port)) as raised:
            await again
        assert raised.value.errno == errno.EADDRINUSE
        assert isinstance(raised.value.__cause__, OSError)
        assert not records
        assert not again.is_listening


async def test_a_bind_error_nobody_awaits_is_logged_when_it_happens() -> None:
    async with echo_server().listen("127.0.0.1", 0) as server:
        with logged() as records:
            again = echo_server().listen("127.0.0.1", server.port)
            await eventually(lambda: records)
        assert [record.levelname for record in records] == ["ERROR"]
        assert str(server.port) in records[0].getMessage()
        await soon(again.wait_closed())


# --- what a server tells


def stats_of(server: Server) -> tuple[int, int, int, int]:
    stats = server.stats()
    return stats["connections"], stats["opened"], stats["handshaking"], stats["refused"]


async def test_connections_and_stats_follow_what_happens() -> None:
    async with echo_server().listen("127.0.0.1", 0) as server:
        assert server.connections == frozenset()
        async with raw_client(server.port):
            await eventually(lambda: server.stats()["handshaking"] == 1)
            async with http_client().websocket(url_of(server)).discard().connect() as connection:
                (ours,) = server.connections
                assert ours.server is server
                assert ours.client is None
                assert connection.server is None
                assert stats_of(server) == (1, 1, 1, 0)
                assert "1 connections" in repr(server)
            await eventually(lambda: not server.connections)
        await eventually(lambda: server.stats()["handshaking"] == 0)
        with pytest.raises(HandshakeError):
            await http_client().websocket(url_of(server, "/nothing")).discard().connect()
        assert stats_of(server) == (0, 1, 0, 1)


async def test_several_routes_share_one_port_and_know_their_parameters() -> None:  # F11
    inbox = Inbox()
    server = await (
        http_server()
        .websocket("/room/{name}").on_accept(lambda c: inbox((c.path, dict(c.path_params))))
        .websocket("/files/*").on_accept(lambda c: inbox((c.path, dict(c.path_params))))
        .websocket("/old/:user").on_accept(lambda c: inbox((c.path, dict(c.path_params))))
        .listen("127.0.0.1", 0)
    )  # fmt: skip
    for path in ("/room/a%20b?x=1", "/files/a/b.txt", "/old/ada"):
        async with http_client().websocket(url_of(server, path)).discard().connect():
            pass
    assert await inbox.take(3) == [
        ("/room/a b", {"name": "a b"}),
        ("/files/a/b.txt", {"*": "a/b.txt"}),
        ("/old/ada", {"user": "ada"}),
    ]
    await server.close()


# --- changes while it runs


async def test_unregister_refuses_later_connections_and_keeps_open_ones() -> None:  # K5
    inbox = Inbox()
    app = echo_server().websocket("/other").on_message(echo)
    async with app.listen("127.0.0.1", 0) as server:
        async with http_client().websocket(url_of(server)).on_text(inbox).connect() as connection:
            app.unregister("/")
            with pytest.raises(HandshakeError) as raised:
                await answers(url_of(server))
            assert raised.value.status == 404
            assert await answers(url_of(server, "/other"))
            connection.send("still here")
            assert await inbox.next() == "still here"
        app.websocket("/").on_message(echo)
        assert await answers(url_of(server))


async def test_later_option_changes_affect_later_connections_alone() -> None:
    app = http_server()
    route = app.websocket("/").on_message(echo)
    async with app.listen("127.0.0.1", 0) as server:
        async with http_client().websocket(url_of(server)).discard().connect() as before:
            route.max_message_size(10).sub_protocols(["chat"]).extensions([])
            client = http_client().websocket(url_of(server)).discard().sub_protocols(["chat"])
            async with client.extensions(["permessage-deflate"]).connect() as after:
                assert after.sub_protocol == "chat"
                assert after.extensions == ()
                sizes = sorted(one.policy.max_message_size or 0 for one in server.connections)
                assert sizes == [10, 2**20]
        assert before.sub_protocol is None


async def test_a_change_of_the_servers_defaults_affects_later_connections() -> None:
    app = http_server()
    app.websocket("/").on_message(echo)
    async with app.listen("127.0.0.1", 0) as server:
        app.extensions([])
        client = http_client().websocket(url_of(server)).discard().extensions(["permessage-deflate"])
        async with client.connect() as connection:
            assert connection.extensions == ()


# --- the end


async def test_close_tells_every_connection_code_and_reason() -> None:
    server = await echo_server().listen("127.0.0.1", 0)
    clients = [await http_client().websocket(url_of(server)).discard().connect() for _ in range(3)]
    await soon(server.close(1012, "back in a minute"))
    for client in clients:
        assert await soon(client.wait_closed()) == CloseReason(1012, "back in a minute")
    assert server.connections == frozenset()


async def test_close_says_1001_by_default_and_may_be_called_again() -> None:
    server = await echo_server().listen("127.0.0.1", 0)
    client = await http_client().websocket(url_of(server)).discard().connect()
    first = server.close()
    await soon(server.close(1000))
    await soon(first)
    await soon(server.wait_closed())
    assert (await soon(client.wait_closed())).code == 1001


async def test_a_peer_that_does_not_answer_is_aborted_when_grace_ends() -> None:
    server = await echo_server().listen("127.0.0.1", 0)
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        assert (await peer.head()).status == 101
        begun = asyncio.get_running_loop().time()
        await soon(server.close(1001, "bye", grace=0.1))
        assert 0.05 < asyncio.get_running_loop().time() - begun < 1
        assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe9bye")
    assert server.connections == frozenset()


async def test_a_handshake_under_way_is_ended_by_close() -> None:
    server = await echo_server().listen("127.0.0.1", 0)
    async with raw_client(server.port) as peer:
        peer.send(upgrade()[:20])
        await eventually(lambda: server.stats()["handshaking"] == 1)
        await soon(server.close())
        with contextlib.suppress(ConnectionResetError):
            assert await peer.rest() == b""


async def test_close_may_be_called_by_a_callback_of_the_server() -> None:
    def on_text(text: str, connection: Any) -> Any:
        return connection.server.close(1000, text)

    server = await http_server().websocket("/").on_text(on_text).listen("127.0.0.1", 0)
    client = await http_client().websocket(url_of(server)).discard().connect()
    client.send("stop")
    assert await soon(client.wait_closed()) == CloseReason(1000, "stop")
    await soon(server.wait_closed())


async def test_the_port_is_free_again_once_it_is_closed() -> None:
    server = await echo_server().listen("127.0.0.1", 0)
    client = await http_client().websocket(url_of(server)).discard().connect()
    await server.close()
    await soon(client.wait_closed())
    async with echo_server().listen("127.0.0.1", server.port) as again:
        assert again.port == server.port
