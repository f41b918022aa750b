"""What is sent exactly at a bound, and one more: water marks, the write buffer, the threshold of compression."""

from __future__ import annotations

import asyncio

import pytest
from fakes import Peer, turns

from firefly_ws import DONE, QueueOverflow
from firefly_ws._core.deflate import Deflate


def stuck(**limits: int) -> Peer:
    """A peer that takes nothing; 100 bytes wait for it in the transport."""
    peer = Peer(limits=limits)
    peer.transport.stuck = True
    assert peer.connection.send(bytes(98)) is DONE
    assert peer.connection.buffered_amount == 100
    return peer


async def test_at_the_high_mark_a_send_is_done_and_above_it_there_is_something_to_await() -> None:
    connection = stuck(write_high_water=600, write_low_water=300).connection
    assert connection.send(bytes(496)) is DONE
    assert connection.buffered_amount == 600
    assert connection.send(b"") is not DONE


async def test_at_the_low_mark_who_waits_goes_on() -> None:
    for low, done in ((299, False), (300, True)):
        peer = stuck(write_high_water=300, write_low_water=low)
        waiting = asyncio.ensure_future(peer.connection.send(bytes(296)))
        peer.transport.take(99)
        await turns()
        assert not waiting.done()
        peer.transport.take(1)
        await turns()
        assert peer.connection.buffered_amount == 300
        assert waiting.done() is done
        peer.transport.take()
        await asyncio.wait_for(waiting, 5)


async def test_what_fills_the_write_buffer_to_its_last_byte_is_taken_and_one_byte_more_is_not() -> None:
    connection = stuck(max_write_buffer=1000, write_high_water=1000, write_low_water=0).connection
    with pytest.raises(QueueOverflow) as caught:
        connection.send(bytes(901))
    assert (caught.value.size, caught.value.limit) == (1001, 1000)
    assert connection.buffered_amount == 100
    connection.send(bytes(900))


async def test_a_message_as_long_as_the_threshold_is_compressed_and_a_shorter_one_is_not() -> None:
    for size, first in ((64, 0xC1), (63, 0x81)):
        peer = Peer(deflate=Deflate(threshold=64))
        peer.connection.send("x" * size)
        assert peer.transport.writes[0][0] == first, size
