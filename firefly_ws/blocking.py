"""Callbacks that block a loop: a thread that looks at what runs there when the loop is late, and says so.

Knows a loop as something with ``call_later``. Nothing runs per message: the loop notes twice in the time allowed that
it turns, and the thread sleeps until such a note is overdue. Then the stack of the loop's thread tells whose callback
it is.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

__all__ = ["VARIABLE", "watch_blocking"]

#: The environment's word for where the program says nothing: seconds.
VARIABLE: Final = "FIREFLY_WS_SLOW_CALLBACK"

logger = logging.getLogger("firefly_ws.loop")

_OURS: Final = (str(Path(__file__).parent) + os.sep, str(Path(asyncio.__file__).parent) + os.sep)
_PLACES: Final = 1000  # that are told once; a program that makes its functions anew must not grow by them

_watches: dict[asyncio.AbstractEventLoop, _Watch] = {}


def watch_blocking(loop: asyncio.AbstractEventLoop, seconds: float | None) -> Callable[[], None]:
    """Have callbacks told that keep *loop* from its work for *seconds* or more; ``None``: as the environment says.

    In the loop's thread. What it returns ends that, and must be called; of several the shortest time holds. Raises
    ``ValueError`` for what the environment has in place of seconds.
    """
    if seconds is None and (seconds := _of_environment()) is None:
        return _nothing
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch(loop)
    return watch.hold(seconds)


def _nothing() -> None:
    return None


def _of_environment() -> float | None:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"{VARIABLE}={text!r} must be a number of seconds above 0, or empty")
    return seconds


class _Watch:
    """Over one loop, for all who want it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._wanted: list[float] = []
        self._limit = 0.0
        self._due = float("inf")  # monotonic seconds: when the next note is to come
        self._depth = 0  # frames below a callback of the loop
        self._told: set[object] = set()
        self._blocked_since: float | None = None  # what has been told of is not over
        self._stop = threading.Event()
        self._timer: asyncio.Handle | None = None
        self._context = contextvars.Context()
        self._thread = threading.Thread(target=self._look, name="firefly_ws blocking", daemon=True)

    def hold(self, seconds: float) -> Callable[[], None]:
        """For one who wants it; the end of that is what it returns."""
        self._wanted.append(seconds)
        self._limit = min(self._wanted)
        if len(self._wanted) == 1:
            self._timer = self._loop.call_soon(self._note, context=self._context)
            self._thread.start()
        held = [seconds]

        def release() -> None:
            if held:
                self._wanted.remove(held.pop())
                if self._wanted:
                    self._limit = min(self._wanted)
                else:
                    self._end()

        return release

    def _end(self) -> None:
        _watches.pop(self._loop, None)
        self._due = float("inf")
        if self._timer is not None:
            self._timer.cancel()
        self._stop.set()
        self._thread.join()

    # --- in the loop

    def _note(self) -> None:
        """The loop turns."""
        now = time.monotonic()
        since, self._blocked_since = self._blocked_since, None
        if since is not None:
            logger.info("the event loop turns again, after %.3g s", now - since, extra={"blocked": now - since})
        frame, depth = sys._getframe().f_back, 0
        while frame is not None:
            frame, depth = frame.f_back, depth + 1
        self._depth = depth
        self._loop_thread = threading.get_ident()
        self._due = now + self._limit / 2
        self._timer = self._loop.call_later(self._limit / 2, self._note, context=self._context)

    # --- in the thread

    def _look(self) -> None:
        pause = self._limit
        while not self._stop.wait(pause):
            if self._loop.is_closed():
                # Whoever held it has been left behind with the loop.
                _watches.pop(self._loop, None)
                return
            due, limit = self._due, self._limit
            late = time.monotonic() - due
            if late < limit or not self._loop.is_running():
                # Not before the note of now, or the next one, can be overdue.
                pause = min(limit - late, limit) if late < limit else limit
                continue
            pause = limit
            if self._blocked_since != due:
                self._tell(due, late)

    def _tell(self, due: float, late: float) -> None:
        """Say what keeps the loop, if that is not known yet."""
        frame = sys._current_frames().get(self._loop_thread)
        stack: list[FrameType] = []
        while frame is not None:
            stack.append(frame)
            frame = frame.f_back
        # From the loop's callback on; of the library's and asyncio's own, whoever they have called.
        above = stack[::-1][self._depth :]
        if self._due != due:
            return  # it has turned meanwhile, and this is the stack of another callback
        callback = next((frame for frame in above if not _is_ours(frame)), above[0] if above else None)
        place = None if callback is None else (callback.f_code.co_filename, callback.f_code.co_firstlineno)
        if place in self._told or len(self._told) >= _PLACES:
            return
        self._told.add(place)
        self._blocked_since = due
        if callback is None:
            logger.warning(
                "the event loop has been late for %.3g s, and no callback was running: the machine is too busy, or "
                "another thread did not let it run", late, extra={"blocked": late, "callback": None, "place": None},
            )  # fmt: skip
            return
        where = f"{callback.f_code.co_filename}:{callback.f_lineno}"
        lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in above).format()
        logger.warning(
            "the event loop has been blocked for %.3g s by %s at %s; nobody else is served meanwhile: await, or have "
            "asyncio.to_thread() do it\n%s",
            late, callback.f_code.co_qualname, where, "".join(lines).rstrip(),
            extra={"blocked": late, "callback": callback.f_code.co_qualname, "place": where},
        )  # fmt: skip


def _is_ours(frame: FrameType) -> bool:
    """Whether it is the library's, or asyncio's, that runs what somebody has given to it."""
    return frame.f_code.co_filename.startswith(_OURS)
