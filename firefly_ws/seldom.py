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

    def __call__(self, kind: str, level: int, message: str, *args: object) -> None:
        """Log *message* % *args* for *kind*, a word of ours: each one has an entry for good."""
        now = time.monotonic()
        when, left_out = self._last.get(kind, (now - self._seconds, 0))
        if now - when < self._seconds:
            self._last[kind] = (when, left_out + 1)
            return
        self._last[kind] = (now, 0)
        if left_out:
            message += " (and %d more of this kind)"
            args = (*args, left_out)
        self._logger.log(level, message, *args)


#: The library's; one a process.
seldom = Seldom(logging.getLogger("firefly_ws"))
