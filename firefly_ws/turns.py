"""What all connections of a loop share: one of each, made when first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from ._core.outbox import Turn

__all__ = ["PerLoop", "turn_of"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Calls ``make(loop)`` once for each loop."""

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop) -> T:
        """What *loop* has."""
        made = self._made.get(loop)
        if made is None:
            for ended in [other for other in list(self._made) if other.is_closed()]:
                self._made.pop(ended, None)
            made = self._made[loop] = self._make(loop)
        return made


#: The `Turn` of a loop: its outboxes write once per turn.
turn_of = PerLoop(Turn)
