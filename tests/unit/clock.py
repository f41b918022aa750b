"""A clock that the test turns: `wait` lets time pass while the loop runs, `block` while a callback keeps it."""

from __future__ import annotations

import asyncio
from typing import Any

from fakes import Peer, turns

from firefly_ws import CloseReason
from firefly_ws._core.limits import Limits
from firefly_ws._core.probe import armed, now, pass_time, turn, wheel_of

ASKING = {"ping_interval": 20, "ping_timeout": 10}


async def wait(seconds: float) -> None:
    """Let time pass; the loop comes round whenever its timer is due."""
    wheel = wheel_of(asyncio.get_running_loop())
    end = now() + seconds
    while (due := armed(wheel)) is not None and due <= end:
        pass_time(max(due - now(), 0))
        turn(wheel)
        await turns(1)
    pass_time(max(end - now(), 0))
    await turns(1)


def block(seconds: float) -> None:
    """A callback takes so long; then the timer calls, before anything is read."""
    wheel = wheel_of(asyncio.get_running_loop())
    pass_time(seconds)
    due = armed(wheel)
    if due is not None and due <= now():
        turn(wheel)


def limit(peer: Peer, **changes: Any) -> None:
    """What a live setting does."""
    connection = peer.connection
    connection._limit(Limits(connection.policy.replace(**changes)), "test")


def pings(peer: Peer) -> list[bytes]:
    return [event[1] for event in peer.got if event[0] == "ping"]


async def closed(peer: Peer) -> CloseReason:
    await turns()
    assert peer.connection.is_closed
    assert timer() is None
    reason = peer.connection.close_reason
    assert reason is not None
    return reason


def timer() -> float | None:
    return armed(wheel_of(asyncio.get_running_loop()))
