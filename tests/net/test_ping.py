"""Pings of ours: the round trip, which Pong answers which, and what becomes of those that nothing answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from judge import PING, PONG
from peers import Frame, eventually, pong, text

from firefly_ws import ConnectionClosed, PingFrame, PongFrame


async def opened(net: Any, route: Any) -> tuple[Any, Any]:
    """A server's connection and its peer."""
    server = await net.listen(route)
    peer = await net.peer(server)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def test_ping_resolves_to_the_round_trip_in_seconds(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    assert connection.latency is None
    trip = connection.ping()
    sent = await peer.frame()
    assert sent.opcode == PING
    assert len(sent.payload) == 4
    await asyncio.sleep(0.02)
    peer.write(pong(sent.payload))
    seconds = await trip
    assert 0.015 < seconds < 1
    assert connection.latency == seconds


async def test_both_ends_of_the_library_answer_each_others_pings(net: Any) -> None:
    server = await net.listen(net.route().discard())
    client = await net.connect(server, lambda b: b.discard())
    (connection,) = server.connections
    assert 0 < await client.ping("text") < 1
    assert 0 < await connection.ping(b"") < 1


async def test_a_pong_answers_every_ping_before_the_one_it_names(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    first, second, third = (connection.ping(name) for name in (b"1", b"2", b"3"))
    peer.write(pong(b"2"))
    await second
    assert first.done()
    assert not third.done()
    peer.write(pong(b"3"))
    await third


async def test_a_pong_that_nobody_asked_for_answers_no_ping(net: Any) -> None:
    got: list[bytes] = []
    connection, peer = await opened(net, net.route().discard().on_pong(lambda data, conn: got.append(data)))
    trip = connection.ping(b"1")
    peer.write(pong(b""), pong(b"2"))
    await eventually(lambda: len(got) == 2)
    assert not trip.done()
    peer.write(pong(b"1"))
    await trip


async def test_a_payload_that_still_waits_is_refused_and_may_be_used_again_later(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    trip = connection.ping(b"same")
    with pytest.raises(ValueError, match="same"):
        connection.ping(b"same")
    peer.write(pong(b"same"))
    await trip
    again = connection.ping(b"same")
    peer.write(pong(b"same"))
    await again


async def test_a_control_payload_has_at_most_125_bytes(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    for call in (connection.ping, connection.pong):
        with pytest.raises(ValueError, match="126"):
            call(bytes(126))
        with pytest.raises(TypeError):
            call(7)
        call(bytes(125))
        assert len((await peer.frame()).payload) == 125


async def test_a_ping_that_nothing_answers_ends_with_the_connection(net: Any, errors: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    trip = connection.ping()
    connection.ping()  # nobody has to await it
    peer.abort()
    with pytest.raises(ConnectionClosed):
        await trip
    assert not errors()


async def test_cancelling_who_awaits_a_ping_leaves_the_others_alone(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    trip = connection.ping(b"p")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(trip, 0.01)
    peer.write(pong(b"p"))
    assert await trip > 0


async def test_ping_and_pong_frames_may_be_sent_as_frames(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    connection.send(PingFrame(b"1"))
    connection.send_frame(PongFrame(b"2"))
    assert await peer.frame() == Frame(PING, b"1")
    assert await peer.frame() == Frame(PONG, b"2")


async def test_a_callback_may_await_the_ping_it_sends(net: Any) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await conn.ping(data)
        conn.send(data)

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    for name in ("a", "b"):
        assert await peer.frame() == Frame(PING, name.encode())
        assert await peer.silent(0.01)
        peer.write(pong(name.encode()))
        assert await peer.texts(1) == [name]
