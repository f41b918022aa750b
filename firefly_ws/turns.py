"""The turn of each loop: what all its connections share to write once per turn."""

from __future__ import annotations

import asyncio

from ._core.outbox import Turn

__all__ = ["turn_of"]

_turns: dict[asyncio.AbstractEventLoop, Turn] = {}


def turn_of(loop: asyncio.AbstractEventLoop) -> Turn:
    """The `Turn` of *loop*; one for all its connections."""
    turn = _turns.get(loop)
    if turn is None:
        for ended in [other for other in list(_turns) if other.is_closed()]:
            _turns.pop(ended, None)
        turn = _turns[loop] = Turn(loop)
    return turn
