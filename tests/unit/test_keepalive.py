"""Silence, on a clock that the test turns: when a peer is asked, what counts as life, and what ends a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from clock import ASKING, block, closed, pings, timer, wait
from fakes import BYE, ROLES, Log, Peer, turns
from judge import BINARY, CLOSE, PONG, TEXT

from firefly_ws import CloseReason, PingTimeout
from firefly_ws._core.probe import pass_time

# ---- what costs nothing --------------------------------------------------------------------------------------------


@ROLES
async def test_with_the_default_policy_an_open_connection_has_no_timer(is_client: bool) -> None:
    peer = Peer(is_client=is_client)
    peer.send(TEXT, b"x")
    peer.connection.send("y")
    assert timer() is None
    await wait(100_000)
    assert peer.connection.is_open


async def test_the_timer_ends_with_the_last_connection() -> None:
    first, second = Peer(limits=ASKING), Peer(limits=ASKING)
    assert timer() is not None
    first.lose()
    assert timer() is not None
    second.lose()
    assert timer() is None


# ---- pings ---------------------------------------------------------------------------------------------------------


@ROLES
async def test_a_ping_goes_after_that_much_silence(is_client: bool) -> None:  # C1
    peer = Peer(is_client=is_client, limits=ASKING)
    await wait(19.9)
    assert pings(peer) == []
    await wait(0.2)
    assert len(pings(peer)) == 1


async def test_any_byte_puts_the_ping_off() -> None:
    peer = Peer(limits=ASKING)
    frame = peer.frame(TEXT, b"a long message of which a byte comes now and then")
    for index in range(20):
        await wait(15)
        peer.feed(frame[index : index + 1])
    assert pings(peer) == []
    await wait(20.1)
    assert len(pings(peer)) == 1


async def test_an_answer_begins_the_silence_anew_and_gives_the_latency() -> None:
    pongs = Log()
    peer = Peer(limits=ASKING, **pongs.on("pong"))
    for number in range(1, 4):
        await wait(20.1)
        (*_, payload) = pings(peer)
        assert len(pings(peer)) == number
        pass_time(0.25)
        peer.send(PONG, payload)
        assert 0.05 < peer.connection.latency < 10  # since the Ping, not since the last byte; the machine may be busy
        assert pongs[-1] == ("pong", payload)
    assert peer.connection.is_open


async def test_pings_go_as_often_as_the_interval_says_however_long_an_answer_may_take() -> None:
    for ping_timeout in (1, 20, 300, None):
        peer = Peer(limits={"ping_interval": 5, "ping_timeout": ping_timeout})
        for number in range(1, 11):
            await wait(5.1)
            assert len(pings(peer)) == number, f"ping_timeout={ping_timeout}"
            peer.send(PONG, pings(peer)[-1])
        peer.lose()


async def test_an_unanswered_ping_is_not_repeated_within_its_timeout() -> None:
    peer = Peer(limits={"ping_interval": 5, "ping_timeout": 20})
    await wait(24.9)
    assert len(pings(peer)) == 1
    assert peer.connection.is_open
    await wait(0.2)
    assert not peer.connection.is_open


async def test_no_two_pings_have_the_same_payload() -> None:
    peer = Peer(limits=ASKING)
    for _ in range(20):
        await wait(20.1)
        peer.send(PONG, pings(peer)[-1])
    assert len(set(pings(peer))) == 20


async def test_without_an_answer_it_ends_and_says_how_long_the_peer_was_silent() -> None:
    log = Log()
    peer = Peer(limits=ASKING, **log.on("error", "close"))
    await wait(29.9)
    assert peer.connection.is_open
    await wait(0.2)
    assert not peer.connection.is_open
    reason = await closed(peer)
    assert peer.transport.ended == "abort"
    (_, error), (_, told) = log
    assert isinstance(error, PingTimeout)
    assert 30 <= error.silence < 30.2
    assert error.limit == 30
    assert told == reason
    assert reason == CloseReason(1006, "the peer was silent for 30 s, more than ping_interval + ping_timeout = 30 s")


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PONG])
async def test_anything_else_than_the_pong_is_life_as_well(opcode: int) -> None:
    peer = Peer(limits=ASKING)
    await wait(25)
    peer.send(opcode, b"x")
    await wait(19.9)
    assert peer.connection.is_open
    assert len(pings(peer)) == 1
    await wait(0.2)
    assert len(pings(peer)) == 2
    await wait(10)
    assert (await closed(peer)).code == 1006


async def test_a_pong_that_comes_behind_other_bytes_still_gives_the_latency() -> None:
    peer = Peer(limits=ASKING)
    await wait(20.1)
    peer.send(TEXT, b"x")
    await wait(5)
    for other in (b"", b"none", pings(peer)[0] + b"!"):
        peer.send(PONG, other)  # nobody has asked for these (RFC 6455 §5.5.3)
    assert peer.connection.latency is None
    peer.send(PONG, pings(peer)[0])
    assert 4.7 < peer.connection.latency < 10


async def test_our_pong_answers_the_users_pings_before_it_and_theirs_not_ours() -> None:
    """RFC 6455 §5.5.3: the newest may be answered alone."""
    peer = Peer(limits=ASKING)
    before = peer.connection.ping(b"before")
    await wait(20.1)
    behind = peer.connection.ping(b"behind")
    peer.send(PONG, pings(peer)[1])
    assert before.done()
    assert not behind.done()
    peer.send(PONG, b"behind")
    assert behind.done()
    peer.connection.terminate()
    await turns()


async def test_without_ping_timeout_pings_go_on_and_nothing_ends() -> None:
    peer = Peer(limits={"ping_interval": 20, "ping_timeout": None})
    await wait(1000)
    assert peer.connection.is_open
    assert 45 <= len(pings(peer)) <= 50


async def test_one_ping_waits_for_its_answer_however_short_the_interval() -> None:
    peer = Peer(limits={"ping_interval": 1, "ping_timeout": 10})
    await wait(10.9)
    assert len(pings(peer)) == 1
    await wait(0.2)
    await closed(peer)


@pytest.mark.parametrize("how", ["close", "peer's close", "eof"])
async def test_nothing_is_asked_once_it_is_closing(how: str) -> None:
    release = asyncio.Event()

    async def on_text(text: str, connection: Any) -> None:
        await release.wait()

    peer = Peer(limits={**ASKING, "close_timeout": None}, text=on_text)
    if how == "close":
        peer.connection.close(1000)
    else:
        peer.send(TEXT, b"x")
        if how == "eof":
            peer.eof()
        else:
            peer.send(CLOSE, BYE)
    await wait(1000)
    assert pings(peer) == []
    assert peer.connection.error is None
    release.set()
    await turns()
    peer.lose()
    await closed(peer)


async def test_messages_that_had_come_are_delivered_behind_a_ping_timeout() -> None:
    release, log = asyncio.Event(), Log()

    async def on_text(text: str, connection: Any) -> None:
        log.append(text)
        await release.wait()

    peer = Peer(limits=ASKING, text=on_text, **log.on("error", "close"))
    peer.feed(peer.frame(TEXT, b"1"), peer.frame(TEXT, b"2"))
    await wait(31)
    await turns()
    release.set()
    await turns(10)
    assert log[:2] == ["1", "2"]
    assert [name for name, _ in log[2:]] == ["error", "close"]


# ---- what does not count -------------------------------------------------------------------------------------------


async def test_time_in_which_our_loop_was_blocked_does_not_count() -> None:
    peer = Peer(limits=ASKING)
    await wait(20.1)
    for _ in range(10):
        block(60)
    assert peer.connection.is_open
    await wait(8)
    assert peer.connection.is_open
    await wait(3)
    assert (await closed(peer)).code == 1006


async def test_what_came_while_the_loop_was_blocked_is_read_before_anything_is_judged() -> None:
    peer = Peer(limits={"ping_interval": 0.1, "ping_timeout": 0.1})
    await wait(0.15)
    block(5)
    peer.send(PONG, pings(peer)[0])
    await wait(0.09)
    assert peer.connection.is_open


async def test_paused_nobody_is_silent_and_the_silence_before_still_counts() -> None:
    peer = Peer(limits=ASKING)
    await wait(15)
    peer.connection.pause_reading()
    await wait(1000)
    assert pings(peer) == []
    peer.connection.resume_reading()
    await turns()
    await wait(4.8)
    assert pings(peer) == []
    await wait(0.3)
    assert len(pings(peer)) == 1
    peer.connection.pause_reading()
    await wait(1000)
    peer.connection.resume_reading()
    await turns()
    await wait(9.8)
    assert peer.connection.is_open
    await wait(0.3)
    await closed(peer)


async def test_a_full_queue_is_a_pause() -> None:
    release = asyncio.Event()

    async def on_text(text: str, connection: Any) -> None:
        await release.wait()

    peer = Peer(limits={**ASKING, "max_queue": 2}, text=on_text)
    peer.feed(*[peer.frame(TEXT, b"x")] * 5)
    assert not peer.transport.reading
    await wait(1000)
    assert pings(peer) == []
    release.set()
    await turns(20)
    await wait(19.8)
    assert pings(peer) == []
    await wait(0.3)
    assert len(pings(peer)) == 1


async def test_a_block_within_a_pause_is_not_taken_off_twice() -> None:
    peer = Peer(limits=ASKING)
    await wait(10)
    peer.connection.pause_reading()
    block(60)
    await wait(1)
    peer.connection.resume_reading()
    await turns()
    await wait(11)
    assert len(pings(peer)) == 1
