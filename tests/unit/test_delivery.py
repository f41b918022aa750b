"""Messages to callbacks: order, waiting, bounds, what a callback may do, and where large messages are read to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fakes import BYE, ROLES, Log, Peer, slow, turns
from judge import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload

from firefly_ws import (
    BinaryFrame,
    CloseReason,
    ConnectionState,
    ContinuationFrame,
    PingFrame,
    TextFrame,
)

CLOSING, CLOSED, OPEN = ConnectionState.CLOSING, ConnectionState.CLOSED, ConnectionState.OPEN


def closed_with(peer: Peer) -> CloseReason:
    """The reason, once all has ended as it should."""
    assert peer.connection.state is CLOSED
    assert peer.connection.is_closed
    reason = peer.connection.close_reason
    assert reason is not None
    return reason


# ---- what a callback may do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["close", "terminate", "drop", "raise"])
@pytest.mark.parametrize("kind", ["text", "binary", "message", "ping", "pong", "frame"])
async def test_behind_an_end_called_in_a_callback_nothing_of_the_batch_is_delivered(call: str, kind: str) -> None:
    heard: list[object] = []

    def callback(what: object, connection: Any) -> None:
        heard.append(what)
        if call == "raise":
            raise RuntimeError
        getattr(connection, call)()

    peer = Peer(**{kind: callback})
    opcode = {"binary": BINARY, "ping": PING, "pong": PONG}.get(kind, TEXT)
    peer.feed(peer.frame(opcode, b"1"), peer.frame(opcode, b"2"), peer.frame(TEXT, b"3"), peer.frame(BINARY, b"4"))
    await turns()
    assert len(heard) == 1
    assert peer.connection.state is not OPEN


@pytest.mark.parametrize("call", ["close", "terminate", "drop"])
async def test_an_end_called_in_on_accept_comes_before_any_message(call: str) -> None:
    log = Log()
    peer = Peer(start=False, accept=lambda connection: getattr(connection, call)(), **log.on("text", "close"))
    peer.open(peer.frame(TEXT, b"came with the handshake"))
    if call == "close":
        peer.send(CLOSE)
    await turns()
    assert [entry[0] for entry in log] == ["close"]


async def test_pausing_in_a_callback_holds_the_rest_of_the_batch_until_resumed() -> None:
    heard: list[str] = []

    def on_text(text: str, connection: Any) -> None:
        heard.append(text)
        connection.pause_reading()

    peer = Peer(text=on_text)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(4)])
    assert heard == ["0"]
    assert not peer.transport.reading
    for count in range(2, 5):
        peer.connection.resume_reading()
        assert len(heard) == count - 1
        await turns()
        assert heard == [str(number) for number in range(count)]
    peer.callbacks.text = lambda text, connection: heard.append(text)
    peer.connection.resume_reading()
    await turns()
    assert peer.transport.reading
    peer.send(TEXT, b"4")
    assert heard == ["0", "1", "2", "3", "4"]


async def test_a_close_that_came_is_answered_although_reading_is_paused_but_not_at_once() -> None:
    peer = Peer(limits={"close_timeout": 0.01}, text=lambda text, connection: connection.pause_reading())
    peer.feed(peer.frame(TEXT, b"x"), peer.frame(CLOSE, BYE))
    await turns()
    assert peer.got == []
    # The Close has not been read yet: only resuming, or closing ourselves, brings it.
    peer.connection.resume_reading()
    await turns()
    assert peer.got == [("close", 1000, "bye")]


async def test_once_closing_reading_is_never_paused() -> None:
    peer = Peer(limits={"max_queue": 1})
    peer.connection.pause_reading()
    assert not peer.transport.reading
    peer.connection.close()
    assert peer.transport.reading
    peer.connection.pause_reading()
    assert peer.transport.reading
    peer.send(CLOSE, close_payload(1000))
    await turns()
    assert closed_with(peer) == (1000, "")


async def test_the_peers_close_that_waited_unparsed_is_found_by_our_own_close() -> None:
    peer = Peer()
    peer.connection.pause_reading()
    peer.feed(peer.frame(TEXT, b"never delivered"), peer.frame(CLOSE, BYE))
    peer.connection.close(1001)
    await turns(5)
    assert closed_with(peer) == (1000, "bye")
    assert peer.got == [("close", 1001, "")]


async def test_any_call_inside_a_callback_leaves_the_stream_whole() -> None:
    calls: list[Callable[[Any], object]] = [
        lambda connection: connection.send("text"),
        lambda connection: connection.send(b"bytes"),
        lambda connection: connection.send_text("t"),
        lambda connection: connection.send_data(bytearray(b"d")),
        lambda connection: connection.send_frame(TextFrame("f")),
        lambda connection: connection.ping(b"p"),
        lambda connection: connection.pong(b"q"),
        lambda connection: connection.flush(),
        lambda connection: (connection.pause_reading(), connection.resume_reading()),
        lambda connection: connection.resume_reading(),
        lambda connection: connection.buffered_amount,
        lambda connection: connection.closed_error(),
        lambda connection: connection.wait_closed(),
    ]
    heard: list[str] = []

    def on_text(text: str, connection: Any) -> None:
        heard.append(text)
        calls[int(text)](connection)

    peer = Peer(text=on_text)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(len(calls))])
    await turns(6)
    assert heard == [str(number) for number in range(len(calls))]
    assert peer.got == [
        ("text", "text"), ("binary", b"bytes"), ("text", "t"), ("binary", b"d"), ("text", "f"),
        ("ping", b"p"), ("pong", b"q"),
    ]  # fmt: skip
    assert peer.connection.is_open


async def test_all_answers_of_a_batch_leave_in_one_write() -> None:
    peer = Peer(text=lambda text, connection: connection.send(text))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(50)], peer.frame(PING, b"x"))
    assert len(peer.transport.writes) == 1
    assert peer.got == [("text", str(number)) for number in range(50)] + [("pong", b"x")]


async def test_one_message_callback_at_a_time_and_control_frames_meanwhile() -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log), **log.on("ping", "pong"))
    peer.feed(peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"), peer.frame(PING, b"now"), peer.frame(PONG, b"too"))
    assert log == ["one", ("ping", b"now"), ("pong", b"too")]
    assert peer.got == [("pong", b"now")]
    release.set()
    await turns(6)
    assert log[3:] == ["end of one", "two", "end of two"]


@pytest.mark.parametrize("limit", [(3, None), (None, 30)])
async def test_beyond_the_queue_reading_pauses_and_goes_on(limit: tuple[int | None, int | None]) -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log), limits={"max_queue": limit})
    peer.send(TEXT, b"first")
    for number in range(3):
        assert peer.transport.reading
        peer.send(TEXT, b"number %d.." % number)
    assert not peer.transport.reading
    release.set()
    await turns(10)
    assert peer.transport.reading
    assert len([entry for entry in log if "end" not in entry]) == 4


async def test_an_end_while_the_queue_waits_drops_it() -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
    peer.connection.close()
    release.set()
    await turns(6)
    assert log == ["0", "end of 0"]
    assert peer.connection.discarded == 4


async def test_work_in_one_turn_is_bounded() -> None:
    heard: list[int] = []
    peer = Peer(binary=lambda data, connection: heard.append(len(data)))
    peer.feed(*[peer.frame(BINARY, bytes(10))] * 5000)
    assert 0 < len(heard) < 5000
    assert not peer.transport.reading
    while len(heard) < 5000:
        before = len(heard)
        await asyncio.sleep(0)
        assert len(heard) > before
    await turns()
    assert peer.transport.reading


async def test_pings_without_end_are_bounded_too() -> None:
    peer = Peer()
    peer.feed(*[peer.frame(PING, b"x" * 100)] * 5000)
    assert 0 < len(peer.got) < 5000
    await turns(10)
    assert len(peer.got) == 5000


async def test_on_frame_sees_every_frame_as_it_came() -> None:
    log = Log()
    peer = Peer(**log.on("frame", "text", "ping"))
    peer.feed(peer.frame(TEXT, b"a", fin=False), peer.frame(PING, b"p"), peer.frame(CONT, b"b"))
    peer.feed(peer.frame(TEXT, b"cut")[:7])
    peer.feed(peer.frame(TEXT, b"cut")[7:])
    assert log == [
        ("frame", TextFrame("a", fin=False)), ("frame", PingFrame(b"p")), ("ping", b"p"),
        ("frame", ContinuationFrame(b"b")), ("text", "ab"), ("frame", TextFrame("cut")), ("text", "cut"),
    ]  # fmt: skip


async def test_text_and_binary_take_their_type_and_message_the_rest() -> None:
    log = Log()
    peer = Peer(**log.on("text", "message"))
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"))
    assert log == [("text", "t"), ("message", BinaryFrame(b"b"))]
    log.clear()
    peer = Peer(**log.on("binary", "message"))
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"))
    assert log == [("message", TextFrame("t")), ("binary", b"b")]


async def test_without_a_callback_messages_are_read_and_dropped() -> None:
    peer = Peer()
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"), peer.frame(PING, b"p"))
    assert peer.got == [("pong", b"p")]
    assert peer.connection.messages_received == 2


async def test_errors_of_other_callbacks_end_it_too(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(*arguments: object) -> None:
        await asyncio.sleep(0)
        raise KeyError("later")

    for kind, opcode in (("ping", PING), ("pong", PONG), ("text", TEXT)):
        peer = Peer(**{kind: failing})
        peer.send(opcode, b"x")
        await turns(6)
        assert peer.got[-1] == ("close", 1011, "")
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3


async def test_an_error_in_on_error_or_on_close_is_logged_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()

    def failing(connection: object, what: object) -> None:
        log.append("called")
        raise ValueError("in the last word")

    peer = Peer(error=failing, close=failing)
    peer.lose(OSError())
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    assert log == ["called", "called"]
    assert len(caplog.records) == 2


async def test_on_close_comes_once_and_behind_on_error_that_suspends() -> None:
    log = Log()

    async def on_error(connection: object, error: object) -> None:
        await asyncio.sleep(0.01)
        log.append("error ended")

    peer = Peer(error=on_error, **log.on("close"))
    peer.lose(OSError())
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    assert log == ["error ended", ("close", closed_with(peer))]


async def test_connection_closed_leaving_a_callback_behind_the_end_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()

    async def on_text(text: str, connection: Any) -> None:
        await asyncio.sleep(0)
        connection.send("too late")

    peer = Peer(text=on_text, **log.on("close", "error"))
    peer.send(TEXT, b"x")
    peer.connection.terminate()
    await turns(6)
    assert [entry[0] for entry in log] == ["close"]
    assert caplog.records == []


# ---- reading straight into a large message -------------------------------------------------------------------------


def through_buffers(peer: Peer, data: bytes, most: int) -> None:
    """What a transport does with a protocol that says where to read to."""
    while data:
        view = peer.protocol._get_buffer()  # type: ignore[attr-defined]
        count = min(len(view), len(data), most)
        view[:count] = data[:count]
        del view
        peer.protocol._buffer_updated(count)  # type: ignore[attr-defined]
        data = data[count:]


@ROLES
@pytest.mark.parametrize("most", [1000, 70_000, 1 << 20])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
async def test_a_large_frame_may_be_read_to_where_it_belongs(is_client: bool, most: int, kind: int) -> None:
    heard: list[Any] = []
    peer = Peer(is_client=is_client, text=lambda text, connection: heard.append(text.encode()),
                binary=lambda data, connection: heard.append(data))  # fmt: skip
    payload = ("€" * 110_000).encode()
    whole = peer.frame(kind, payload)
    peer.feed(whole[:20])
    through_buffers(peer, whole[20:], most)
    assert heard == [payload]
    peer.send(kind, b"and the next")
    assert heard == [payload, b"and the next"]


async def test_a_large_text_fails_at_its_first_bad_byte_there_too() -> None:
    peer = Peer()
    whole = peer.frame(TEXT, b"a" * 100_000 + b"\xff" + b"a" * 100_000)
    peer.feed(whole[:20])
    through_buffers(peer, whole[20:150_000], 50_000)
    assert peer.got[0][:2] == ("close", 1007)


async def test_memory_of_large_messages_that_nobody_kept_is_used_again_and_kept_ones_are_not() -> None:
    kept: list[bytes] = []

    def on_binary(data: bytes, connection: object) -> None:
        if data[0] % 2:
            kept.append(data)

    peer = Peer(binary=on_binary)
    for number in range(20):
        peer.send(BINARY, bytes([number]) * 50_000)
        half = bytes([number]) * 25_000
        peer.feed(peer.frame(BINARY, half, fin=False), peer.frame(CONT, half))
    assert [set(data) for data in kept] == [{number} for number in range(1, 20, 2) for _ in range(2)]
    assert all(len(data) == 50_000 for data in kept)


async def test_a_view_of_a_message_keeps_its_memory() -> None:
    views: list[memoryview] = []
    peer = Peer(binary=lambda data, connection: views.append(memoryview(data)))
    for number in range(10):
        peer.send(BINARY, bytes([number]) * 50_000)
    assert [set(view) for view in views] == [{number} for number in range(10)]
