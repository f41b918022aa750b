"""What is due on one timer, and how late it came; on a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from firefly_ws._core.probe import Alarm, armed, late_since, now, pass_time, place, remove, turn, wheel_of
from firefly_ws._core.wheel import Wheel

TICK = 1 / 64


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The calls of a loop that a wheel makes."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self.errors: list[dict[str, Any]] = []

    def call_later(self, delay: float, callback: object, *, context: object) -> Timer:
        assert delay >= 0
        self.timers.append(Timer())
        return self.timers[-1]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)


class Time:
    """A wheel, and a clock for it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.wheel = Wheel(self.loop)  # type: ignore[arg-type]
        self.turns = 0

    def alarm(self, after: float, due: Callable[[float], float], shortest: float = 8) -> Alarm:
        alarm = Alarm(due)
        place(self.wheel, alarm, now() + after, shortest)
        return alarm

    def wait(self, seconds: float) -> None:
        """Let time pass, the loop coming round whenever its timer is due."""
        end = now() + seconds
        while (when := armed(self.wheel)) is not None and when <= end:
            pass_time(max(when - now(), 0))
            turn(self.wheel)
            self.turns += 1
        pass_time(max(end - now(), 0))

    def block(self, seconds: float) -> None:
        """A callback takes so long; then the loop comes round."""
        pass_time(seconds)
        when = armed(self.wheel)
        if when is not None and when <= now():
            turn(self.wheel)


@pytest.fixture
def time() -> Time:
    return Time()


class Heard(list[float]):
    """When an alarm came, in seconds from now, and when it wants to come again."""

    def __init__(self, again: float = 0) -> None:
        self.begin, self.again = now(), again

    def __call__(self, moment: float) -> float:
        self.append(moment - self.begin)
        return moment + self.again if self.again else 0


def test_it_comes_when_its_time_is_over_and_at_most_a_tick_later(time: Time) -> None:
    heard = Heard()
    alarm = time.alarm(0.5, heard)
    time.wait(0.49)
    assert heard == []
    assert alarm.stands
    time.wait(0.03)
    assert 0.5 <= heard[0] <= 0.5 + 2 * TICK
    assert not alarm.stands
    time.wait(10)
    assert len(heard) == 1


def test_it_comes_again_when_it_says_so(time: Time) -> None:
    heard = Heard(again=3)
    time.alarm(3, heard)
    time.wait(10)
    assert [round(one) for one in heard] == [3, 6, 9]


def test_there_is_one_timer_for_all_and_none_for_nothing(time: Time) -> None:
    assert armed(time.wheel) is None
    alarms = [time.alarm(number, Heard()) for number in range(1, 20)]
    assert len([timer for timer in time.loop.timers if not timer.cancelled]) == 1
    for alarm in alarms:
        remove(time.wheel, alarm)
    assert armed(time.wheel) is None
    assert all(timer.cancelled for timer in time.loop.timers)
    heard = Heard()
    time.alarm(1, heard)
    time.wait(2)
    assert len(heard) == 1
    assert armed(time.wheel) is None


def test_what_is_removed_does_not_come_and_may_be_removed_again(time: Time) -> None:
    first, second = Heard(), Heard()
    alarm = time.alarm(1, first)
    time.alarm(1, second)
    remove(time.wheel, alarm)
    remove(time.wheel, alarm)
    remove(time.wheel, Alarm(first))
    time.wait(2)
    assert (len(first), len(second)) == (0, 1)


def test_it_may_be_placed_earlier_and_not_later(time: Time) -> None:
    heard = Heard()
    alarm = time.alarm(5, heard)
    place(time.wheel, alarm, now() + 1)
    place(time.wheel, alarm, now() + 3)
    time.wait(10)
    assert [round(one) for one in heard] == [1]


def test_what_is_overdue_comes_at_the_next_tick(time: Time) -> None:
    time.alarm(1, Heard())
    time.wait(2)
    heard = Heard()
    time.alarm(-5, heard)
    time.wait(2 * TICK)
    assert len(heard) == 1


