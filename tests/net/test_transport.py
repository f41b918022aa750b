"""Plain connections of a server on Linux: one epoll set for all, one context for each, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import gc
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support import (
    Inbox,
    RawPeer,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
)

from firefly_ws import Server, WebSocketConnection, http_server
from firefly_ws._core.listening import _starving
from firefly_ws._core.poll import available
from firefly_ws._core.tcp import Transport
from firefly_ws.server import poller_of

pytestmark = pytest.mark.skipif(not available(), reason="the loop's own transports serve here")

RESET = struct.pack("ii", 1, 0)


def epoll_sets() -> set[str]:
    """The descriptors of those that this process has."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found.add(name)
    return found


def watched(name: str) -> int:
    """How many descriptors are in an epoll set."""
    with open(f"/proc/self/fdinfo/{name}") as info:
        return sum(line.startswith("tfd:") for line in info)


@asynccontextmanager
async def websocket(server: Server) -> AsyncIterator[RawPeer]:
    """A client whose upgrade is done."""
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        assert (await peer.head()).status == 101
        yield peer


async def test_a_server_leaves_no_epoll_set_behind() -> None:
    before = epoll_sets()
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    async with websocket(server) as peer:
        peer.send(frame(1, "hello"))
        assert await peer.frame() == (0x81, b"hello")
        assert len(epoll_sets() - before) == 1
        await server.close(grace=0)
    await eventually(lambda: epoll_sets() == before)


async def test_each_connection_has_a_context_of_its_own() -> None:
    # All are read by one callback of the loop: without a context each, one user's variables would be everybody's.
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    outside = name.set("the server's")

    def on_text(text: str, connection: WebSocketConnection) -> None:
        connection.send(name.get())
        name.set(text)

    server = await http_server().websocket("/").on_text(on_text).listen("127.0.0.1", 0)
    name.reset(outside)
    async with server, websocket(server) as one, websocket(server) as other:
        for peer, mine in ((one, "one"), (other, "two")):
            peer.send(frame(1, mine), frame(1, ""))
            assert await peer.frame() == (0x81, b"the server's")
            assert await peer.frame() == (0x81, mine.encode())
    assert name.get() == "nobody"


async def test_a_callback_may_end_a_connection_that_is_ready_in_the_same_batch() -> None:
    alive: list[WebSocketConnection] = []
    got: list[str] = []

    def on_text(text: str, connection: WebSocketConnection) -> None:
        got.append(text)
        for other in alive:
            if other is not connection:
                other.terminate()

    route = http_server().websocket("/").on_accept(alive.append).on_text(on_text)
    async with route.listen("127.0.0.1", 0) as server:
        peers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        for peer in peers:
            peer.sendall(upgrade())
        await eventually(lambda: len(alive) == 2)
        # No turn of the loop between them: one batch has both.
        for peer in peers:
            peer.sendall(frame(1, "end the other"))
        await eventually(lambda: any(connection.is_closed for connection in alive))
        await asyncio.sleep(0.02)
        assert got == ["end the other"]
        for peer in peers:
            peer.close()


async def test_out_of_descriptors_a_server_waits_and_goes_on() -> None:
    # It used to be the loop's business. A listener that stayed readable would spin; one that gave up would be deaf.
    loop = asyncio.get_running_loop()
    _starving._last.clear()
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    kept: list[int] = []
    with contextlib.suppress(OSError):
        while True:  # holes below the limit
            kept.append(os.open("/dev/null", os.O_RDONLY))
    try:
        with logged() as records:
            client.connect(("127.0.0.1", server.port))
            await eventually(lambda: records)
        assert "as many open files as it may" in records[0].getMessage()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in kept:
            os.close(descriptor)
    client.setblocking(False)
    await loop.sock_sendall(client, upgrade())
    assert (await soon(loop.sock_recv(client, 12))) == b"HTTP/1.1 101"
    assert len(records) == 1
    client.close()
    await server.close()


