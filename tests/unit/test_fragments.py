"""One message in fragments: how pieces become frames, what waits behind them, what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fakes import ROLES, Log, Peer, turns
from judge import CLOSE, PING, TEXT, close_payload

from firefly_ws import DONE, ConnectionClosedError, ConnectionClosedOK, QueueOverflow
from firefly_ws._core.deflate import Deflate
from firefly_ws.streaming import send_stream


def heads(peer: Peer) -> list[int]:
    """The first byte of every frame that has been sent."""
    data, found = b"".join(peer.transport.writes), []
    while data:
        masked, size, at = data[1] >> 7, data[1] & 0x7F, 2
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at], "big")
        found.append(data[0])
        data = data[at + 4 * masked + size :]
    return found


class Source:
    """An async iterable that gives what it is told to."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            while (piece := await self.queue.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True

    async def put(self, *pieces: Any) -> None:
        for piece in pieces:
            self.queue.put_nowait(piece)
        await turns(5)


async def begun(peer: Peer, *pieces: Any) -> tuple[Source, asyncio.Task[None]]:
    """A stream that is under way."""
    source = Source()
    task = asyncio.ensure_future(send_stream(peer.connection, source))
    await source.put(*(pieces or (b"a",)))
    return source, task


# ---- pieces and frames ---------------------------------------------------------------------------------------------


@ROLES
async def test_pieces_that_come_one_after_the_other_are_fragments_of_one_message(is_client: bool) -> None:
    peer = Peer(is_client=is_client)
    source, task = await begun(peer, "eins ")
    await source.put("zwei ")
    await source.put("dréi")
    await source.put(None)
    await task
    assert peer.got == [("text", "eins zwei dréi")]
    assert heads(peer) == [0x01, 0x00, 0x00, 0x80]
    assert peer.connection.messages_sent == 1


async def test_pieces_of_one_turn_are_joined() -> None:
    peer = Peer()
    await send_stream(peer.connection, (b"x" for _ in range(100)))
    assert heads(peer) == [0x82]
    await send_stream(peer.connection, (b"x" for _ in range(40_000)))
    await turns()
    assert heads(peer)[1:] == [0x02, 0x00, 0x80]
    assert peer.got == [("binary", b"x" * 100), ("binary", b"x" * 40_000)]


async def test_a_large_piece_is_cut() -> None:
    peer = Peer()
    await send_stream(peer.connection, [bytes(300_000)])
    await send_stream(peer.connection, ["€" * 100_000])
    await turns()
    assert peer.got == [("binary", bytes(300_000)), ("text", "€" * 100_000)]
    assert heads(peer) == [0x02, 0x00, 0x80, 0x01, 0x00, 0x80]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([b"", b"x", b""], ("binary", b"x")),
        ([bytearray(b"x"), memoryview(b"y")], ("binary", b"xy")),
        (iter(["", ""]), ("text", "")),
        ([], ("binary", b"")),
        ({"one": 1}.keys(), ("text", "one")),
    ],
)
async def test_what_can_be_sent(pieces: Any, message: Any) -> None:
    peer = Peer()
    await send_stream(peer.connection, pieces)
    assert peer.got == [message]


async def test_a_buffer_may_be_used_again_for_the_next_piece() -> None:
    def refilled() -> Iterator[memoryview]:
        buffer = bytearray(30_000)
        for number in range(4):
            buffer[:] = bytes([number]) * len(buffer)
            yield memoryview(buffer)

    peer = Peer()
    peer.transport.stuck = True
    await send_stream(peer.connection, refilled())
    peer.transport.take()
    await turns()
    assert peer.got == [("binary", b"".join(bytes([number]) * 30_000 for number in range(4)))]


