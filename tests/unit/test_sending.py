"""What a send takes, what it returns, when it refuses: below and above high water, behind the end, elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from fakes import ROLES, Log, Peer, turns
from judge import CLOSE, PING, PONG, TEXT, close_payload, judge

from firefly_ws import (
    DONE,
    BinaryFrame,
    CloseFrame,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionState,
    ContinuationFrame,
    PerMessageDeflate,
    PingFrame,
    PongFrame,
    QueueOverflow,
    TextFrame,
)
from firefly_ws._core.deflate import Deflate
from firefly_ws._core.steps import Wait

WATER = {"write_high_water": 1000, "write_low_water": 500, "max_write_buffer": 5000}


def stuck(**how: Any) -> Peer:
    """A connection whose peer reads nothing."""
    peer = Peer(**how)
    peer.transport.stuck = True
    return peer


# ---- sending -------------------------------------------------------------------------------------------------------


@ROLES
async def test_every_way_to_send(is_client: bool) -> None:
    peer = Peer(is_client=is_client)
    connection = peer.connection
    for value in ("ascii", "ünïcødé 😀", b"bytes", bytearray(b"array"), memoryview(b"view"), TextFrame("f"),
                  BinaryFrame(b"g"), "", b"", "x" * 200, bytes(70_000)):  # fmt: skip
        assert connection.send(value) is DONE
    connection.send_frame(PingFrame(b"1"))
    connection.send_frame(PongFrame(b"2"))
    connection.pong("3")
    await turns()
    assert peer.got == [
        ("text", "ascii"), ("text", "ünïcødé 😀"), ("binary", b"bytes"), ("binary", b"array"), ("binary", b"view"),
        ("text", "f"), ("binary", b"g"), ("text", ""), ("binary", b""), ("text", "x" * 200),
        ("binary", bytes(70_000)), ("ping", b"1"), ("pong", b"2"), ("pong", b"3"),
    ]  # fmt: skip
    assert connection.messages_sent == 11
    connection.send_frame(CloseFrame(1001, "by a frame"))
    assert peer.got[-1] == ("close", 1001, "by a frame")


async def test_a_clients_masks_are_all_different() -> None:
    peer = Peer(is_client=True)
    for _ in range(3000):
        peer.connection.send(b"")
    await turns()
    stream = b"".join(peer.transport.writes)
    masks = {stream[at + 2 : at + 6] for at in range(0, len(stream), 6)}
    assert len(masks) > 2990


@pytest.mark.parametrize("value", [None, 5, 1.5, ["a"], {"a": 1}, object(), memoryview(b"abcd")[::2]])
async def test_what_cannot_be_sent_is_refused_by_its_type(value: Any) -> None:
    peer = Peer()
    with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
        peer.connection.send(value)
    with pytest.raises(TypeError):
        peer.connection.send_data(value)
    with pytest.raises(TypeError, match=r"send_text\(\) takes a str"):
        peer.connection.send_text(value)
    await turns()
    assert peer.transport.writes == []
    assert peer.connection.messages_sent == 0


async def test_text_goes_not_through_send_data_nor_bytes_through_send_text() -> None:
    peer = Peer()
    with pytest.raises(TypeError, match=r"send_text\(\) takes a str, not bytes; bytes go through send_data\(\)"):
        peer.connection.send_text(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"send_data\(\) takes bytes, not str; text goes through send_text\(\)"):
        peer.connection.send_data("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        peer.connection.send_frame("x")  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        peer.connection.send("\ud800")
    for fragment in (TextFrame("x", fin=False), ContinuationFrame(b"x"), BinaryFrame(b"x", rsv1=True)):
        with pytest.raises(ValueError, match="is a fragment or has reserved bits set"):
            peer.connection.send(fragment)
    peer.connection.send("fine")
    await turns()
    assert peer.got == [("text", "fine")]


@pytest.mark.parametrize("how", ["close", "terminate", "peer", "lost"])
async def test_a_send_behind_the_end_raises_and_says_how_it_ended(how: str) -> None:
    peer = Peer()
    if how == "close":
        peer.connection.close(1001, "bye")
    elif how == "terminate":
        peer.connection.terminate()
    elif how == "peer":
        peer.send(CLOSE, close_payload(4000, "theirs"))
        await turns()
    else:
        peer.lose(OSError())
    kind = ConnectionClosedOK if how == "close" else ConnectionClosedError
    for call, name in (
        (lambda: peer.connection.send("x"), "send"), (lambda: peer.connection.send(b"x"), "send"),
        (lambda: peer.connection.ping(), "ping"), (lambda: peer.connection.pong(), "pong"),
        (lambda: peer.connection.send_frame(TextFrame("x")), "send"),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value).startswith(f"{name}: the connection is closed")
    if how == "peer":
        assert caught.value.received == (4000, "theirs")
    await peer.connection.flush()


async def test_before_it_is_open_nothing_can_be_sent() -> None:
    peer = Peer(start=False)
    assert peer.connection.state is ConnectionState.CONNECTING
    with pytest.raises(RuntimeError, match="send: the connection is not open yet"):
        peer.connection.send("x")


async def test_another_thread_is_told_so() -> None:
    peer = Peer()
    connection = peer.connection
    calls: list[Callable[[], object]] = [
        lambda: connection.send("x"), lambda: connection.send(b"x"), connection.ping, connection.pong,
        connection.flush, connection.close, connection.terminate, connection.drop, connection.pause_reading,
        connection.resume_reading,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(RuntimeError, match=r"its loop's thread; .* use connection\.threadsafe"):
            await asyncio.to_thread(call)
    assert connection.is_open
    assert peer.got == []


async def test_a_ping_resolves_to_the_round_trip() -> None:
    peer = Peer()
    first, second, third = peer.connection.ping(b"1"), peer.connection.ping("2"), peer.connection.ping()
    await turns()
    payloads = [payload for _, payload in peer.got]
    assert payloads[:2] == [b"1", b"2"]
    assert len(payloads[2]) == 4  # type: ignore[arg-type]
    peer.send(PONG, b"nobody asked")
    assert not first.done()
    # RFC 6455 §5.5.3: the newest may be answered alone, for all before it.
    peer.send(PONG, b"2")
    assert await first >= await second >= 0
    assert peer.connection.latency == await second
    assert not third.done()
    with pytest.raises(ValueError, match="at most 125 fit"):
        peer.connection.ping(b"x" * 126)
    peer.connection.ping(b"same")
    with pytest.raises(ValueError, match="a ping with the payload b'same' is waiting"):
        peer.connection.ping(b"same")
    peer.lose()
    with pytest.raises(ConnectionClosedError, match="ping"):
        await third


async def test_a_ping_behind_our_close_is_not_answered() -> None:
    log = Log()
    peer = Peer(**log.on("ping"))
    peer.connection.close()
    peer.feed(peer.frame(PING, b"x"), peer.frame(CLOSE))
    assert peer.got == [("close", 1000, "")]
    assert log == []


# ---- high and low water --------------------------------------------------------------------------------------------


async def test_below_high_water_a_send_is_done_and_above_something_to_await() -> None:
    peer = stuck(limits=WATER)
    sends = [peer.connection.send(bytes(298)) for _ in range(3)]
    await turns()
    assert sends == [DONE, DONE, DONE]
    assert peer.connection.is_writable
    above = peer.connection.send(bytes(298))
    assert isinstance(above, Wait)
    assert not peer.connection.is_writable
    # All who send now wait for the same.
    assert peer.connection.send(b"") is above
    assert peer.connection.buffered_amount == 4 * 302 + 2
    peer.transport.take(600)
    await turns()
    assert not above.done()
    peer.transport.take()
    await asyncio.wait_for(above, 1)
    assert peer.connection.is_writable
    assert peer.connection.buffered_amount == 0
    assert peer.connection.send(b"x") is DONE
    await turns()
    assert [len(data) for _, data in peer.got] == [298] * 4 + [0, 1]  # type: ignore[arg-type]


async def test_what_nobody_awaits_is_nobodys_error(caplog: pytest.LogCaptureFixture) -> None:
    peer = stuck(limits=WATER)
    for _ in range(4):
        peer.connection.send(bytes(298))
    await turns()
    awaited = peer.connection.send(bytes(298))
    peer.lose()
    unsent = r"4 messages \(1,510 bytes\) unsent"
    with pytest.raises(ConnectionClosedError, match=f"send: the connection is closed: received 1006 .*{unsent}"):
        await awaited
    await turns()
    assert caplog.records == []


async def test_beyond_the_bound_a_send_raises_and_loses_nothing() -> None:
    peer = stuck(limits=WATER)
    sent = 16
    for number in range(sent):
        peer.connection.send(b"%04d" % number + bytes(296))
    with pytest.raises(QueueOverflow) as caught:
        peer.connection.send(bytes(300))
    assert caught.value.limit == 5000
    assert 5000 < caught.value.size <= 5304
    assert peer.connection.messages_sent == sent
    assert peer.connection.is_open
    peer.connection.send(b"small enough")
    peer.transport.take()
    await turns()
    payloads = [data for _, data in peer.got]
    assert payloads == [b"%04d" % number + bytes(296) for number in range(sent)] + [b"small enough"]


async def test_without_a_bound_nothing_overflows() -> None:
    peer = stuck(limits={**WATER, "max_write_buffer": None})
    for _ in range(100):
        peer.connection.send(bytes(1000))
    await turns()
    assert peer.connection.buffered_amount == 100 * 1004


@pytest.mark.parametrize("takeover", [False, True])
async def test_a_compressed_message_that_is_refused_leaves_the_window_as_the_peer_knows_it(takeover: bool) -> None:
    deflate = Deflate(compress_takeover=takeover, threshold=0, level=6)
    peer = stuck(limits={**WATER, "max_write_buffer": 1200}, deflate=deflate)
    said = b"a phrase that comes again and again"
    peer.connection.send(said)
    peer.connection.send(os.urandom(600))
    with pytest.raises(QueueOverflow):
        peer.connection.send(os.urandom(600))
    assert peer.connection.messages_sent == 2
    peer.transport.take()
    await turns()
    peer.connection.send(said)
    await turns()
    data = b"".join(peer.transport.writes)
    events = judge(data, "client", deflate=True, takeover=takeover)
    assert len(events) == 3
    assert events[0] == events[-1] == ("binary", said)


@pytest.mark.parametrize("how", ["returned", "dropped", "awaited"])
async def test_a_callbacks_own_sends_hold_back_its_next_message(how: str) -> None:
    heard: list[str] = []

    def plain(text: str, connection: Any) -> object:
        heard.append(text)
        waiting = connection.send(bytes(1500))
        return waiting if how == "returned" else None

    async def waiting(text: str, connection: Any) -> None:
        heard.append(text)
        await connection.send(bytes(1500))

    peer = stuck(limits=WATER, text=waiting if how == "awaited" else plain)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(4)])
    await turns()
    # The answers of one read leave together: as many as fit below high water are given.
    before = len(heard)
    assert before < 4
    await turns(5)
    assert len(heard) == before
    for count in range(before + 1, 5):
        peer.transport.take(len(peer.transport.waiting))
        await turns(5)
        assert len(heard) >= count
    assert heard == ["0", "1", "2", "3"]


async def test_sends_from_elsewhere_do_not_hold_back_messages() -> None:
    heard: list[str] = []
    peer = stuck(limits=WATER, text=lambda text, connection: heard.append(text))
    for _ in range(3):
        peer.connection.send(bytes(800))
    await turns()
    assert not peer.connection.is_writable
    peer.feed(peer.frame(TEXT, b"1"), peer.frame(TEXT, b"2"))
    assert heard == ["1", "2"]
    assert peer.transport.reading


async def test_a_message_that_waits_for_the_peer_to_read_does_not_stop_control_frames() -> None:
    heard: list[bytes] = []
    peer = stuck(limits=WATER, text=lambda text, connection: connection.send(bytes(3000)),
                 ping=lambda payload, connection: heard.append(payload))  # fmt: skip
    peer.feed(peer.frame(TEXT, b"1"))
    peer.feed(peer.frame(TEXT, b"2"), peer.frame(PING, b"p"))
    assert heard == [b"p"]
    assert peer.connection.is_open


# ---- compression ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_client", [False, True])
@pytest.mark.parametrize("takeover", [False, True])
async def test_messages_are_compressed_from_the_threshold_on(is_client: bool, takeover: bool) -> None:
    deflate = Deflate(compress_takeover=takeover, threshold=64)
    peer = Peer(is_client=is_client, deflate=deflate)
    for value in ("short", "long " * 100, b"short", b"long " * 100, bytearray(b"long " * 100), "lông " * 100):
        peer.connection.send(value)
    peer.connection.ping(b"p" * 100)
    await turns()
    data = b"".join(peer.transport.writes)
    assert judge(data, "server" if is_client else "client", deflate=True, takeover=takeover) == [
        ("text", "short"), ("text", "long " * 100), ("binary", b"short"), ("binary", b"long " * 100),
        ("binary", b"long " * 100), ("text", "lông " * 100), ("ping", b"p" * 100),
    ]  # fmt: skip
    assert len(data) < 500


async def test_an_error_of_compress_if_is_the_senders_and_nothing_is_queued() -> None:
    def failing(payload: bytes) -> bool:
        raise KeyError("mine")

    assert PerMessageDeflate(compress_if=failing).compress_if is failing
    peer = Peer(deflate=Deflate(threshold=10, compress_if=failing))
    with pytest.raises(KeyError, match="mine"):
        peer.connection.send(b"long enough")
    peer.connection.send(b"short")
    await turns()
    assert peer.got == [("binary", b"short")]
    assert peer.connection.messages_sent == 1