async def test_what_came_before_a_reset_is_delivered_though_an_answer_cannot_be_sent() -> None:
    got = Inbox()
    loop = asyncio.get_running_loop()

    async def on_text(text: str, connection: WebSocketConnection) -> None:
        got(text)
        await asyncio.sleep(0.01)
        if connection.is_open:
            connection.send(text)

    async with http_server().websocket("/").on_text(on_text).listen("127.0.0.1", 0) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await loop.run_in_executor(None, client.sendall, upgrade())
        await eventually(lambda: server.connections)
        client.sendall(b"".join(frame(1, str(number)) for number in range(5)))
        await got.next()
        client.close()
        assert await got.take(4) == ["1", "2", "3", "4"]
        await eventually(lambda: not server.connections)


async def test_a_paused_connection_whose_peer_is_gone_costs_nothing_until_it_is_resumed() -> None:
    ended = Inbox()
    route = http_server().websocket("/").on_text(lambda text, conn: None)
    route.on_close(lambda conn, reason: ended(reason.code))
    async with route.listen("127.0.0.1", 0) as server:
        async with websocket(server) as peer:
            await eventually(lambda: server.connections)
            (connection,) = server.connections
            connection.pause_reading()
            peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.writer.transport.abort()
        await asyncio.sleep(0.02)
        assert not len(ended)
        connection.resume_reading()
        assert await ended.next() == 1006


async def test_a_paused_connection_is_not_watched() -> None:
    # A hang-up is reported whether one waits for it or not: a connection left in the set would spin once reset.
    before = epoll_sets()
    async with http_server().websocket("/").on_text(lambda text, conn: None).listen("127.0.0.1", 0) as server:
        async with websocket(server) as peer:
            await eventually(lambda: server.connections)
            (connection,) = server.connections
            (ours,) = epoll_sets() - before
            assert watched(ours) == 2  # the listener, and this one
            connection.pause_reading()
            assert watched(ours) == 1
            peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.writer.transport.abort()
        connection.terminate()
        assert (await soon(connection.wait_closed())).code == 1006


async def test_a_socket_that_its_user_has_closed_does_not_keep_its_server_from_closing() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await http_server().websocket("/").on_message(echo).listen(sock=sock)
    sock.close()
    await soon(server.close(grace=0))


async def test_a_listener_that_can_accept_no_more_does_not_say_so_without_end() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    handler = loop.get_exception_handler()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await http_server().websocket("/").on_message(echo).listen(sock=sock)
    loop.set_exception_handler(lambda _, context: told.append(context))
    sock.shutdown(socket.SHUT_RDWR)
    await eventually(lambda: told)
    for _ in range(100):
        await asyncio.sleep(0)
    assert [context["exception"].errno for context in told] == [errno.EINVAL]
    loop.set_exception_handler(handler)
    await server.close()


async def test_a_callback_may_close_the_server_in_the_middle_of_a_batch() -> None:
    got: list[str] = []

    def on_text(text: str, connection: WebSocketConnection) -> None:
        got.append(text)
        if len(got) == 1:
            server.close(grace=0)

    server = await http_server().websocket("/").on_text(on_text).listen("127.0.0.1", 0)
    peers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    for peer in peers:
        peer.sendall(upgrade())
    await eventually(lambda: len(server.connections) == len(peers))
    for peer in peers:
        peer.sendall(frame(1, "end"))
    await soon(server.wait_closed())
    assert not server.connections
    for peer in peers:
        peer.close()


def test_a_loop_that_ends_before_its_server_leaves_a_warning_and_no_more() -> None:
    async def begin() -> tuple[socket.socket, Any]:
        server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.sendall(upgrade())
        await eventually(lambda: server.connections)
        return peer, server._servers[0]

    async def another() -> None:
        async with http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0):
            pass

    gc.collect()
    before = epoll_sets()
    loop = asyncio.new_event_loop()
    peer, listener = loop.run_until_complete(begin())
    loop.close()
    listener.close()  # the socket's own warning is Python's business
    del listener
    peer.setblocking(True)
    asyncio.run(another())
    with pytest.warns(ResourceWarning, match="unclosed transport <Transport"):
        gc.collect()
    assert peer.recv(12) == b"HTTP/1.1 101"
    peer.close()
    gc.collect()  # the warning knew the transport
    assert epoll_sets() <= before


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return True

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(("lost", error))