async def test_text_fixes_the_type() -> None:
    peer = Peer()
    await send_stream(peer.connection, [], text=True)
    with pytest.raises(TypeError, match="a piece of bytes in a text message"):
        await send_stream(peer.connection, [b"x"], text=True)
    await send_stream(peer.connection, [b"x"], text=False)
    await turns()
    assert peer.got == [("text", ""), ("binary", b"x")]
    with pytest.raises(TypeError, match="text='yes'"):
        send_stream(peer.connection, [], text="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("whole", ["text", b"bytes", bytearray(b"x"), {"a": 1}, 5, None])
async def test_what_is_no_stream_is_refused_by_the_call(whole: Any) -> None:
    with pytest.raises(TypeError, match="send_stream takes an iterable or async iterable of pieces, not "):
        send_stream(Peer().connection, whole)


async def test_a_closed_connection_refuses_in_the_call() -> None:
    peer = Peer()
    peer.connection.close()
    with pytest.raises(ConnectionClosedOK):
        send_stream(peer.connection, [b"x"])


# ---- compressed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takeover", [False, True])
async def test_a_stream_is_compressed_as_one_message(takeover: bool) -> None:
    peer = Peer(deflate=Deflate(compress_takeover=takeover))
    connection = peer.connection
    connection.send("before " * 20)
    for last in ("", "the last"):
        source, task = await begun(peer, "one " * 20)
        await source.put("two " * 20)
        if last:
            source.queue.put_nowait(last)
        await source.put(None)
        await task
    connection.send("behind " * 20)
    heard: list[str] = []
    other = Peer(is_client=True, deflate=Deflate(decompress_takeover=takeover), text=lambda text, _: heard.append(text))
    other.feed(*peer.transport.writes)
    streamed = "one " * 20 + "two " * 20
    assert heard == ["before " * 20, streamed, streamed + "the last", "behind " * 20]
    assert heads(peer) == [0xC1, 0x41, 0x00, 0x80, 0x41, 0x00, 0x80, 0xC1]


async def test_streams_of_two_connections_do_not_share_a_compressor() -> None:
    one, other = Peer(deflate=Deflate()), Peer(deflate=Deflate())
    first, first_task = await begun(one, b"shared words " * 20)
    second, second_task = await begun(other, b"other words " * 20)
    await first.put(b"shared words " * 20, None)
    await second.put(b"other words " * 20, None)
    await asyncio.gather(first_task, second_task)
    assert one.got == [("binary", b"shared words " * 40)]
    assert other.got == [("binary", b"other words " * 40)]


async def test_compress_if_is_asked_once_and_a_short_stream_stays_as_it_is() -> None:
    asked: list[bytes] = []
    peer = Peer(deflate=Deflate(compress_if=lambda payload: asked.append(payload)))
    source, task = await begun(peer, b"a" * 100)
    await source.put(b"b" * 100, None)
    await task
    await send_stream(peer.connection, [b"short"])
    assert asked == [b"a" * 100]
    assert heads(peer) == [0x02, 0x80, 0x82]


async def test_what_compress_if_raises_reaches_the_sender() -> None:
    def refuses(payload: bytes) -> bool:
        raise LookupError

    peer = Peer(deflate=Deflate(compress_if=refuses))
    source, task = await begun(peer, b"a")
    await source.put(b"b")
    with pytest.raises(LookupError):
        await task
    assert peer.connection.is_open


# ---- what waits ----------------------------------------------------------------------------------------------------


async def test_what_is_sent_meanwhile_waits_and_control_frames_do_not() -> None:
    peer = Peer()
    source, task = await begun(peer, b"a")
    assert not peer.connection.is_writable
    waiting = [peer.connection.send("next"), peer.connection.send(bytearray(b"then"))]
    peer.send(PING, b"?")
    await source.put(b"b")
    assert peer.connection.buffered_amount == 8
    assert not any(one.done() for one in waiting)  # type: ignore[attr-defined]
    await source.put(None)
    await asyncio.gather(task, *waiting)
    assert peer.got == [("pong", b"?"), ("binary", b"ab"), ("text", "next"), ("binary", b"then")]
    assert peer.connection.is_writable
    assert peer.connection.send("at once") is DONE


async def test_streams_leave_one_after_the_other_in_the_order_of_their_beginnings() -> None:
    peer = Peer()
    first, one = await begun(peer, b"a")
    second, two = await begun(peer, b"b")
    between = peer.connection.send("between")
    third, three = await begun(peer, b"c")
    two.cancel()
    await second.put(b"b", None)
    await first.put(b"a", None)
    await asyncio.gather(one, between)
    behind = peer.connection.send("behind")
    await third.put(None)
    await asyncio.gather(three, behind)
    assert two.cancelled()
    assert peer.connection.is_open
    assert peer.got == [("binary", b"aa"), ("text", "between"), ("binary", b"c"), ("text", "behind")]


async def test_what_waits_is_bounded() -> None:
    peer = Peer(limits={"max_write_buffer": 1000})
    source, task = await begun(peer)
    peer.connection.send(bytes(900))
    with pytest.raises(QueueOverflow) as info:
        peer.connection.send(bytes(101))
    assert (info.value.size, info.value.limit) == (1001, 1000)
    with pytest.raises(TypeError, match="send takes str, contiguous bytes-like or Frame, not int"):
        peer.connection.send(5)  # type: ignore[arg-type]
    await source.put(None)
    await task
    assert peer.got == [("binary", b"a"), ("binary", bytes(900))]


async def test_a_flush_waits_for_what_waits() -> None:
    peer = Peer()
    source, task = await begun(peer)
    assert peer.connection.flush() is DONE
    peer.connection.send("behind")
    flushed = asyncio.ensure_future(peer.connection.flush())
    await turns()
    assert not flushed.done()
    await source.put(None)
    await asyncio.gather(task, flushed)
    assert peer.got == [("binary", b"a"), ("text", "behind")]


async def test_a_callback_whose_sends_wait_gets_its_next_message_when_they_have_left() -> None:
    heard: list[str] = []

    def answer(text: str, connection: Any) -> None:
        heard.append(text)
        connection.send(bytes(2000))

    peer = Peer(text=answer, limits={"write_high_water": 1000, "write_low_water": 0})
    source, task = await begun(peer)
    for text in (b"1", b"2"):
        peer.send(TEXT, text)
    await turns()
    assert heard == ["1"]
    await source.put(None)
    await task
    await turns()
    assert heard == ["1", "2"]
    assert peer.got == [("binary", b"a"), ("binary", bytes(2000)), ("binary", bytes(2000))]


async def test_a_stream_waits_above_high_water_and_takes_no_more_pieces() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(10):
            taken.append(number)
            yield bytes(20_000)

    peer = Peer(limits={"write_high_water": 30_000, "write_low_water": 10_000})
    peer.transport.stuck = True
    task = asyncio.ensure_future(send_stream(peer.connection, pieces()))
    await turns(10)
    assert taken == [0, 1]
    peer.transport.take(len(peer.transport.waiting))
    await turns(10)
    assert len(taken) < 6
    peer.transport.take()
    await turns(10)
    await task
    assert peer.got == [("binary", bytes(200_000))]


async def test_held_sends_resolve_below_low_water() -> None:
    peer = Peer(limits={"write_high_water": 1000, "write_low_water": 500})
    source, task = await begun(peer)
    waiting: Any = peer.connection.send(bytes(4000))
    peer.transport.stuck = True
    await source.put(None)
    assert not waiting.done()
    peer.transport.take()
    await asyncio.gather(task, waiting)
    assert peer.got[-1] == ("binary", bytes(4000))


async def test_an_iterable_that_never_suspends_leaves_the_loop_to_others() -> None:
    peer = Peer()
    rounds = 0

    def count() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    count()
    await send_stream(peer.connection, (bytes(100_000) for _ in range(100)))
    assert rounds > 10
    await turns()


# ---- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [["a", b"b"], [b"b", "a"], ["a", None]])
async def test_a_piece_of_another_kind_before_anything_has_left_harms_nobody(pieces: Any) -> None:
    peer = Peer()
    with pytest.raises(TypeError, match="send_stream"):
        await send_stream(peer.connection, pieces)
    assert peer.connection.send("after") is DONE
    assert peer.got == [("text", "after")]


@pytest.mark.parametrize("spoil", ["x", None.__class__, ValueError("from the source")])
async def test_a_message_that_cannot_be_finished_ends_the_connection(spoil: Any) -> None:
    log = Log()
    peer = Peer(**log.on("error", "close"))
    source, task = await begun(peer, b"a")
    waiting = peer.connection.send("never")
    await source.put(spoil)
    with pytest.raises((TypeError, ValueError)) as info:
        await task
    assert source.closed
    with pytest.raises(ConnectionClosedError):
        await waiting
    assert b"".join(peer.transport.writes)[-2:] == (1011).to_bytes(2, "big")
    assert heads(peer) == [0x02, 0x88]
    peer.lose()
    await turns()
    assert [name for name, _ in log] == ["error", "close"]
    assert log[0][1] is info.value


async def test_a_cancelled_stream_ends_the_connection_and_is_nobodys_error() -> None:
    log = Log()
    peer = Peer(**log.on("error", "close"))
    _, task = await begun(peer, b"a")
    task.cancel()
    await turns()
    assert task.cancelled()
    assert peer.connection.close_sent is not None
    assert peer.connection.close_sent.code == 1011
    peer.lose()
    await turns()
    assert [name for name, _ in log] == ["close"]


@pytest.mark.parametrize("how", ["close", "peer", "lost", "terminate"])
async def test_the_end_of_the_connection_reaches_the_sender_and_who_waits_behind(how: str) -> None:
    peer = Peer()
    source, task = await begun(peer, b"a")
    following = asyncio.ensure_future(send_stream(peer.connection, [b"b"]))
    await turns()
    waiting, flushed = peer.connection.send("never"), peer.connection.flush()
    ends: dict[str, Callable[[], object]] = {
        "close": lambda: peer.connection.close(1000),
        "peer": lambda: peer.send(CLOSE, close_payload(1000, "")),
        "lost": lambda: peer.lose(ConnectionResetError()),
        "terminate": lambda: peer.connection.terminate(),
    }
    ends[how]()
    await turns()
    await source.put(b"more")
    kind = ConnectionClosedOK if how in ("close", "peer") else ConnectionClosedError
    for one in (task, waiting, following):
        with pytest.raises(kind):
            await one
    await flushed
    assert source.closed
    assert 0x00 not in heads(peer)


@pytest.mark.parametrize("how", ["close", "terminate", "lose"])
async def test_what_waited_behind_a_stream_and_never_left_is_counted_as_unsent(how: str) -> None:
    peer = Peer()
    source, task = await begun(peer)
    for text in ("four", "five!"):
        peer.connection.send(text)
    peer.lose(ConnectionResetError()) if how == "lose" else getattr(peer.connection, how)()
    assert peer.connection.close_details.unsent_bytes == 9
    peer.lose()
    await source.put(b"b")
    with pytest.raises((ConnectionClosedOK, ConnectionClosedError)):
        await task
    details = peer.connection.close_details
    assert (details.unsent_messages, details.unsent_bytes) == (2, 9)


async def test_a_stream_that_nobody_ran_changes_nothing() -> None:
    peer = Peer()
    stream: Any = send_stream(peer.connection, [b"x"])
    stream.close()
    assert peer.connection.send("x") is DONE


async def test_a_stream_left_behind_by_its_loop_is_collected_in_silence() -> None:
    peer = Peer()
    stream: Any = send_stream(peer.connection, (bytes(300_000) for _ in range(9)))
    stream.send(None)
    stream.close()
    assert peer.connection.close_sent is not None
