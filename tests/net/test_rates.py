"""Peers that send too fast, over a socket: ended with 1008, or held back by TCP; what others notice of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from judge import PONG
from peers import Peer, binary, eventually, ping, text

from firefly_ws import RateExceeded
from firefly_ws.seldom import seldom

KIB, MIB = 1024, 1024 * 1024


async def test_a_peer_above_its_rate_is_told_which_limit_and_those_below_it_are_served(net: Any) -> None:  # F9
    told: list[BaseException] = []
    route = net.route().max_message_rate(20).rate_burst(1).on_text(lambda data, conn: conn.send(data))
    server = await net.listen(route.on_error(lambda conn, error: told.append(error)))
    fast, slow = await net.peer(server), await net.peer(server)
    for number in range(10):
        slow.write(text(str(number)))
    fast.write(*[text(str(number)) for number in range(1000)])
    frames = await fast.rest_until_close()
    assert [one.payload for one in frames[:-1]] == [str(number).encode() for number in range(20)]
    assert frames[-1].code == 1008
    assert "max_message_rate=20" in frames[-1].reason
    await eventually(lambda: told)
    assert isinstance(told[0], RateExceeded)
    assert await slow.texts(10) == [str(number) for number in range(10)]


async def test_a_paused_peer_is_held_back_by_tcp_and_loses_nothing(net: Any, caplog: Any) -> None:  # F9
    seldom._last.clear()
    caplog.set_level(logging.INFO, "firefly_ws")
    got: list[int] = []
    route = net.route().max_byte_rate(4 * MIB).rate_burst(0.05).over_rate("pause")
    server = await net.listen(route.on_binary(lambda data, conn: got.append(len(data))))
    peer = await net.peer(server)
    (connection,) = server.connections
    begun = asyncio.get_running_loop().time()
    peer.write(*[binary(bytes(64 * KIB))] * 32)
    await eventually(lambda: got)
    assert connection.bytes_read < 2 * MIB
    await eventually(lambda: len(got) == 32)
    # 2 MiB, of which 200 KiB may come at once, and the last read is not waited for.
    assert asyncio.get_running_loop().time() - begun > 0.3
    lines = [one.getMessage() for one in caplog.records if "reading pauses" in one.getMessage()]
    assert 1 <= len(lines) <= 2 + asyncio.get_running_loop().time() - begun, "one a second"
    assert "more bytes than max_byte_rate=4.1943e+06 a second for 0.05 s" in lines[0]
    peer.write(ping(b"p"))
    assert await peer.frame() == (PONG, b"p")


async def test_a_thousand_peers_that_are_ended_for_a_limit_log_one_line_a_second(plain: Any, caplog: Any) -> None:
    server = await plain.listen(plain.route().max_message_rate(1).rate_burst(1).max_message_size(10).discard())

    async def one(*sent: bytes) -> None:
        peer = await Peer.connect(server.port)
        peer.write(*sent)
        await peer.closed()
        await peer.end()

    caplog.set_level(logging.INFO, "firefly_ws.connection")
    begun = asyncio.get_running_loop().time()
    await asyncio.gather(*[one(text("x"), text("x")) for _ in range(25)], *[one(text("x" * 11)) for _ in range(25)])
    most = 2 + 2 * int(asyncio.get_running_loop().time() - begun)
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.INFO]
    assert len(lines) <= most


async def test_what_waited_in_the_kernel_while_a_callback_took_its_time_does_not_end_a_slow_sender(plain: Any) -> None:
    gate = asyncio.Event()
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        got.append(data)
        await gate.wait()

    server = await plain.listen(plain.route().max_message_rate(50).rate_burst(0.1).max_queue(1).on_text(on_text))
    peer = await plain.peer(server)
    (connection,) = server.connections
    for _ in range(20):
        # 25 a second, of which the callback takes none.
        peer.write(text("x"))
        await asyncio.sleep(0.02)
    gate.set()
    await eventually(lambda: len(got) == 20)
    assert connection.is_open
