"""The end of a connection that is read by asking: what a slow reader still gets, and who may wait for what."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from judge import BINARY, CONT, KEY, TEXT, frame
from peers import LIMIT, close, eventually, text

from firefly_ws import ConnectionClosed, ConnectionClosedOK


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(LIMIT):
        return await awaitable


async def test_a_slow_reader_gets_all_that_came_and_the_close_behind_it_over_tls_too(net: Any) -> None:  # C4, S6
    # TLS ends both ways with the peer: what its reader had no room for yet was dropped behind close_timeout, with a
    # Close among it, and a good end was told as 1006.
    got: list[str] = []
    ends: list[Any] = []
    late = asyncio.Event()

    async def serve(connection: Any) -> None:
        try:
            async for message in connection:
                got.append(message)
                await asyncio.sleep(0.015)
                if len(got) == 5:
                    await late.wait()
            ends.append("quietly")
        except ConnectionClosed as error:
            ends.append(error.code)

    route = net.route().max_queue(4).close_timeout(0.3).handler(serve)
    peer = await net.serve(route.on_close(lambda connection, reason: ends.append(reason.code)))
    peer.write(*[text(f"{number} " * 100) for number in range(55)], close(1000, "bye"))
    await peer.writer.drain()
    peer.writer.close()
    await eventually(lambda: len(got) == 5)
    late.set()
    await eventually(lambda: len(ends) == 2)
    assert [one.split()[0] for one in got] == [str(number) for number in range(55)]
    assert sorted(map(str, ends)) == ["1000", "quietly"]


async def test_waiting_for_a_message_or_for_the_end_whichever_comes_first(plain: Any) -> None:
    server = await plain.listen(plain.route().on_text(lambda text, connection: connection.drop(3000, "enough")))
    connection = await plain.connect(server)
    reader = asyncio.create_task(connection.receive())
    end = connection.wait_closed()
    done, pending = await asyncio.wait({reader, end}, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == (set(), {reader, end})
    connection.send("x")
    done, pending = await asyncio.wait({reader, end}, timeout=LIMIT)
    assert (done, pending) == ({reader, end}, set())
    assert (await end).code == 3000
    assert isinstance(reader.exception(), ConnectionClosed)


async def test_many_wait_for_the_end_and_some_are_cancelled(net: Any) -> None:
    server = await net.listen(net.route().handler(lambda connection: connection.wait_closed()))
    connection = await net.connect(server)
    waiting = [asyncio.create_task(soon(connection.wait_closed())) for _ in range(5)]
    await asyncio.sleep(0)
    for one in waiting[::2]:
        one.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.wait_closed(), 0.01)
    assert connection.is_open
    closing = asyncio.ensure_future(connection.close(4000, "over"))
    await asyncio.sleep(0)
    closing.cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one).__name__ for one in ends] == ["CancelledError", "CloseReason"] * 2 + ["CancelledError"]
    assert await connection.wait_closed() == await connection.close() == (4000, "over")


async def test_two_tasks_on_one_stream_and_a_message_lose_nothing(net: Any) -> None:
    results: list[Any] = []

    async def serve(connection: Any) -> None:
        stream = connection.receive_stream()
        results.append(await anext(stream))
        first = asyncio.create_task(anext(stream), name="the first")
        await asyncio.sleep(0)
        for other in (anext(stream), connection.receive(), anext(connection.receive_stream())):
            with pytest.raises(RuntimeError, match=r"task 'the first' is waiting in receive_stream\(\)"):
                await other
        first.cancel()
        connection.send("go on")
        results.extend([piece async for piece in stream])
        results.append(await connection.receive())

    peer = await net.serve(net.route().handler(serve))
    peer.write(frame(TEXT, b"a", mask=KEY, fin=False))
    assert await peer.texts(1) == ["go on"]
    peer.write(frame(CONT, b"b", mask=KEY), text("next"))
    assert (await peer.closed()).code == 1000
    assert results == ["a", "b", "next"]


async def test_a_reset_ends_a_stream_behind_its_pieces_and_a_wait_for_a_piece_at_once(net: Any) -> None:  # C8
    raised: list[Any] = []

    async def serve(connection: Any) -> None:
        stream = connection.receive_stream()
        try:
            async for piece in stream:
                raised.append(piece)
        except ConnectionClosed as error:
            raised.append(error.code)
        for ask in (stream.__anext__, connection.receive, connection.incoming.receive):
            with pytest.raises(ConnectionClosed):
                await ask()

    peer = await net.serve(net.route().handler(serve))
    peer.write(frame(BINARY, b"a", mask=KEY, fin=False))
    await eventually(lambda: raised)
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: a reset
    peer.abort()
    await eventually(lambda: len(raised) == 2)
    assert raised == [b"a", 1006]


async def test_receive_behind_the_end_says_the_same_as_often_as_it_is_asked(net: Any) -> None:
    server = await net.listen(net.route().handler(lambda connection: connection.send("last")))
    connection = await net.connect(server)
    await soon(connection.wait_closed())
    assert await connection.receive_text() == "last"
    for ask in (
        connection.receive,
        connection.receive_text,
        connection.receive_data,
        connection.receive_frame,
        connection.receive_stream().__anext__,
    ):
        for _ in range(2):
            with pytest.raises(ConnectionClosedOK, match="the connection is closed: received 1000"):
                await ask()
    assert [one async for one in connection] == [one async for one in connection.texts()] == []
