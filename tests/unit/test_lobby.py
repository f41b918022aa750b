"""Who waits, and for how long: the order of those who have come, and one timer for all of them. Without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from arrivals import Line, Place
from fakes import Transport

from firefly_ws import HttpConfig
from firefly_ws.accepting import ServerHandshake
from firefly_ws.arrival import Arrival, Entrance, Lobby


class Timer:
    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self.delay, self.callback, self.cancelled = delay, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Waiting:
    """A lobby on a loop whose timers the test calls."""

    def __init__(self, seconds: float | None = 10) -> None:
        place = Place(config=HttpConfig(open_timeout=seconds))
        self.timers: list[Timer] = []
        self.server = place.server
        self.server._loop = self  # type: ignore[assignment]
        self.lobby = Lobby(self.server)
        self.late: list[Any] = []
        waiting = self

        class Late(Arrival):
            __slots__ = ()

            def too_slow(self) -> None:
                waiting.late.append(self)
                if self in waiting.failing:
                    raise RuntimeError("of this one")

        self.failing: list[Any] = []
        self.entrance = Entrance(Late, self.lobby, False)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay, callback))
        return self.timers[-1]

    def come(self) -> Any:
        one = self.entrance()
        one.connection_made(Transport(asyncio.get_running_loop()))
        return one

    def turn(self) -> None:
        """The timer's time has come."""
        self.timers.pop(0).callback()


async def test_who_waits_stands_in_the_order_of_coming() -> None:
    waiting = Waiting()
    lobby = waiting.lobby
    assert (len(lobby), list(lobby)) == (0, [])
    first, second, third = waiting.come(), waiting.come(), waiting.come()
    assert list(lobby) == [first, second, third]
    second._leave()
    second._leave()
    assert (len(lobby), list(lobby)) == (2, [first, third])
    third._leave()
    first._leave()
    assert (len(lobby), list(lobby)) == (0, [])
    fourth = waiting.come()
    fifth = waiting.come()
    fourth._leave()
    assert list(lobby) == [fifth]
    assert 0 <= lobby.age(fifth) < 100


async def test_one_timer_serves_them_all_for_the_oldest() -> None:
    waiting = Waiting(10)
    first = waiting.come()
    second = waiting.come()
    (timer,) = waiting.timers
    assert 9 < timer.delay <= 10
    first._leave()
    waiting.turn()
    assert waiting.late == []
    assert len(waiting.timers) == 1
    second._leave()
    waiting.turn()
    assert waiting.timers == []
    waiting.come()
    assert len(waiting.timers) == 1


async def test_who_is_late_is_told_once_and_waits_no_more() -> None:
    waiting = Waiting(0.001)
    first, second = waiting.come(), waiting.come()
    await asyncio.sleep(0.002)
    waiting.turn()  # which has the sockets asked once more
    assert waiting.late == []
    (timer,) = waiting.timers
    assert timer.delay == 0.001
    waiting.turn()
    assert waiting.late == [first, second]
    assert len(waiting.lobby) == 0
    assert waiting.timers == []


async def test_who_has_asked_before_the_second_look_is_not_late() -> None:
    waiting = Waiting(0.001)
    first, second = waiting.come(), waiting.come()
    await asyncio.sleep(0.002)
    waiting.turn()
    third = waiting.come()
    assert len(waiting.timers) == 1
    first._leave()
    waiting.turn()
    assert waiting.late == [second]
    assert list(waiting.lobby) == [third]
    assert len(waiting.timers) == 1


async def test_an_error_of_one_does_not_keep_the_others_waiting_for_ever() -> None:
    waiting = Waiting(0.001)
    first, second = waiting.come(), waiting.come()
    waiting.failing = [first]
    await asyncio.sleep(0.002)
    waiting.turn()
    with pytest.raises(RuntimeError, match="of this one"):
        waiting.turn()
    assert list(waiting.lobby) == [second]
    waiting.turn()
    waiting.turn()
    assert waiting.late == [first, second]


async def test_without_a_limit_there_is_no_timer() -> None:
    waiting = Waiting(None)
    waiting.come()
    assert waiting.timers == []
    waiting.lobby.clear()


async def test_clear_leaves_no_timer() -> None:
    waiting = Waiting()
    waiting.come()
    waiting.lobby.clear()
    assert waiting.timers[0].cancelled
    waiting.lobby.clear()


async def test_who_comes_to_a_closed_server_is_sent_away() -> None:
    place = Place()
    place.server._shut = True
    handshake, transport = place.arrive()
    assert transport.ended == "abort"
    assert not handshake._here
    assert len(place.server._waiting) == 0


async def test_who_has_greeted_in_tls_is_no_longer_greeting() -> None:
    place = Place()
    handshake = ServerHandshake(place.server._waiting, True)
    place.server._greeting.add(handshake)
    transport = Line(place.server._loop)
    transport.set_protocol(handshake)
    handshake.connection_made(transport)
    assert not place.server._greeting
    assert handshake._secure
    assert handshake._transport is transport
    assert handshake._server is place.server


async def test_an_entrance_makes_what_it_was_told_to_make() -> None:
    place = Place()
    one = Entrance(ServerHandshake, place.server._waiting, True)()
    assert type(one) is ServerHandshake
    assert (one._secure, one._rest, one._task, one._head, one._here) == (True, b"", None, None, False)
