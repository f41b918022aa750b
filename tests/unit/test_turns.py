"""One `Turn` a loop."""

from __future__ import annotations

import asyncio

from firefly_ws.turns import turn_of


def test_a_loop_has_one_turn_and_another_loop_another() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        assert turn_of(first) is turn_of(first)
        assert turn_of(first).loop is first
        assert turn_of(second) is not turn_of(first)
    finally:
        first.close()
        second.close()


def test_loops_that_have_ended_are_forgotten() -> None:
    ended = asyncio.new_event_loop()
    turn_of(ended)
    ended.close()
    other = asyncio.new_event_loop()
    try:
        turn_of(other)
        assert ended not in turn_of._made
    finally:
        other.close()
