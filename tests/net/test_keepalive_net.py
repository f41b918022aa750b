"""Keepalive over sockets, both roles, plain and TLS: who is dropped, who is kept, and what is said of it.

The rules stand in `unit/test_keepalive.py`, on a clock that is turned; here they meet real peers.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from judge import CLOSE, PING
from peers import eventually, pong, text

from firefly_ws import CloseReason, PingTimeout, ReadTimeout, WriteTimeout

KIB = 1024


async def opened(net: Any, route: Any, **options: Any) -> tuple[Any, Any]:
    """A server's connection and its peer."""
    server = await net.listen(route, **options)
    peer = await net.peer(server, receive_buffer=8 * KIB if options else None)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def test_a_server_asks_and_drops_a_client_that_is_silent(net: Any) -> None:  # F9, S1
    told: list[Any] = []
    route = net.route().ping_interval(0.1).ping_timeout(0.1).discard().on_error(lambda conn, error: told.append(error))
    connection, peer = await opened(net, route)
    assert (await peer.frame()).opcode == PING
    assert await peer.frame() is None
    reason = await connection.wait_closed()
    assert reason.code == 1006
    assert "the peer was silent for 0.2" in reason.message
    await eventually(lambda: told)
    (error,) = told
    assert isinstance(error, PingTimeout)
    assert error.silence >= error.limit == pytest.approx(0.2)


async def test_a_client_asks_and_drops_a_server_that_is_silent(net: Any) -> None:  # C1, F9, S1
    server = await net.raw_server()
    connection = await net.connect(server, lambda b: b.ping_interval(0.1).ping_timeout(0.1).discard())
    peer = await server.peer()
    assert (await peer.frame()).opcode == PING
    assert (await connection.wait_closed()).code == 1006
    assert isinstance(connection.error, PingTimeout)
    await peer.end()


async def test_both_ends_of_the_library_keep_each_other(net: Any) -> None:
    server = await net.listen(net.route().ping_interval(0.05).ping_timeout(0.2).discard())
    client = await net.connect(server, lambda b: b.ping_interval(0.05).ping_timeout(0.2).discard())
    (connection,) = server.connections
    assert client.latency is None or client.latency > 0
    await asyncio.sleep(0.4)
    assert client.is_open
    assert connection.is_open
    assert connection.latency > 0 or client.latency > 0


async def test_a_blocked_loop_drops_nobody(net: Any) -> None:
    route = net.route().ping_interval(0.05).ping_timeout(0.1).discard()
    server = await net.listen(route)
    client = await net.connect(server, lambda b: b.discard())
    for _ in range(2):
        time.sleep(0.2)  # noqa: ASYNC251 -- that is the point
        await asyncio.sleep(0.02)
    assert client.is_open
    await asyncio.sleep(0.2)
    assert client.is_open


async def test_a_session_may_be_given_an_interval_while_it_is_open(plain: Any) -> None:  # S1, F10
    connection, peer = await opened(plain, plain.route().discard())
    assert (connection.ping_interval, connection.ping_timeout) == (None, 20)
    connection.ping_interval, connection.ping_timeout = 0.05, 5
    sent = await peer.frame()
    assert sent.opcode == PING
    peer.write(pong(sent.payload))
    await eventually(lambda: connection.latency)
    connection.ping_timeout = 0.05
    await connection.wait_closed()
    assert isinstance(connection.error, PingTimeout)
    assert connection.policy.ping_timeout == 0.05
    await peer.end()


async def test_connection_timeout_asks_after_half_of_it_and_drops_after_all(plain: Any) -> None:  # F9, K5
    connection, peer = await opened(plain, plain.route().connection_timeout(0.2).discard())
    sent = await peer.frame()
    assert sent.opcode == PING
    peer.write(pong(sent.payload))
    assert (await peer.frame()).opcode == PING
    assert await peer.frame() is None
    assert connection.error.option == "connection_timeout"


async def test_read_timeout_ends_without_a_word(net: Any) -> None:  # F9
    connection, peer = await opened(net, net.route().read_timeout(0.1).discard())
    assert await peer.frame() is None
    assert isinstance(connection.error, ReadTimeout)
    assert connection.close_reason.code == 1006


async def test_idle_timeout_closes_with_1001_and_says_why(net: Any) -> None:  # F9
    connection, peer = await opened(net, net.route().idle_timeout(0.2).on_text(lambda data, conn: None))
    peer.write(text("x"))
    closing = await peer.closed()
    assert closing.opcode == CLOSE
    assert closing.code == 1001
    assert "idle_timeout=0.2" in closing.reason
    assert await connection.wait_closed() == CloseReason(1001, closing.reason)
    assert connection.error is None


