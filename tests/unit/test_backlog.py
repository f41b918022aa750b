"""What a slow peer is not sent: which messages go, which never do, and that what leaves is in order and whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes import Peer, turns
from judge import PING, TEXT, close_payload, judge

from firefly_ws import DONE, BinaryFrame, ConnectionClosed, PingFrame, QueueOverflow, TextFrame
from firefly_ws._core.backlog import Backlog
from firefly_ws._core.chain import Chain
from firefly_ws._core.deflate import Deflate
from firefly_ws.streaming import send_stream

WATER = {"write_high_water": 1000, "write_low_water": 500}


async def stuck(how: str, **more: Any) -> Peer:
    """A connection whose peer reads nothing, with one message in its transport."""
    peer = Peer(limits={**WATER, "slow_consumer": how, **more.pop("limits", {})}, **more)
    peer.transport.stuck = True
    peer.connection.send("first")
    await turns()
    return peer


def texts(peer: Peer) -> list[str]:
    return [event[1] for event in peer.got if event[0] == "text"]


def of(number: int, size: int = 100) -> str:
    return f"{number}".ljust(size)


async def test_the_oldest_that_have_not_left_are_dropped_above_high_water() -> None:
    peer = await stuck("drop_oldest")
    for number in range(100):
        assert peer.connection.send(of(number)) is DONE
    assert peer.connection.buffered_amount <= 1000
    assert peer.connection.is_writable
    dropped = peer.connection.messages_dropped
    assert peer.connection.messages_sent == 1
    peer.transport.take()
    await turns()
    assert texts(peer) == ["first", *[of(number) for number in range(dropped, 100)]]
    assert peer.connection.messages_sent + dropped == 101
    assert peer.connection.buffered_amount == 0
    assert peer.connection.flush() is DONE


async def test_a_message_larger_than_all_that_may_wait_stands_alone() -> None:
    peer = await stuck("drop_oldest", limits={"max_write_buffer": 10_000})
    peer.connection.send(of(1))
    peer.connection.send(of(2, 5000))
    assert peer.connection.messages_dropped == 1
    with pytest.raises(QueueOverflow):
        peer.connection.send(of(3, 10_001))
    peer.transport.take()
    await turns()
    assert texts(peer) == ["first", of(2, 5000)]


async def test_a_newer_one_of_a_key_takes_the_place_of_the_older() -> None:
    peer = await stuck("latest")
    connection = peer.connection
    connection.send_latest("A1", "a")
    connection.send("between")
    connection.send_latest(TextFrame("B1"), "b")
    connection.send_latest(b"A2", "a")
    connection.send_latest("C1", ("c", 1))
    connection.send_latest(bytearray(b"A3"), "a")
    connection.send_latest(BinaryFrame(b"B2"), "b")
    assert connection.messages_dropped == 3
    peer.transport.take()
    await turns()
    assert peer.got == [
        ("text", "first"), ("binary", b"A3"), ("text", "between"), ("binary", b"B2"), ("text", "C1"),
    ]  # fmt: skip
    connection.send_latest("A4", "a")
    connection.send_latest("A5", "a")
    await turns()
    assert texts(peer)[-2:] == ["A4", "A5"], "a peer that keeps up gets all of them"


async def test_with_latest_what_has_no_key_waits_as_ever_and_many_of_one_key_cost_one() -> None:
    peer = await stuck("latest", limits={"max_write_buffer": 2000})
    for number in range(1000):
        assert peer.connection.send_latest(of(number), "a") is DONE
    waiting = [peer.connection.send(of(number)) for number in range(15)][-1]
    assert waiting is not DONE
    assert not peer.connection.is_writable
    with pytest.raises(QueueOverflow):  # noqa: PT012
        for number in range(10):
            peer.connection.send(of(number))
    assert peer.connection.send_latest(of(1000), "a") is waiting
    peer.transport.take()
    await asyncio.wait_for(waiting, 1)
    assert texts(peer)[1:3] == [of(1000), of(0)]


async def test_control_frames_are_never_dropped_and_a_close_comes_behind_what_waits() -> None:
    peer = await stuck("drop_oldest")
    trip = peer.connection.ping(b"ours")
    for number in range(30):
        peer.connection.send(of(number))
    peer.send(PING, b"theirs")
    dropped = peer.connection.messages_dropped
    ending = peer.connection.close(1000, "end")
    peer.transport.take()
    await turns()
    assert [event for event in peer.got if event[0] != "text"] == [
        ("pong", b"theirs"), ("ping", b"ours"), ("close", 1000, "end"),
    ]  # fmt: skip
    assert peer.got[-1][0] == "close"
    assert texts(peer) == ["first", *[of(number) for number in range(dropped, 30)]]
    peer.send(8, close_payload(1000))
    await ending
    with pytest.raises(ConnectionClosed):
        trip.result()


async def test_no_part_of_a_message_in_fragments_is_dropped_nor_overtaken() -> None:
    peer = await stuck("drop_oldest", limits={"max_write_buffer": None})
    for number in range(30):
        peer.connection.send(of(number))
    dropped = peer.connection.messages_dropped

    async def pieces() -> Any:
        for _ in range(3):
            yield "x" * 20_000
            peer.connection.send("meanwhile")

    sending = asyncio.ensure_future(send_stream(peer.connection, pieces()))
    await turns(10)
    peer.transport.take()
    await asyncio.wait_for(sending, 1)
    await turns()
    assert texts(peer) == [
        "first", *[of(number) for number in range(dropped, 30)], "x" * 60_000, *["meanwhile"] * 3,
    ]  # fmt: skip
    assert peer.connection.messages_dropped == dropped
    peer.transport.stuck = True
    for number in range(30):
        peer.connection.send(of(number))
    assert peer.connection.messages_dropped > dropped, "also behind a stream"


@pytest.mark.parametrize("takeover", [False, True])
async def test_what_is_dropped_has_not_been_in_the_compressors_window(takeover: bool) -> None:
    peer = await stuck("drop_oldest", deflate=Deflate(compress_takeover=takeover, threshold=0, level=6))
    for number in range(50):
        peer.connection.send(f"a phrase that comes again and again {number:>70}")
    dropped = peer.connection.messages_dropped
    assert dropped
    peer.transport.take()
    await turns()
    events = judge(b"".join(peer.transport.writes), "client", deflate=True, takeover=takeover)
    assert [text[-3:] for _, text in events] == ["rst", *[f"{number:>3}" for number in range(dropped, 50)]]


async def test_what_is_dropped_has_not_passed_an_extension() -> None:
    class Numbering:
        def __init__(self) -> None:
            self.seen = 0

        def encode(self, frame: Any) -> Any:
            self.seen += 1
            return (TextFrame(f"{self.seen} {frame.text}"),)

        def decode(self, frame: Any, limit: int | None) -> Any:
            return (frame,)

    peer = await stuck("drop_oldest", chain=Chain([("numbering", 0, Numbering())]))
    for number in range(50):
        peer.connection.send(of(number))
    peer.transport.take()
    await turns()
    assert [text.split()[0] for text in texts(peer)] == [str(number) for number in range(1, len(texts(peer)) + 1)]


async def test_an_error_of_compress_if_behind_the_send_ends_the_connection_with_1011() -> None:
    def refuse(payload: bytes) -> bool:
        if payload.startswith(b"bad"):
            raise KeyError("mine")
        return True

    peer = await stuck("drop_oldest", deflate=Deflate(threshold=0, compress_if=refuse))
    for text in ("one", "bad", "three"):
        peer.connection.send(text)
    peer.transport.take()
    await turns()
    data = b"".join(peer.transport.writes)
    assert judge(data, "client", deflate=True) == [
        ("text", "first"), ("text", "one"), ("text", "three"), ("close", 1011, ""),
    ]  # fmt: skip
    assert isinstance(peer.connection.error, KeyError)


async def test_the_transport_is_fed_little_by_little() -> None:
    peer = await stuck("drop_oldest", limits={"write_high_water": 1 << 20, "write_low_water": 0})
    for number in range(9):
        peer.connection.send(of(number, 100_000))
    peer.transport.take(len(peer.transport.waiting))
    await turns()
    assert 64_000 < len(peer.transport.waiting) < 210_000
    assert 700_000 <= peer.connection._backlog.size < 900_001
    peer.transport.take()
    await turns()
    assert texts(peer) == ["first", *[of(number, 100_000) for number in range(9)]]


async def test_in_one_turn_no_more_than_a_little_is_put_where_it_cannot_be_dropped() -> None:
    peer = Peer(limits={"slow_consumer": "drop_oldest", "write_high_water": 1 << 20})
    peer.transport.stuck = True
    for number in range(100):
        peer.connection.send(of(number, 50_000))
    assert len(peer.transport.waiting) < 200_000
    assert peer.connection.buffered_amount < (1 << 20) + 1


async def test_the_end_of_the_connection_forgets_what_waits_and_sends_raise_as_ever() -> None:
    peer = await stuck("latest")
    waiting = [peer.connection.send(of(number)) for number in range(20)][-1]
    peer.lose()
    await turns()
    assert peer.connection.buffered_amount == 0
    with pytest.raises(ConnectionClosed):
        await waiting
    with pytest.raises(ConnectionClosed, match="send"):
        peer.connection.send_latest("x", "a")


async def test_a_close_policy_closes_with_1013_where_others_raise_and_loses_nothing_before() -> None:
    peer = await stuck("close", limits={"max_write_buffer": 2000})
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012
        for number in range(100):
            peer.connection.send(of(number))
    assert caught.value.code == 1013
    assert caught.value.sent is not None
    with pytest.raises(ConnectionClosed):
        peer.connection.send("more")
    peer.transport.take()
    await turns()
    assert texts(peer)[1:] == [of(number) for number in range(len(texts(peer)) - 1)]
    _, code, text = peer.got[-1]
    assert code == 1013
    assert "max_write_buffer=2000" in text
    peer.send(8, close_payload(1013))
    await turns()


@pytest.mark.parametrize("how", ["wait", "close", "drop_oldest"])
async def test_a_key_with_another_policy_is_refused_with_what_to_set(how: str) -> None:
    peer = Peer(limits={"slow_consumer": how})
    with pytest.raises(ValueError, match=r"\.slow_consumer\('latest'\)"):
        peer.connection.send_latest("x", "a")


async def test_a_key_is_a_value_and_what_is_sent_a_message() -> None:
    connection = Peer(limits={"slow_consumer": "latest"}).connection
    with pytest.raises(TypeError, match="key=None"):
        connection.send_latest("x", None)
    with pytest.raises(TypeError, match="unhashable"):
        connection.send_latest("x", [])
    with pytest.raises(TypeError, match="not int"):
        connection.send_latest(5, "a")
    with pytest.raises(ValueError, match="PingFrame"):
        connection.send_latest(PingFrame(b""), "a")


async def test_a_callback_whose_sends_are_dropped_gets_its_next_message() -> None:
    heard: list[str] = []

    def on_text(text: str, connection: Any) -> None:
        heard.append(text)
        for _ in range(50):
            connection.send(of(0))

    peer = await stuck("drop_oldest", text=on_text)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
    await turns()
    assert heard == ["0", "1", "2", "3", "4"]


async def test_pings_and_pongs_of_ours_are_bounded() -> None:
    peer = await stuck("wait", limits={"max_pending_pings": 3, "max_write_buffer": 2000})
    for _ in range(3):
        peer.connection.ping()
    said = r"^4 pings .* max_pending_pings=3; .*\.max_pending_pings\(number\)"
    with pytest.raises(QueueOverflow, match=said) as error:
        peer.connection.ping()
    assert (error.value.size, error.value.limit, error.value.option) == (4, 3, "max_pending_pings")
    with pytest.raises(QueueOverflow, match="max_write_buffer"):  # noqa: PT012
        for _ in range(100):
            peer.connection.pong(bytes(100))
    peer.lose()
    await turns()


async def test_owed_pongs_and_pings_of_the_library_do_not_add_up_behind_a_blocked_transport() -> None:
    for is_client in (False, True):
        peer = await stuck("wait", is_client=is_client, limits={"ping_interval": 1})
        for number in range(1000):
            peer.send(PING, b"%d" % number)
        assert peer.connection.buffered_amount < 100
        peer.transport.take()
        await turns()
        assert [event for event in peer.got if event[0] == "pong"] == [("pong", b"999")]


async def test_a_backlog_is_what_its_connection_has() -> None:
    assert Peer().connection._backlog is None
    peer = Peer(limits={"slow_consumer": "latest"})
    assert isinstance(peer.connection._backlog, Backlog)
    assert peer.connection._backlog.replacing
