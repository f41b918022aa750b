"""`Handle`: the result, in another thread, of something that runs on an event loop.

Knows its runtime only as something to report to; does not know how its call is run.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

__all__ = ["Handle", "longest_wait"]

T = TypeVar("T")
R = TypeVar("R")


class _Mailbox(Protocol):
    def post(self, call: Callable[..., object], *args: Any) -> None: ...


class _Runtime(Protocol):
    interrupted: bool

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def mailbox(self) -> _Mailbox: ...

    def report(self, error: BaseException, what: str) -> None: ...

    def check_alive(self) -> None: ...


class Handle(concurrent.futures.Future[T]):
    """What a plain script and the ``threadsafe`` methods get: a ``concurrent.futures.Future`` to wait for.

    It may also be awaited, in any loop. An error is logged at ERROR as it happens unless somebody is waiting in
    `result` or `exception` then, or has added a callback: nobody can know whether it will be asked for later.
    """

    def __init__(self, runtime: _Runtime, what: str) -> None:
        super().__init__()
        self._runtime = runtime
        self._what = what
        self._future: asyncio.Future[Any] | None = None
        # Reentrant, because a signal handler may ask the same handle while this thread is inside.
        self._guard = threading.RLock()
        self._wanted = 0
        self._settled = False
        self._taken: bool | None = None
        self._error: BaseException | None = None

    def result(self, timeout: float | None = None) -> T:
        """Wait up to ``timeout`` seconds (``None``: for ever) and return the result, or raise the call's error.

        Raises ``TimeoutError`` when the time is over, ``concurrent.futures.CancelledError`` when it was cancelled,
        and ``RuntimeError`` instead of waiting for the loop that would have to do the work. Ctrl-C ends the wait.
        """
        return self._wait(super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait like `result`, and return the error, or ``None``."""
        return self._wait(super().exception, timeout)

    def cancel(self) -> bool:
        """Cancel the call, wherever it is; false if it had already ended."""
        if not super().cancel():
            return False
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the call with it
            self._runtime.mailbox.post(self._cancel_future)
        return True

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """Call ``fn(handle)`` once done, on the loop's thread; at once if it is."""
        with self._guard:
            self._wanted += 1
        super().add_done_callback(fn)

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        return f"<Handle of {self._what}: {self._state.lower()}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                text += f"; .result(timeout) gives what came of {self._what}"
            raise AttributeError(text, name=name, obj=self)

    # --- for the runtime, on the loop's thread

    def started(self, future: asyncio.Future[Any]) -> None:
        """``future`` does the work: what `cancel` cancels."""
        self._future = future

    def take(self) -> bool:
        """The call is about to do what a cancellation could not undo: from here on `cancel` does nothing.

        False if it has been cancelled already.
        """
        if self._taken is None:
            self._taken = self.set_running_or_notify_cancel()
        return self._taken

    def settle(self, value: Any, error: BaseException | None) -> None:
        """The call has ended."""
        with self._guard:
            self._settled, self._error = True, error
            unasked = error is not None and not self._wanted
        cancelled = not self.take()
        if cancelled:
            unasked = error is not None
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(value)
        if unasked and error is not None:
            self._runtime.report(error, self._what)
        self._future = None

    def _cancel_future(self) -> None:
        if self._future is not None:
            self._future.cancel()

    # --- waiting

    def _wait(self, read: Callable[[float | None], R], timeout: float | None) -> R:
        if self.done():
            return read(0)
        self._runtime.check_alive()
        if asyncio._get_running_loop() is self._runtime.loop:
            raise RuntimeError(
                f"{self._what}: a handle's result() and exception() wait for the event loop this call runs on; "
                "await the handle instead"
            )
        with self._guard:
            self._wanted += 1
        try:
            return _in_slices(read, timeout, self.done)
        except TimeoutError as error:
            with self._guard:
                if error is self._error:
                    raise
                if not self._settled:
                    late = f"{self._what}: it has not ended within {timeout} seconds, and goes on"
                    raise TimeoutError(late) from None
            # It settled just as we gave up, and was not logged because we were waiting.
            return read(None)
        except (KeyboardInterrupt, SystemExit) as error:
            with self._guard:
                lost = self._error if self._settled else None
            if error is not lost:
                # A signal. It may have come just as the call failed, which was not logged because we were waiting.
                self._runtime.interrupted = True
                if lost is not None:
                    self._runtime.report(lost, self._what)
            raise
        finally:
            with self._guard:
                self._wanted -= 1


def longest_wait() -> float | None:
    """How long this thread may block at a time if signals are to be handled, in seconds; ``None``: for ever.

    Python runs signal handlers in the main thread only. A signal that arrives between the interpreter's last look and
    the system call that blocks wakes nobody (1 in 20 when the wait had just begun and another thread wanted the GIL),
    and on Windows none ever ends a wait for a lock.
    """
    return 0.2 if threading.current_thread() is threading.main_thread() else None


def _in_slices(read: Callable[[float | None], R], timeout: float | None, done: Callable[[], bool]) -> R:
    longest = longest_wait()
    if longest is None:
        return read(timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = longest if end is None else min(longest, end - time.monotonic())
        try:
            return read(max(left, 0))
        except TimeoutError:
            if done():
                return read(0)
            if end is not None and time.monotonic() >= end:
                raise
