"""Callbacks of control frames and frames that do not end: how many of them a peer can begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import BYE, Peer, turns
from judge import CLOSE, CONT, PING, PONG, TEXT

KINDS = pytest.mark.parametrize("slot", ["ping", "pong", "frame"])
OPCODE = {"ping": PING, "pong": PONG, "frame": TEXT}


class Slow:
    """A callback that ends when it is released."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.release = asyncio.Event()

    async def __call__(self, what: object, connection: object) -> None:
        self.begun += 1
        await self.release.wait()
        self.ended += 1


def peer(slot: str, callback: Callable[..., object], **how: Any) -> Peer:
    return Peer(**{"limits": {"max_queue": 4}, slot: callback, **how})


@KINDS
async def test_beyond_max_queue_reading_pauses_until_one_has_ended(slot: str) -> None:
    slow, got = Slow(), list[str]()
    one = peer(slot, slow, text=lambda text, connection: got.append(text))
    for _ in range(50):
        one.feed(*[one.frame(OPCODE[slot], b"x")] * 20)
        await turns(1)
        if not one.transport.reading:
            break
    assert slow.begun == 4
    assert not one.transport.reading
    slow.release.set()
    await turns(60)
    assert slow.begun == slow.ended == 20
    assert one.transport.reading
    assert len(got) == (20 if slot == "frame" else 0)


async def test_fragments_of_one_message_are_bounded_as_well() -> None:
    slow = Slow()
    one = peer("frame", slow)
    one.feed(one.frame(TEXT, b"x", fin=False), *[one.frame(CONT, b"x", fin=False)] * 20)
    assert slow.begun == 4
    slow.release.set()
    await turns(60)
    assert slow.begun == 21


async def test_messages_between_them_keep_their_order() -> None:
    slow, got = Slow(), list[str]()
    one = peer("ping", slow, text=lambda text, connection: got.append(text))
    for number in range(20):
        one.feed(one.frame(PING, b"x"), one.frame(TEXT, str(number).encode()))
        if not one.transport.reading:
            slow.release.set()
            await turns(5)
    await turns(20)
    assert got == [str(number) for number in range(20)]


async def test_a_long_on_accept_does_not_count() -> None:
    slow, got = Slow(), list[bytes]()

    async def on_accept(connection: object) -> None:
        await slow.release.wait()

    one = Peer(limits={"max_queue": 1}, accept=on_accept, ping=lambda data, connection: got.append(data))
    one.feed(*[one.frame(PING, b"x")] * 20)
    assert len(got) == 20
    slow.release.set()
    await turns()


async def test_without_a_bound_there_is_none() -> None:
    slow = Slow()
    one = Peer(limits={"max_queue": None}, ping=slow)
    one.feed(*[one.frame(PING, b"x")] * 200)
    assert slow.begun == 200
    slow.release.set()
    await turns()


@pytest.mark.parametrize("how", ["close", "lost"])
async def test_the_end_does_not_wait_for_them_longer_than_close_timeout(how: str) -> None:
    slow, closed = Slow(), list[object]()
    one = peer(
        "ping", slow, close=lambda connection, reason: closed.append(reason),
        limits={"max_queue": 4, "close_timeout": 0.02},
    )  # fmt: skip
    one.feed(*[one.frame(PING, b"x")] * 20, one.frame(CLOSE, BYE))
    if how == "close":
        one.connection.close()
    else:
        one.lose()
    async with asyncio.timeout(5):
        await one.connection.wait_finished()
    assert len(closed) == 1
    slow.release.set()
    await turns()
    assert slow.begun == slow.ended
