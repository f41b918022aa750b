"""Deadlines of one length for many, on one timer; on a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

import pytest

from firefly_ws.deadlines import Deadlines

LOOK = 0.001


class Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The two calls of a loop that deadlines make."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    @property
    def waiting(self) -> list[float]:
        return [timer.when for timer in self.timers if not timer.cancelled]

    def turn(self, now: float) -> None:
        """Time is *now*, and who is late by then is judged, which takes a second timer."""
        self._run(now)
        if self.timers and min(timer.when for timer in self.timers) <= now + LOOK:
            self._run(now + LOOK)
            self.now = now

    def _run(self, now: float) -> None:
        self.now = now
        ready = [timer for timer in self.timers if timer.when <= now]
        self.timers = [timer for timer in self.timers if timer.when > now]
        for timer in ready:
            if not timer.cancelled:
                timer.callback()


def made(seconds: float | None) -> tuple[Clock, list[Hashable], Deadlines]:
    clock: Any = Clock()
    late: list[Hashable] = []
    return clock, late, Deadlines(clock, seconds, late.append)


def test_an_item_is_due_when_its_time_is_over() -> None:
    clock, late, deadlines = made(10)
    deadlines.add("a")
    clock.turn(109.9)
    assert late == []
    clock.turn(110)
    assert late == ["a"]
    clock.turn(1000)
    assert late == ["a"]


def test_one_timer_serves_them_all_and_each_gets_its_whole_time() -> None:
    clock, late, deadlines = made(10)
    for number in range(5):
        deadlines.add(number)
        assert clock.waiting == [110]
        clock.turn(clock.now + 1)
    clock.turn(110)
    assert late == [0]
    assert clock.waiting == [111]
    clock.turn(111)
    clock.turn(112)
    assert late == [0, 1, 2]
    clock.turn(113)
    clock.turn(114)
    assert late == [0, 1, 2, 3, 4]
    assert clock.waiting == []


def test_a_discarded_item_is_never_due() -> None:
    clock, late, deadlines = made(10)
    deadlines.add("a")
    deadlines.add("b")
    deadlines.discard("a")
    deadlines.discard("never added")
    clock.turn(110)
    assert late == ["b"]


def test_an_item_that_is_added_again_begins_again() -> None:
    clock, late, deadlines = made(10)
    deadlines.add("a")
    clock.turn(105)
    deadlines.add("b")
    deadlines.discard("a")
    deadlines.add("a")
    clock.turn(114)
    assert late == []
    clock.turn(115)
    assert late == ["b", "a"]


def test_none_is_no_deadline() -> None:
    clock, late, deadlines = made(None)
    deadlines.add("a")
    assert clock.waiting == []
    deadlines.discard("a")
    deadlines.clear()
    assert late == []


def test_zero_seconds_are_due_at_the_next_turn() -> None:
    clock, late, deadlines = made(0)
    deadlines.add("a")
    clock.turn(100)
    assert late == ["a"]


def test_clear_forgets_all_and_the_timer() -> None:
    clock, late, deadlines = made(10)
    deadlines.add("a")
    deadlines.clear()
    assert clock.waiting == []
    clock.turn(200)
    assert late == []
    deadlines.add("b")
    clock.turn(210)
    assert late == ["b"]


def test_what_is_due_may_add_and_discard() -> None:
    clock: Any = Clock()
    late: list[Hashable] = []

    def due(item: Hashable) -> None:
        late.append(item)
        deadlines.discard("b")
        if item == "a":
            deadlines.add("c")

    deadlines = Deadlines(clock, 10, due)
    deadlines.add("a")
    deadlines.add("b")
    clock.turn(110)
    assert late == ["a"]
    assert clock.waiting == [pytest.approx(120, abs=2 * LOOK)]
    clock.turn(120.01)
    clock.turn(120.02)
    assert late == ["a", "c"]


def test_the_deadline_of_what_is_added_meanwhile_delays_nobody_elses() -> None:
    clock: Any = Clock()
    late: list[Hashable] = []

    def due(item: Hashable) -> None:
        late.append(item)
        if item == "a":
            deadlines.add("c")

    deadlines = Deadlines(clock, 10, due)
    deadlines.add("a")
    clock.turn(105)
    deadlines.add("b")
    clock.turn(110)
    assert clock.waiting == [115]
    clock.turn(115)
    assert late == ["a", "b"]
    assert clock.waiting == [pytest.approx(120, abs=2 * LOOK)]
    clock.turn(120.01)
    clock.turn(120.02)
    assert late == ["a", "b", "c"]


def test_behind_a_turn_that_took_long_what_has_come_meanwhile_is_not_late() -> None:
    clock, late, deadlines = made(10)
    deadlines.add("a")
    deadlines.add("b")
    clock.turn(113)  # 3 s late: so much longer everybody has
    assert late == []
    assert clock.waiting == [116]
    deadlines.discard("a")
    deadlines.add("c")
    clock.turn(116)
    assert late == ["b"]
    assert clock.waiting == [123]


def test_nobody_gets_more_than_the_same_time_again_however_late_the_timer_was() -> None:
    clock, late, deadlines = made(10)
    deadlines.add("a")
    clock.turn(1000)
    assert clock.waiting == [1010]
    clock.turn(1010)
    assert late == ["a"]


def test_an_error_of_one_does_not_keep_the_others_waiting_for_ever() -> None:
    clock: Any = Clock()
    late: list[Hashable] = []

    def due(item: Hashable) -> None:
        late.append(item)
        if item == "a":
            raise RuntimeError("of a")

    deadlines = Deadlines(clock, 10, due)
    deadlines.add("a")
    deadlines.add("b")
    with pytest.raises(RuntimeError, match="of a"):
        clock.turn(110)
    clock.turn(110)
    assert late == ["a", "b"]


async def test_on_a_real_loop() -> None:
    late: asyncio.Queue[Hashable] = asyncio.Queue()
    deadlines = Deadlines(asyncio.get_running_loop(), 0.01, late.put_nowait)
    for item in range(3):
        deadlines.add(item)
    assert [await asyncio.wait_for(late.get(), 5) for _ in range(3)] == [0, 1, 2]