async def accepted() -> tuple[Any, Recorder, socket.socket, Any]:
    """A transport with a protocol of asyncio's kind, its peer's socket, and what listens."""
    from firefly_ws._core.listening import Listener

    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    listener = Listener(poller_of(asyncio.get_running_loop()), sock, make, 16)
    client = socket.create_connection(listener.sockets[0].getsockname())
    client.setblocking(False)
    await eventually(lambda: made and made[0].events)
    return made[0].transport, made[0], client, listener


async def test_a_transport_as_asyncio_knows_them() -> None:
    transport, protocol, client, listener = await accepted()
    loop = asyncio.get_running_loop()
    assert isinstance(transport, Transport)
    assert transport.get_extra_info("peername") == client.getsockname()
    assert transport.get_extra_info("sockname") == client.getpeername()
    assert transport.get_extra_info("cipher", "none") == "none"
    assert transport.get_protocol() is protocol
    assert transport.is_reading()
    assert not transport.is_closing()
    transport.pause_reading()
    client.send(b"hello")
    await asyncio.sleep(0.01)
    assert protocol.events == ["made"]
    transport.resume_reading()
    await eventually(lambda: b"hello" in protocol.events)
    transport.writelines([b"a", b"b"])
    assert await soon(loop.sock_recv(client, 10)) == b"ab"
    client.shutdown(socket.SHUT_WR)
    await eventually(lambda: "eof" in protocol.events)
    transport.write(b"c")
    transport.write_eof()
    transport.write(b"never")
    assert await soon(loop.sock_recv(client, 10)) == b"c"
    assert await soon(loop.sock_recv(client, 10)) == b""
    transport.close()
    transport.close()
    assert transport.is_closing()
    assert "closing" in repr(transport)
    await eventually(lambda: ("lost", None) in protocol.events)
    assert "closed" in repr(transport)
    assert transport.get_extra_info("sockname") is None
    listener.close()
    listener.close()
    client.close()


async def test_what_does_not_fit_waits_in_order_and_closing_waits_for_it() -> None:
    transport, protocol, client, listener = await accepted()
    loop = asyncio.get_running_loop()
    transport.set_write_buffer_limits(high=100_000, low=10_000)
    assert transport.get_write_buffer_limits() == (10_000, 100_000)
    changing = bytearray(b"x" * 4_000_000)
    transport.write(changing)
    changing[:] = bytes(len(changing))  # ours by then
    transport.write(memoryview(b"y" * 1_000_000)[:500_000])
    assert transport.get_write_buffer_size() > 0
    assert protocol.events == ["made", "pause"]
    transport.write_eof()
    transport.close()
    got = b""
    while piece := await soon(loop.sock_recv(client, 1 << 20)):
        got += piece
    assert got == b"x" * 4_000_000 + b"y" * 500_000
    await eventually(lambda: protocol.events[-1] == ("lost", None))
    listener.close()
    client.close()


async def test_limits_that_make_no_sense_are_refused() -> None:
    transport, _, client, listener = await accepted()
    with pytest.raises(ValueError, match="low=9"):
        transport.set_write_buffer_limits(high=8, low=9)
    transport.abort()
    listener.close()
    client.close()
    await asyncio.sleep(0)


async def test_a_protocol_that_raises_ends_its_connection_and_no_other() -> None:
    _, protocol, client, listener = await accepted()
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))
    failure = RuntimeError("no")

    def fail(data: bytes) -> None:
        raise failure

    protocol.data_received = fail  # type: ignore[method-assign]
    client.send(b"x")
    await eventually(lambda: ("lost", failure) in protocol.events)
    assert told[0]["exception"] is failure
    loop.set_exception_handler(handler)
    listener.close()
    client.close()
