"""Who takes a message piece by piece: tiny parts, two readers at once, and a stream that is used behind its end."""

from __future__ import annotations

import asyncio
import threading
import zlib
from typing import Any

import pytest
from fakes import BYE, Peer, turns
from judge import BINARY, CLOSE, CONT, PING, TEXT

from firefly_ws import ConnectionClosedError, InvalidPayload, MessageTooBig
from firefly_ws._core.deflate import Deflate
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


@pytest.mark.parametrize("takeover", [None, False, True], ids=["plain", "pmd", "kept"])
async def test_a_slow_reader_of_pieces_delays_neither_pongs_nor_the_close_once_the_message_is_here(
    takeover: bool | None,
) -> None:
    # Its end was the end of reading, until somebody took it: who broke off its iteration was never told of a Close.
    deflate = None if takeover is None else Deflate(decompress_takeover=takeover)
    peer = puller(deflate=deflate)
    pack = zlib.compressobj(wbits=-15)
    parts = [b"a" * 9, b"b" * 9]
    if takeover is not None:
        parts = [pack.compress(part) + pack.flush(zlib.Z_SYNC_FLUSH) for part in parts]
        parts[1] = parts[1][:-4]
    stream = peer.connection.receive_stream()
    first = asyncio.create_task(anext(stream))
    await turns()
    peer.send(TEXT, parts[0], fin=False, rsv=0 if takeover is None else 4)
    assert await first == "a" * 9
    peer.feed(peer.frame(CONT, parts[1]), peer.frame(PING, b"p"), peer.frame(TEXT, b"next"), peer.frame(CLOSE, BYE))
    await turns()
    if takeover:
        # What comes behind it is inflated behind it, in its reader's own step: nothing is read until then.
        assert peer.got == []
    else:
        assert peer.got == [("pong", b"p"), ("close", 1000, "bye")]
    assert [piece async for piece in stream] == ["b" * 9]
    await turns()
    assert peer.got == [("pong", b"p"), ("close", 1000, "bye")]
    assert [message async for message in peer.connection] == ["next"]


@pytest.mark.parametrize("deflated", [False, True])
async def test_a_message_behind_one_that_is_broken_off_is_its_own(deflated: bool) -> None:
    peer = puller(deflate=Deflate() if deflated else None)

    def frames(text: bytes) -> bytes:
        if deflated:
            pack = zlib.compressobj(wbits=-15)
            text = (pack.compress(text) + pack.flush(zlib.Z_SYNC_FLUSH))[:-4]
        half, rsv = len(text) // 2, 4 if deflated else 0
        return peer.frame(TEXT, text[:half], fin=False, rsv=rsv) + peer.frame(CONT, text[half:])

    for how in ("receive", "stream", "go on", "leave"):
        stream = peer.connection.receive_stream()
        first = asyncio.create_task(anext(stream))
        await turns()
        whole = frames(b"one " * 50)
        peer.feed(whole[:40])
        begin = await first
        peer.feed(whole[40:], frames(b"two " * 50), frames(b"three"))
        await turns()
        if how == "go on":
            assert begin + "".join([piece async for piece in stream]) == "one " * 50
            assert await peer.connection.receive() == "two " * 50
        elif how == "receive":
            assert await peer.connection.receive() == "two " * 50
        elif how == "stream":
            assert "".join(await read(peer.connection)) == "two " * 50
        else:
            await stream.__aexit__(None, None, None)
            assert await peer.connection.receive() == "two " * 50
        if how != "go on":
            with pytest.raises(RuntimeError, match="was given up"):
                await anext(stream)
        assert await peer.connection.receive() == "three"


async def test_what_waits_of_a_message_that_is_here_counts_for_the_bound_of_the_queue() -> None:
    peer = puller(limits={"max_queue": (None, 1000)})
    stream = peer.connection.receive_stream()
    first = asyncio.create_task(anext(stream))
    await turns()
    peer.send(BINARY, b"a", fin=False)
    assert await first == b"a"
    peer.send(CONT, bytes(900))
    await turns()
    assert peer.transport.reading
    peer.send(BINARY, bytes(100))
    assert not peer.transport.reading
    assert [len(piece) async for piece in stream] == [900]
    await turns()
    assert peer.transport.reading
    assert await peer.connection.receive() == bytes(100)


async def test_text_that_is_none_ends_all_that_came_behind_it_too() -> None:
    peer = puller(deflate=Deflate())
    pack = zlib.compressobj(wbits=-15)
    parts = [pack.compress(part) + pack.flush(zlib.Z_SYNC_FLUSH) for part in (b"good", b"bad \xff")]
    stream = peer.connection.receive_stream()
    first = asyncio.create_task(anext(stream))
    await turns()
    peer.send(TEXT, parts[0], fin=False, rsv=4)
    assert await first == "good"
    peer.feed(peer.frame(CONT, parts[1][:-4]), peer.frame(TEXT, b"behind"))
    with pytest.raises(InvalidPayload):
        await anext(stream)
    await turns()
    assert [event[:2] for event in peer.got] == [("close", 1007)]
    peer.lose()
    with pytest.raises(ConnectionClosedError):
        await peer.connection.receive()


async def test_a_message_whose_stream_was_given_up_before_it_began_waits_as_any_other() -> None:
    # It held up Pings and the Close until somebody took it.
    for size, holds in ((10, False), (1000, False), (1001, True)):
        peer = puller(limits={"max_message_size": 1000})
        reader = asyncio.create_task(anext(peer.connection.receive_stream()))
        await turns()
        peer.feed(peer.frame(TEXT, b"x", fin=False))
        reader.cancel()  # woken, and not run yet
        await asyncio.wait({reader})
        assert reader.cancelled(), size
        peer.feed(peer.frame(CONT, b"x" * (size - 1)), peer.frame(PING, b"p"), peer.frame(CLOSE, BYE))
        await turns()
        assert (peer.got == []) is holds, size
        assert "".join(await read(peer.connection)) == "x" * size
        await turns()
        assert peer.got == [("pong", b"p"), ("close", 1000, "bye")]


async def test_a_whole_message_of_exactly_max_size_is_allowed_and_one_byte_more_is_not() -> None:
    for text in ("xxxx", "éé"):
        peer = puller()
        peer.feed(*[peer.frame(TEXT, text.encode())] * 2)
        assert [piece async for piece in peer.connection.receive_stream(max_size=4)] == [text]
        with pytest.raises(MessageTooBig, match="at least 4 bytes exceeds max_size=3"):
            await anext(peer.connection.receive_stream(max_size=3))


async def test_a_reader_of_what_inflates_hugely_leaves_the_loop_to_others() -> None:
    peer = puller(deflate=Deflate(), limits={"max_message_size": 1000})
    pack = zlib.compressobj(wbits=-15)
    rounds = 0

    def count() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    count()
    peer.send(BINARY, (pack.compress(bytes(20_000_000)) + pack.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4)
    assert sum([len(piece) async for piece in peer.connection.receive_stream()]) == 20_000_000
    assert rounds > 10
