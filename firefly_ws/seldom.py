"""Log lines that a peer can cause at will: one of each kind a second, and how many there were. Knows no connection."""

from __future__ import annotations

import logging
import time

__all__ = ["Seldom", "seldom"]


class Seldom:
    """Logs to *logger*, a kind at most once in *seconds*; the next line of a kind says how many were left out.

    There is no timer: those behind the last line are told by the next one, whenever it comes (as Linux does it).
    """

    def __init__(self, logger: logging.Logger, seconds: float = 1.0) -> None:
        self._logger = logger
        self._seconds = seconds
        self._last: dict[str, tuple[float, int]] = {}

    def turn(self, kind: str) -> int | None:
        """How many of *kind*, a word of ours that has an entry for good, were left out; None: so is this one."""
        now = time.monotonic()
        when, left_out = self._last.get(kind, (now - self._seconds, 0))
        if now - when < self._seconds:
            self._last[kind] = (when, left_out + 1)
            return None
        self._last[kind] = (now, 0)
        return left_out

    def __call__(self, kind: str, level: int, message: str, *args: object) -> None:
        """Log *message* % *args* for *kind*, if it is its turn."""
        left_out = self.turn(kind)
        if left_out is None:
            return
        if left_out:
            message += " (and %d more of this kind)"
            args = (*args, left_out)
        self._logger.log(level, message, *args)


#: The library's; one a process.
seldom = Seldom(logging.getLogger("firefly_ws"))
