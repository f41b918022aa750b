"""Who takes a message piece by piece: tiny parts, two readers at once, and a stream that is used behind its end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fakes import Peer, turns
from judge import BINARY, CONT, TEXT

from firefly_ws.receiving import Receiving


def puller(**how: Any) -> Peer:
    """A peer of a connection that is read by asking."""
    return Peer(kind=Receiving, pull=True, **how)


async def read(connection: Any) -> list[Any]:
    return [piece async for piece in connection.receive_stream()]


async def test_a_message_in_parts_of_a_byte_or_two_takes_no_more_memory_than_any_other() -> None:
    # A part is an object: 256 KiB of two bytes each took 7 MB.
    peer = puller()
    reader = asyncio.create_task(anext(peer.connection.receive_stream()))
    await turns()
    peer.send(BINARY, b"ab", fin=False)
    part, fed = peer.frame(CONT, b"cd", fin=False) * 1000, 0
    while peer.transport.reading and fed < 100:
        peer.feed(part)
        fed += 1
        await turns()
    assert fed <= 6
    assert await reader == b"ab"


async def test_parts_of_a_byte_are_joined_for_who_wants_the_message_whole_and_lose_nothing() -> None:
    peer = puller(limits={"max_message_size": 100_000})
    for final in (True, False):
        reader = asyncio.create_task(anext(peer.connection.receive_stream()))
        await turns()
        peer.send(TEXT, b"", fin=False)
        reader.cancel()
        whole = asyncio.create_task(peer.connection.receive())
        await turns()
        for number in range(20_000):
            peer.send(CONT, b"%d" % (number % 10), fin=False)
            if number % 1000 == 0:
                await turns()
        if final:
            peer.send(CONT)
            assert await whole == "0123456789" * 2000
        else:
            await turns()
            whole.cancel()
            pieces = asyncio.create_task(read(peer.connection))
            await turns()
            peer.send(CONT, "é".encode())
            parts = await pieces
            assert "".join(parts) == "0123456789" * 2000 + "é"
            assert len(parts) < 100


async def test_a_second_task_on_one_stream_is_told_of_the_first() -> None:
    # It took the first one's place, and that one waited for ever.
    peer = puller()
    peer.send(TEXT, b"a", fin=False)
    stream = peer.connection.receive_stream()
    assert await anext(stream) == "a"
    first = asyncio.create_task(anext(stream), name="the first")
    await turns()
    with pytest.raises(RuntimeError, match=r"receive_stream\(\): task 'the first' is waiting in receive_stream\(\)"):
        await anext(stream)
    errors: list[Any] = []

    def other() -> None:
        try:
            stream.__anext__().send(None)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "connection.threadsafe" in str(errors[0])
    peer.send(CONT, b"b")
    assert await first == "b"
    assert [piece async for piece in stream] == []


async def test_a_whole_message_that_was_left_is_not_given_by_a_stream_that_was_left() -> None:
    peer = puller()
    for text in (b"left", b"read"):
        peer.send(TEXT, text)
        async with peer.connection.receive_stream() as stream:
            if text == b"read":
                assert await anext(stream) == "read"
        if text == b"left":
            with pytest.raises(RuntimeError, match="was given up"):
                await anext(stream)
        else:
            assert [piece async for piece in stream] == []