def test_what_comes_may_add_and_remove(time: Time) -> None:
    late, heard = Heard(), Heard()
    others: list[Alarm] = []

    def due(moment: float) -> float:
        for other in others:
            remove(time.wheel, other)
        time.alarm(1, heard)
        return 0

    time.alarm(1, due)
    others += [time.alarm(1 + TICK, late), time.alarm(2, late)]
    time.wait(5)
    assert late == []
    assert [round(one) for one in heard] == [2]
    assert armed(time.wheel) is None


def test_in_one_turn_a_bounded_number_comes(time: Time) -> None:
    heard = Heard()
    for _ in range(1300):
        time.alarm(1, heard)
    time.wait(1 - TICK)
    counts = []
    while armed(time.wheel) is not None:
        before = len(heard)
        pass_time(max((armed(time.wheel) or 0) - now(), 0))
        turn(time.wheel)
        counts.append(len(heard) - before)
    assert len(heard) == 1300
    assert max(counts) == 512


def test_an_error_of_one_is_reported_and_the_others_come(time: Time) -> None:
    heard = Heard()

    def due(moment: float) -> float:
        raise RuntimeError("of one")

    for _ in range(3):
        time.alarm(1, heard)
        time.alarm(1, due)
    time.wait(1.5)
    assert len(heard) == 3
    assert [str(one["exception"]) for one in time.loop.errors] == ["of one"] * 3
    assert armed(time.wheel) is not None


def test_a_timer_that_comes_early_changes_nothing(time: Time) -> None:
    heard = Heard()
    time.alarm(0.5, heard)
    pass_time(0.45)
    turn(time.wheel)
    assert heard == []
    time.wait(0.1)
    assert len(heard) == 1


# ---- lateness ------------------------------------------------------------------------------------------------------


def test_a_loop_that_runs_is_never_late(time: Time) -> None:
    begin = now()
    time.alarm(100, Heard())
    time.wait(99)
    assert late_since(time.wheel, begin) == 0


def test_the_time_of_a_block_is_measured_to_a_second(time: Time) -> None:
    begin = now()
    time.alarm(100, Heard())
    time.wait(5.5)
    time.block(30)
    assert 30 <= late_since(time.wheel, begin) < 31
    time.wait(5)
    time.block(7)
    assert 37 <= late_since(time.wheel, begin) < 39
    assert 7 <= late_since(time.wheel, now() - 10) < 8
    assert late_since(time.wheel, now()) == 0


def test_for_short_times_it_is_measured_finer(time: Time) -> None:
    begin = now()
    time.alarm(100, Heard(), shortest=1)
    time.wait(5.5)
    time.block(3)
    assert 3 <= late_since(time.wheel, begin) <= 3 + 1 / 8 + TICK


def test_behind_a_block_the_loop_reads_before_anything_is_judged(time: Time) -> None:
    heard = Heard()
    time.alarm(1, heard)
    time.block(5)
    assert heard == []
    time.wait(2 * TICK)
    assert len(heard) == 1


def test_a_loop_that_is_always_late_still_gets_to_it(time: Time) -> None:
    heard = Heard(again=1)
    time.alarm(1, heard)
    for _ in range(100):
        time.block((armed(time.wheel) or 0) - now() + 0.2)
    assert len(heard) > 5


def test_blocks_without_end_are_remembered_in_bounded_room_and_never_counted_short(time: Time) -> None:
    begin = now()
    time.alarm(10_000, Heard())
    for _ in range(2000):
        time.block((armed(time.wheel) or 0) - now() + 0.5)
    assert late_since(time.wheel, begin) >= 1000
    assert late_since(time.wheel, (begin + now()) / 2) >= 500


# ---- loops ---------------------------------------------------------------------------------------------------------


def test_a_loop_has_one_wheel_and_those_that_have_ended_none() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    wheel = wheel_of(first)
    assert wheel_of(first) is wheel
    assert wheel.loop is first
    first.close()
    assert wheel_of(second) is not wheel
    assert wheel_of(first) is not wheel
    second.close()


async def test_on_a_real_loop() -> None:
    came = asyncio.Event()

    def due(moment: float) -> float:
        came.set()
        return 0

    wheel = wheel_of(asyncio.get_running_loop())
    place(wheel, Alarm(due), now() + 0.05)
    await asyncio.wait_for(came.wait(), 5)
    assert armed(wheel) is None
