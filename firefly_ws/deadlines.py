"""Deadlines of one length for many, on one timer; knows nothing of what is due.

A timer that runs says that time has passed, and not that nothing has come: behind a turn of the loop that took long,
what was waited for is in the kernel, or in the same turn. So nobody is judged when the timer runs, but behind another
look at the sockets, and not before as much time has passed as the timer was late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

__all__ = ["Deadlines"]

_LOOK = 0.001
"""Seconds that a loop cannot wait without asking the system what has come."""


class Deadlines:
    """Calls ``due(item)`` for each item that has stood here for ``seconds``.

    All wait equally long, so the oldest is always the next: one timer serves any
    number, and adding and removing cost a dictionary entry.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float | None, due: Callable[[Hashable], object]):
        self._loop = loop
        self._seconds = seconds
        self._due = due
        self._items: dict[Hashable, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looking = False
        self._expired: float | None = None  # who was due by then is judged when the timer runs

    def add(self, item: Hashable) -> None:
        """From now on *item* has ``seconds``, also where it stands here already."""
        if self._seconds is None:
            return
        when = self._loop.time() + self._seconds
        self._items.pop(item, None)  # to its new place, behind all others
        self._items[item] = when
        if self._timer is None and not self._looking:
            self._timer = self._loop.call_at(when, self._look)

    def discard(self, item: Hashable) -> None:
        """*item* made it, or is gone."""
        self._items.pop(item, None)

    def clear(self) -> None:
        """Forget all, and the timer."""
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._expired = None

    def _look(self) -> None:
        self._timer = None
        if not self._items:
            return
        now = self._loop.time()
        oldest = next(iter(self._items.values()))
        if oldest > now:
            self._timer = self._loop.call_at(oldest, self._look)
            return
        self._expired = now
        late = min(now - oldest, self._seconds or 0)
        self._timer = self._loop.call_at(now + max(late, _LOOK), self._judge)

    def _judge(self) -> None:
        self._timer = None
        expired, self._expired = self._expired, None
        assert expired is not None
        self._looking = True
        try:
            while self._items:
                item, when = next(iter(self._items.items()))
                if when > expired:
                    return
                del self._items[item]
                self._due(item)
        finally:
            # Also behind what raises: those that follow have their deadlines all the same.
            self._looking = False
            if self._items:
                self._timer = self._loop.call_at(next(iter(self._items.values())), self._look)
