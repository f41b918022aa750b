"""Receiving from another loop and from another thread: who is refused, and what a cancelled handle leaves."""

from __future__ import annotations

import asyncio

import pytest
from fakes import Peer, turns
from judge import TEXT

from firefly_ws.receiving import Receiving
from firefly_ws.threads import ThreadSafeConnection


def puller() -> Peer:
    """A peer of a connection that is read by asking."""
    return Peer(kind=Receiving, pull=True)


async def test_a_handle_that_is_cancelled_as_its_message_comes_has_not_taken_it() -> None:
    peer = puller()
    one = ThreadSafeConnection(peer.connection)
    for number in (1, 2):
        handle = await asyncio.to_thread(one.receive)
        await turns(10)
        with pytest.raises(RuntimeError, match="is waiting in receive"):
            await peer.connection.receive()
        peer.send(TEXT, b"%d" % number)
        # Woken, and not run yet: the message is still there, and stays.
        assert handle.cancel()
        await turns(10)
        assert len(peer.connection._inbox) == 1
        assert await peer.connection.receive() == str(number)


def test_another_loop_is_told_so_in_words_of_ours() -> None:
    with asyncio.Runner() as mine:

        async def begin() -> Peer:
            return puller()

        peer = mine.run(begin())
        with asyncio.Runner() as other:
            for read in (
                peer.connection.receive,
                peer.connection.incoming.receive,
                peer.connection.receive_stream().__anext__,
            ):
                with pytest.raises(RuntimeError, match=r"the loop that it was made on.*connection\.threadsafe"):
                    other.run(read())

        async def end() -> None:
            peer.send(TEXT, b"x")
            assert await peer.connection.receive() == "x"

        mine.run(end())