@pytest.mark.parametrize("closing", [False, True])
async def test_a_peer_that_takes_nothing_is_dropped_after_write_timeout(net: Any, closing: bool) -> None:  # F9, F10
    connection, peer = await opened(net, net.route().close_timeout(None).discard(), send_buffer=8 * KIB)
    connection.write_timeout = 0.1
    for _ in range(24):
        connection.send(bytes(256 * KIB))
    if closing:
        connection.close()
    assert (await connection.wait_closed()).code == 1006
    assert isinstance(connection.error, WriteTimeout)
    assert connection.error.stuck >= connection.error.limit == 0.1
    peer.abort()


async def test_a_single_large_message_of_which_nothing_is_taken_ends_behind_write_timeout_too(net: Any) -> None:
    connection, peer = await opened(net, net.route().write_timeout(0.1).discard(), send_buffer=8 * KIB)
    peer.writer.transport.pause_reading()
    connection.send(bytes(4096 * KIB))
    # TLS took all of it, and said nothing more.
    await eventually(lambda: connection.is_closed)
    assert isinstance(connection.error, WriteTimeout)
    assert connection.error.waiting >= 16 * KIB
    peer.abort()


async def test_a_peer_that_takes_a_little_now_and_then_is_kept_until_it_stops(net: Any) -> None:
    connection, peer = await opened(net, net.route().write_timeout(0.3).discard(), send_buffer=8 * KIB)
    for _ in range(24):
        connection.send(bytes(256 * KIB))
    for _ in range(9):
        await asyncio.sleep(0.05)
        # Less would come out of what TLS on the other side has read already.
        await peer.reader.readexactly(160 * KIB if net.secure else 20 * KIB)
    assert connection.is_open
    await connection.wait_closed()
    assert isinstance(connection.error, WriteTimeout)
    peer.abort()


async def test_the_read_only_facts_stay_so_and_bad_values_are_refused_by_name(plain: Any) -> None:  # S1, F10
    connection, _ = await opened(plain, plain.route().discard())
    assert connection.masking is False
    with pytest.raises(AttributeError):
        connection.masking = True
    for name in ("ping_interval", "ping_timeout", "read_timeout", "write_timeout", "max_frame_size",
                 "max_message_size"):  # fmt: skip
        before = getattr(connection, name)
        with pytest.raises(ValueError, match=f"{name}=-1 must be (at least|more than) 0"):
            setattr(connection, name, -1)
        with pytest.raises(TypeError, match=f"{name}='1' must be a(n int| number)"):
            setattr(connection, name, "1")
        assert getattr(connection, name) == before
        setattr(connection, name, 1000)
        assert getattr(connection, name) == getattr(connection.policy, name) == 1000


async def test_a_setting_of_one_connection_is_not_the_others(plain: Any) -> None:  # S1
    server = await plain.listen(plain.route().on_text(lambda data, conn: conn.send("fine")))
    first, second = await plain.peer(server), await plain.peer(server)
    await eventually(lambda: len(server.connections) == 2)
    one = min(server.connections, key=lambda connection: connection.id)
    one.max_message_size = 10
    one.max_frame_size = 5
    first.write(text("x" * 6))
    second.write(text("x" * 6))
    assert (await first.closed()).code == 1009
    assert await second.texts(1) == ["fine"]


async def test_all_connections_of_a_loop_share_one_timer_and_no_task(plain: Any) -> None:
    loop = asyncio.get_running_loop()
    if not hasattr(loop, "_scheduled"):
        pytest.skip("uvloop does not show its timers")

    def timers() -> int:
        return sum("Wheel" in repr(one) for one in loop._scheduled if not one.cancelled())

    server = await plain.listen(plain.route().ping_interval(20).idle_timeout(300).discard())
    tasks = asyncio.all_tasks()
    for number in range(20):
        connection = await plain.connect(server, lambda b, n=number: b.discard().connection_timeout(5 + n))
        connection.read_timeout = 86400
    assert timers() == 1
    assert asyncio.all_tasks() == tasks
    for connection in plain.connections:
        await connection.close()
    await eventually(lambda: not server.connections)
    assert timers() == 0


async def test_tcp_keepalive_is_always_on(plain: Any) -> None:
    server = await plain.listen(plain.route().discard())
    client = await plain.connect(server, lambda b: b.discard())
    assert client.is_open
    for listening in server._servers:
        for sock in listening.sockets:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
