"""Where the pieces of a sent message come from: many at once, sources that send as well, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fakes import Peer, turns

from firefly_ws.streaming import send_stream


@pytest.mark.parametrize("piece", [b"x", b""], ids=["bytes", "nothing"])
async def test_an_iterable_of_tiny_pieces_or_of_none_leaves_the_loop_to_others_too(piece: bytes) -> None:
    # Only bytes were counted: half a million pieces of one byte were one turn's work, and empty ones without an end.
    peer = Peer()
    rounds = 0

    def count() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    count()
    await send_stream(peer.connection, (piece for _ in range(100_000)))
    assert rounds > 10
    await turns()
    assert peer.got == [("binary", piece * 100_000)]
    assert len(b"".join(peer.transport.writes)) <= len(piece) * 100_000 + 8 * 4


@pytest.mark.parametrize("what", ["send", "flush", "send_stream"])
async def test_pieces_that_wait_for_the_end_of_their_own_message_are_told_so(what: str) -> None:
    # It waited for ever, and the connection's sends with it.
    peer = Peer(limits={"max_write_buffer": None})

    async def source() -> AsyncIterator[str]:
        peer.connection.send("behind")
        yield "a"
        if what == "send":
            await peer.connection.send("never waited for")
        elif what == "flush":
            await peer.connection.flush()
        else:
            await send_stream(peer.connection, ["b"])

    with pytest.raises(RuntimeError, match="cannot wait for its end"):
        await send_stream(peer.connection, source())
    await turns()
    if what == "flush":
        # It has what there was of the message leave.
        assert peer.connection.close_sent.code == 1011
    else:
        assert peer.got == [("text", "behind"), ("text", "never waited for")][: 1 + (what == "send")]


async def test_another_task_may_wait_for_the_end_of_a_stream_that_the_pieces_have_begun() -> None:
    peer = Peer()
    waiting: list[Any] = []

    async def source() -> AsyncIterator[str]:
        yield "a"
        waiting.append(asyncio.ensure_future(peer.connection.send("c")))
        await turns()
        yield "b"

    await send_stream(peer.connection, source())
    await waiting[0]
    assert peer.got == [("text", "ab"), ("text", "c")]


async def test_a_generator_that_is_left_early_is_closed_also_where_somebody_keeps_it() -> None:
    # An asynchronous one was; a file, which has a close() as well, stays open.
    peer = Peer()
    closed: list[str] = []

    def pieces() -> Iterator[Any]:
        try:
            yield "a"
            yield 5
        finally:
            closed.append("generator")

    class File:
        def __iter__(self) -> Iterator[Any]:
            return iter(["a", 5])

        def close(self) -> None:
            closed.append("file")

    kept = pieces()
    for source in (kept, File()):
        with pytest.raises(TypeError):
            await send_stream(peer.connection, source)
    assert closed == ["generator"]


async def test_an_asynchronous_generator_is_closed_when_its_stream_has_ended_not_when_it_is_collected() -> None:
    peer = Peer()
    closed: list[str] = []

    async def pieces() -> AsyncIterator[Any]:
        try:
            yield "a"
            yield 5
        finally:
            closed.append("yes")

    kept = pieces()
    with pytest.raises(TypeError):
        await send_stream(peer.connection, kept)
    assert closed == ["yes"]
