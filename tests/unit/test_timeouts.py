"""Stuck bytes, missing messages, and limits changed while a connection is open, on a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from clock import ASKING, closed, limit, pings, timer, wait
from fakes import BYE, Log, Peer, turns
from judge import CLOSE, CONT, PONG, TEXT

from firefly_ws import CloseReason, ConnectionClosedOK, PingTimeout, ReadTimeout, WebSocketPolicy, WriteTimeout
from firefly_ws.streaming import send_stream

# ---- connection_timeout and read_timeout ---------------------------------------------------------------------------


async def test_connection_timeout_asks_after_half_of_it_and_drops_after_all() -> None:  # K5
    log = Log()
    peer = Peer(limits={"connection_timeout": 60}, **log.on("error"))
    await wait(29.9)
    assert pings(peer) == []
    await wait(0.2)
    assert len(pings(peer)) == 1
    await wait(29.7)
    assert peer.connection.is_open
    await wait(0.3)
    reason = await closed(peer)
    assert reason == CloseReason(1006, "the peer was silent for 60 s, more than connection_timeout = 60 s")
    assert isinstance(log[0][1], PingTimeout)
    assert (log[0][1].option, log[0][1].limit) == ("connection_timeout", 60)


async def test_an_answer_keeps_a_connection_with_connection_timeout() -> None:  # K5
    peer = Peer(limits={"connection_timeout": 60})
    for _ in range(20):
        await wait(30.1)
        peer.send(PONG, pings(peer)[-1])
    assert peer.connection.is_open
    assert len(pings(peer)) == 20


async def test_of_two_limits_the_earlier_holds() -> None:
    peer = Peer(limits={"ping_interval": 20, "ping_timeout": 4, "connection_timeout": 25})
    await wait(12.6)
    assert len(pings(peer)) == 1
    # The Ping went at half of the one, before the other asked for it: that ends nothing before its time.
    await wait(11)
    assert peer.connection.is_open
    await wait(0.5)
    message = (await closed(peer)).message
    assert message == "the peer was silent for 24 s, more than ping_interval + ping_timeout = 24 s"
    peer = Peer(limits={"ping_interval": 20, "ping_timeout": 100, "connection_timeout": 25})
    await wait(25.1)
    assert "connection_timeout" in (await closed(peer)).message


async def test_read_timeout_ends_without_asking() -> None:
    log = Log()
    peer = Peer(limits={"read_timeout": 30}, **log.on("error"))
    await wait(20)
    peer.send(TEXT, b"x")
    await wait(29.9)
    assert peer.connection.is_open
    await wait(0.2)
    assert await closed(peer) == CloseReason(1006, "the peer was silent for 30 s, more than read_timeout = 30 s")
    assert isinstance(log[0][1], ReadTimeout)
    assert log[0][1].limit == 30
    assert peer.got == []


async def test_read_timeout_holds_for_the_peers_close_as_well() -> None:
    peer = Peer(limits={"read_timeout": 30, "close_timeout": None})
    peer.connection.close(1000)
    await wait(20)
    peer.send(TEXT, b"x")
    await wait(29)
    assert not peer.connection.is_closed
    await wait(1.1)
    assert (await closed(peer)).code == 1006


# ---- write_timeout -------------------------------------------------------------------------------------------------


def stuck(**how: Any) -> Peer:
    peer = Peer(**how)
    peer.transport.stuck = True
    peer.connection.send(bytes(10_000))
    assert peer.connection.buffered_amount == 10_004
    return peer


async def test_a_peer_that_takes_nothing_for_write_timeout_is_dropped() -> None:
    log = Log()
    peer = stuck(**log.on("error"))
    await wait(29.9)
    assert peer.connection.is_open
    await wait(4)
    reason = await closed(peer)
    assert reason.code == 1006
    assert "the peer took nothing of 10004 waiting bytes for 30 s, more than write_timeout = 30 s" in reason.message
    (_, error), *_ = log
    assert isinstance(error, WriteTimeout)
    assert (error.limit, error.waiting) == (30, 10_004)
    assert error.stuck >= 30


async def test_a_byte_now_and_then_is_progress() -> None:
    peer = stuck()
    for _ in range(20):
        await wait(25)
        peer.transport.take(1)
    assert peer.connection.is_open
    await wait(34)
    await closed(peer)


async def test_once_all_is_written_there_is_no_timer() -> None:
    peer = stuck()
    assert timer() is not None
    peer.transport.take()
    await wait(5)
    assert timer() is None
    await wait(1000)
    assert peer.connection.is_open


@pytest.mark.parametrize("how", ["close", "drop", "peer", "violation"])
async def test_write_timeout_holds_in_every_state(how: str) -> None:
    peer = stuck(limits={"close_timeout": None})
    if how == "close":
        peer.connection.close(1000)
    elif how == "drop":
        peer.connection.drop()
    elif how == "peer":
        peer.send(CLOSE, BYE)
    else:
        peer.send(CONT, b"x")
    await turns()
    await wait(29)
    assert not peer.connection.is_closed
    await wait(5)
    await turns()
    assert peer.connection.is_closed
    assert timer() is None


async def test_none_waits_for_ever() -> None:
    peer = stuck(limits={"write_timeout": None})
    assert timer() is None
    await wait(100_000)
    assert peer.connection.is_open


async def test_while_bytes_are_taken_the_peer_is_not_silent_and_then_it_is() -> None:
    peer = stuck(limits={**ASKING, "write_timeout": None})
    for _ in range(20):
        await wait(9)
        peer.transport.take(1)
    assert peer.connection.is_open
    await wait(33)
    await closed(peer)


async def test_behind_a_stuck_transport_the_ping_goes_before_whole_frames() -> None:
    peer = stuck(limits={**ASKING, "write_timeout": None})
    peer.connection.send("behind")
    await wait(23)
    peer.transport.take()
    await turns()
    assert [event[0] for event in peer.got] == ["binary", "ping", "text"]


async def test_an_error_before_it_is_what_on_error_is_told() -> None:
    def fails(text: str, connection: Any) -> None:
        raise RuntimeError("mine")

    log = Log()
    peer = stuck(limits={"close_timeout": None}, text=fails, **log.on("error"))
    peer.send(TEXT, b"x")
    await wait(34)
    assert (await closed(peer)).code == 1006
    assert [type(error) for _, error in log] == [RuntimeError]


async def test_who_takes_nothing_while_we_hold_him_back_for_his_rate_or_a_pause_is_not_asked() -> None:
    rates = {"max_message_rate": 1, "rate_burst": 1, "over_rate": "pause"}
    for why in ("rate", "pause"):
        peer = stuck(limits={**ASKING, **rates, "write_timeout": None})
        if why == "rate":
            peer.feed(peer.frame(TEXT, b"x") * 100)
        else:
            peer.connection.pause_reading()
        await wait(60)
        assert peer.connection.is_open, why
        peer.lose()
        await closed(peer)


# ---- idle_timeout --------------------------------------------------------------------------------------------------


async def test_without_a_message_for_idle_timeout_it_closes_with_1001() -> None:
    log = Log()
    peer = Peer(limits={"idle_timeout": 60}, **log.on("error", "close"))
    await wait(59.9)
    assert peer.connection.is_open
    await wait(0.2)
    assert peer.got == [("close", 1001, "no message for 60 s (idle_timeout=60)")]
    peer.send(CLOSE, b"\x03\xe9")
    assert (await closed(peer)).code == 1001
    assert [name for name, _ in log] == ["close"]


@pytest.mark.parametrize("ours", [False, True])
async def test_a_message_in_either_direction_keeps_it(ours: bool) -> None:
    peer = Peer(limits={"idle_timeout": 60})
    for _ in range(20):
        await wait(50)
        if ours:
            peer.connection.send("x")
        else:
            peer.send(TEXT, b"x")
    assert peer.connection.is_open
    await wait(68)
    assert not peer.connection.is_open


async def test_pings_and_pongs_are_no_messages() -> None:
    peer = Peer(limits={"idle_timeout": 60, "ping_interval": 7})
    for _ in range(9):
        await wait(7)
        peer.send(9, b"x")
        peer.send(PONG, b"y")
    assert not peer.connection.is_open


async def test_a_message_on_its_way_or_being_worked_on_keeps_it() -> None:
    release = asyncio.Event()

    async def on_text(text: str, connection: Any) -> None:
        await release.wait()

    peer = Peer(limits={"idle_timeout": 60}, text=on_text)
    peer.send(TEXT, b"x", fin=False)
    for _ in range(10):
        await wait(50)
        peer.send(CONT, b"x", fin=False)
    peer.send(CONT, b"x")
    await wait(1000)
    assert peer.connection.is_open
    release.set()
    await turns()
    await wait(59)
    assert peer.connection.is_open
    await wait(9)
    assert not peer.connection.is_open


async def test_a_message_of_ours_in_pieces_keeps_it_until_nothing_more_of_it_comes() -> None:
    peer = Peer(limits={"idle_timeout": 60})
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def source() -> AsyncIterator[bytes]:
        while True:
            yield await pieces.get()

    sending = asyncio.ensure_future(send_stream(peer.connection, source()))
    for _ in range(10):
        pieces.put_nowait(b"x")
        await turns(5)
        await wait(50)
    assert peer.connection.is_open
    await wait(20)
    assert not peer.connection.is_open
    pieces.put_nowait(b"x")
    with pytest.raises(ConnectionClosedOK):
        await asyncio.wait_for(sending, 5)


async def test_behind_our_close_nobody_is_idle() -> None:
    peer = Peer(limits={"idle_timeout": 60, "close_timeout": None})
    await wait(10)
    peer.connection.close(1000, "bye")
    await turns()
    sent = b"".join(peer.transport.writes)
    await wait(1000)
    assert b"".join(peer.transport.writes) == sent  # RFC 6455 §5.5.1: nothing follows a Close
    peer.send(CLOSE, BYE)
    assert (await closed(peer)).code == 1000


# ---- live settings -------------------------------------------------------------------------------------------------


async def test_a_limit_that_is_set_on_an_open_connection_begins_then() -> None:  # S1
    peer = Peer()
    await wait(1000)
    limit(peer, ping_interval=20, ping_timeout=10)
    await wait(19.9)
    assert pings(peer) == []
    await wait(0.2)
    assert len(pings(peer)) == 1
    limit(peer, ping_timeout=3)
    await wait(3)
    await closed(peer)


async def test_a_limit_that_is_taken_away_holds_no_more_and_the_timer_ends() -> None:  # S1
    peer = Peer(limits={**ASKING, "read_timeout": 40, "idle_timeout": 40})
    await wait(25)
    limit(peer, ping_interval=None, read_timeout=None, idle_timeout=None)
    await wait(1000)
    assert peer.connection.is_open
    assert timer() is None


async def test_write_timeout_may_be_set_while_bytes_wait() -> None:  # F10
    peer = stuck(limits={"write_timeout": None})
    limit(peer, write_timeout=5)
    await wait(6)
    await closed(peer)


async def test_a_limit_may_be_set_while_paused_and_behind_the_end() -> None:
    peer = Peer()
    peer.connection.pause_reading()
    limit(peer, ping_interval=20)
    await wait(100)
    assert pings(peer) == []
    peer.connection.resume_reading()
    await turns()
    await wait(20.1)
    assert len(pings(peer)) == 1
    peer.lose()
    await closed(peer)
    limit(peer, ping_interval=5)
    assert timer() is None
    assert peer.connection.policy == WebSocketPolicy(ping_interval=5)


async def test_a_message_size_set_below_what_has_come_ends_at_the_next_byte() -> None:  # S1
    peer = Peer()
    peer.send(TEXT, b"x" * 100, fin=False)
    limit(peer, max_message_size=50)
    peer.send(CONT, b"", fin=False)
    assert peer.connection.is_open
    peer.send(CONT, b"y", fin=False)
    assert peer.got[0][:2] == ("close", 1009)


async def test_a_frame_size_holds_from_the_next_frame() -> None:  # S1
    peer = Peer()
    peer.send(TEXT, b"x" * 100)
    limit(peer, max_frame_size=50)
    peer.send(TEXT, b"x" * 51)
    assert peer.got[0][:2] == ("close", 1009)
