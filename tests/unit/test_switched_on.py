"""A limit of time that is switched on while others are in force: since when it counts, on a turned clock."""

from __future__ import annotations

from clock import limit, wait
from fakes import Peer, turns

OTHERS = {"idle_timeout": 10_000, "write_timeout": None}  # somebody looks after the connection already


async def ends_after(peer: Peer, seconds: float, *, later: float = 1) -> None:
    await wait(seconds - 0.1)
    assert not peer.connection.is_closed
    await wait(0.1 + later)
    await turns()
    assert peer.connection.is_closed


async def test_a_silence_of_long_ago_ends_nothing_when_a_limit_is_switched_on() -> None:  # S1, F10
    for name in ("read_timeout", "ping_interval"):
        peer = Peer(limits={**OTHERS, "ping_timeout": 10})
        await wait(1000)
        limit(peer, **{name: 30})
        await wait(29.9)
        assert peer.got == [], name
        await ends_after(peer, 0.2 if name == "read_timeout" else 10)


async def test_a_ping_that_nobody_has_answered_for_long_is_given_its_time_when_ping_timeout_is_switched_on() -> None:
    peer = Peer(limits={**OTHERS, "ping_interval": 20, "ping_timeout": None})
    await wait(1010)
    limit(peer, ping_timeout=10)
    await ends_after(peer, 30)


async def test_a_limit_that_is_switched_on_in_a_pause_begins_with_its_end() -> None:
    peer = Peer(limits=OTHERS)
    await wait(1000)
    peer.connection.pause_reading()
    await wait(1000)
    limit(peer, read_timeout=30)
    await wait(1000)
    peer.connection.resume_reading()
    await turns()
    await ends_after(peer, 30)


async def test_what_waited_before_does_not_count_for_a_write_timeout_that_is_switched_on() -> None:  # F10
    peer = Peer(limits=OTHERS)
    peer.transport.stuck = True
    peer.connection.send(bytes(10_000))
    await wait(1000)
    limit(peer, write_timeout=20)
    await ends_after(peer, 20, later=3)


async def test_a_limit_that_was_on_and_is_made_shorter_counts_what_has_been() -> None:  # S1
    peer = Peer(limits={**OTHERS, "read_timeout": 60})
    await wait(30)
    limit(peer, read_timeout=10)
    await wait(0.1)
    await turns()
    assert peer.connection.is_closed
