"""Deadlines of one length for many, on one timer; knows nothing of what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

__all__ = ["Deadlines"]


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

    def _look(self) -> None:
        self._timer = None
        self._looking = True
        now = self._loop.time()
        try:
            while self._items:
                item, when = next(iter(self._items.items()))
                if when > now:
                    return
                del self._items[item]
                self._due(item)
        finally:
            # Also behind what raises: those that follow have their deadlines all the same.
            self._looking = False
            if self._items:
                self._timer = self._loop.call_at(next(iter(self._items.values())), self._look)
