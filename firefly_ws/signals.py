"""Which signals end a program, and whose handlers may be replaced: only Python's and the system's default ones.

Knows no loop: the first and the second signal are calls it is given.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

__all__ = ["EndingSignals", "ThirdSignal", "exit_on_terminate", "restore_terminate", "was_terminated_late"]

# A supervisor's "please end" has the same meaning as Ctrl-C; Windows has Ctrl-Break for it.
_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))

_active: weakref.WeakSet[EndingSignals] = weakref.WeakSet()
_late = False


class ThirdSignal(KeyboardInterrupt):
    """Somebody wants out at once."""


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class EndingSignals:
    """While entered, a first signal calls ``ask()``, a second one ``abort()``, and a third raises `ThirdSignal`.

    A signal that the program handles itself, or ignores (a job in the background of a shell), is left alone, and
    nothing at all is done outside the main thread, where Python takes no handlers. Both calls are made in the main
    thread between two bytecodes: they must not take a lock.
    """

    def __init__(self, ask: Callable[[], object], abort: Callable[[], object]) -> None:
        self._calls = (ask, abort)
        self._came = 0
        self._replaced: dict[int, Any] = {}

    def __enter__(self) -> EndingSignals:
        if _in_main_thread():
            _active.add(self)
            for number in _ENDING:
                before = signal.getsignal(number)
                if before in (signal.SIG_DFL, signal.default_int_handler, _exit):
                    signal.signal(number, self._on_signal)
                    self._replaced[number] = before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Put back what was there, unless the program has set a handler of its own meanwhile."""
        for number, before in self._replaced.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, before)
        self._replaced.clear()
        _active.discard(self)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._came += 1
        if self._came <= len(self._calls):
            self._calls[self._came - 1]()
        else:
            # The loop is stuck in a callback, or the callback ignores its cancellation.
            raise ThirdSignal


def _exit(number: int, frame: FrameType | None) -> None:
    global _late
    outermost = frame
    while outermost is not None and outermost.f_back is not None:
        outermost = outermost.f_back
    if outermost is not None and outermost.f_globals.get("__name__") == "threading":
        _late = True  # the script is over: an exception would only keep the interpreter from what it calls then
    else:
        raise SystemExit(128 + number)


def was_terminated_late() -> bool:
    """Whether SIGTERM came between the script's last line and whoever waits behind it."""
    return _late


def exit_on_terminate() -> None:
    """Have SIGTERM raise ``SystemExit(143)`` in the main thread, where it would end the process on the spot.

    A script that has not reached its last line thus closes what it opened. Does nothing where the program has a
    handler, or outside the main thread.
    """
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def restore_terminate() -> None:
    """Undo `exit_on_terminate`, if it is still in effect."""
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) == _exit:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _after_fork() -> None:
    # A child inherits the handlers, but not the loop they speak to: it must end as any process does.
    with contextlib.suppress(ValueError):
        for scope in list(_active):
            scope.restore()
        restore_terminate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
