"""Peers that read too slowly or not at all, over a socket: what is dropped, what never is, and what it costs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from judge import PONG
from peers import Peer, eventually, ping, text

from firefly_ws import CloseReason, ConnectionClosed, PerMessageDeflate

KIB, MIB = 1024, 1024 * 1024


async def serve(net: Any, route: Any, **options: Any) -> tuple[Any, Peer]:
    """A server's connection, and its peer, between which the kernel keeps little."""
    server = await net.listen(route, send_buffer=8 * KIB)
    peer = await net.peer(server, receive_buffer=8 * KIB, **options)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def test_the_oldest_are_dropped_and_what_comes_is_whole_and_in_order(net: Any) -> None:
    route = net.route().slow_consumer("drop_oldest").write_high_water(256 * KIB).discard()
    connection, peer = await serve(net, route)
    last = 2000
    for number in range(last + 1):
        await connection.send(f"{number}".ljust(8 * KIB))
    assert connection.buffered_amount < 1 * MIB
    dropped = connection.stats["messages_dropped"]
    assert dropped > 1000
    got: list[int] = []
    while not got or got[-1] != last:
        got.append(int((await peer.texts(1))[0]))
    assert got == sorted(got)
    assert len(got) == last + 1 - dropped
    assert connection.stats["messages_sent"] == len(got)
    assert connection.server.stats()["messages_dropped"] == dropped


async def test_a_market_feed_sends_the_latest_of_each_key(net: Any) -> None:
    connection, peer = await serve(net, net.route().slow_consumer("latest").discard())
    connection.send("x" * 4 * MIB)
    symbols = [f"S{number}" for number in range(50)]
    for tick in range(200):
        for symbol in symbols:
            connection.send_latest(f"{symbol} {tick}", symbol)
        if tick % 20 == 0:
            await asyncio.sleep(0)
    connection.send("end")
    assert await peer.texts(1) == ["x" * 4 * MIB]
    got: list[str] = []
    while not got or got[-1] != "end":
        got += await peer.texts(1)
    assert {one.split()[0]: one.split()[1] for one in got[:-1]} == dict.fromkeys(symbols, "199")
    assert len(got) - 1 + connection.stats["messages_dropped"] == 50 * 200


async def test_a_window_that_is_kept_between_messages_survives_what_is_dropped(plain: Any) -> None:
    deflate = PerMessageDeflate(context_takeover=True)
    route = (
        plain.route()
        .slow_consumer("drop_oldest")
        .write_high_water(64 * KIB)
        .write_low_water(0)
        .extensions([deflate])
        .discard()
    )
    server = await plain.listen(route, send_buffer=8 * KIB)
    got: list[str] = []
    client = await plain.connect(server, lambda b: b.extensions([deflate]).on_text(lambda data, conn: got.append(data)))
    (connection,) = server.connections
    client.pause_reading()
    for number in range(20_000):
        connection.send(f"{number:06} {hash(str(number)):x} {hash(number * 7.3):x} a phrase that all of them share" * 4)
        if number % 500 == 0:
            await asyncio.sleep(0)
    assert connection.messages_dropped > 0
    client.resume_reading()
    await eventually(lambda: (got and got[-1].startswith("019999")) or not client.is_open)
    assert client.is_open
    assert [one[:6] for one in got] == sorted(one[:6] for one in got)


async def test_a_slow_peer_is_closed_with_1013_where_that_is_asked_for(net: Any) -> None:
    connection, peer = await serve(net, net.route().slow_consumer("close").max_write_buffer(MIB).discard())
    sent = 0
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012
        while True:
            connection.send(bytes(64 * KIB))
            sent += 1
    assert caught.value.code == 1013
    frames = await peer.rest_until_close()
    assert len(frames) == sent + 1
    assert frames[-1].code == 1013
    assert "max_write_buffer" in frames[-1].reason


async def test_a_ping_flood_by_a_peer_that_does_not_read_costs_one_pong(net: Any) -> None:
    route = net.route().max_write_buffer(None).on_text(lambda data, conn: conn.send(data))
    server = await net.listen(route, send_buffer=8 * KIB)
    peer, other = await net.peer(server, receive_buffer=8 * KIB), await net.peer(server)
    connection = next(one for one in server.connections if one.remote_address == peer.writer.get_extra_info("sockname"))
    connection.send(bytes(8 * MIB))
    flood = b"".join(ping(b"%05d" % number) for number in range(2000))
    most = 0
    for number in range(20):
        peer.write(flood)
        other.write(text(str(number)))
        assert await other.texts(1) == [str(number)]
        # TLS takes what it is given until the transport below it says stop.
        most = most or connection.buffered_amount + 32 * KIB
    peer.write(ping(b"newest"))
    await eventually(lambda: connection.bytes_read >= 20 * len(flood) + 12)
    assert connection.buffered_amount <= most
    pongs = 0
    while (one := await peer.frame()) != (PONG, b"newest"):
        assert one is not None
        pongs += one.opcode == PONG
    assert pongs <= (4000 if net.secure else 0)


async def test_who_speaks_to_many_does_not_fall_with_one_that_reads_nothing_or_is_leaving(net: Any) -> None:
    members: set[Any] = set()
    left: dict[Any, int] = {}

    def on_text(said: str, _: Any) -> None:  # as the guide and the chats of the examples have it
        for member in members:
            with suppress(ConnectionClosed):
                member.send(said)

    def on_close(member: Any, reason: CloseReason) -> None:
        members.discard(member)
        left[member] = member.close_sent.code

    route = net.route().slow_consumer("close").max_write_buffer(128 * KIB).close_timeout(0.05)
    route.on_open(members.add).on_text(on_text).on_close(on_close)
    deaf, _ = await serve(net, route)
    speaker = await net.peer(deaf.server)
    await eventually(lambda: len(members) == 2)
    said = "x" * (16 * KIB)
    for _ in range(60):
        speaker.write(text(said))
        assert await speaker.texts(1) == [said]
    await eventually(lambda: left)
    assert left == {deaf: 1013}
    speaker.write(text("still here"))
    assert await speaker.texts(1) == ["still here"]
