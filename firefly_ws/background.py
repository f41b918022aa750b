"""The library's own loop thread, and the life of a plain script: behind its last line, on signals, after an error.

Knows what is open only as `Runtime` counts it.

The order at the end of a program is Python's: last line, then ``threading._shutdown`` (where we wait), then
``atexit``, then the end of all threads. Waiting in a non-daemon thread or in ``atexit`` would come after
`concurrent.futures` has closed its executors, and ``to_thread`` in a callback would fail.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # its own exit hook must be registered before ours, which then runs first
import contextlib
import dis
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from . import per_loop
from .handle import longest_wait
from .per_loop import Runtime, runtime_of
from .signals import EndingSignals, ThirdSignal, exit_on_terminate, restore_terminate, was_terminated_late

__all__ = ["BackgroundLoop", "background", "new_event_loop", "stop_background"]

logger = logging.getLogger("firefly_ws")

# CPython 3.12.0 to 3.12.2 refuse every new thread from the script's last line on (python/cpython#113964). Threads
# that exist keep working, so there the loop's executor gets all of its threads at the start.
_NO_LATE_THREADS: Final = (3, 12) <= sys.version_info[:3] < (3, 12, 3)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new uvloop, or asyncio's loop where uvloop does not exist (Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class BackgroundLoop:
    """One event loop in a daemon thread; `finish` ends both."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name="firefly_ws", daemon=True)
        self.thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    loop: asyncio.AbstractEventLoop
    runtime: Runtime

    def _run(self) -> None:
        try:
            runner = asyncio.Runner(loop_factory=new_event_loop)
            self.loop = runner.get_loop()
            self.runtime = runtime_of(self.loop)
            self._ask: asyncio.Future[None] = self.loop.create_future()
            if _NO_LATE_THREADS:
                self.loop.set_default_executor(_started_executor())
        except BaseException as error:
            self._failure = error
            self._ready.set()
            return
        try:
            asyncio.set_event_loop(self.loop)
            self.loop.call_soon(self._ready.set)
            while not self._stopping:
                try:
                    self.loop.run_forever()
                except (KeyboardInterrupt, SystemExit) as error:
                    # sys.exit() in a callback: it can end no other thread, but it can end what is open here.
                    logger.info("%r in a callback: closing everything", error)
                    self._asked()
                    closing = self.loop.create_task(self.runtime.close_all())  # noqa: F841 - keeps it alive
            # Closing starts a thread that waits for the executor; where that is refused, the loop closes all the same.
            with contextlib.suppress(*([RuntimeError] if _NO_LATE_THREADS else [])):
                runner.close()
        finally:
            self.runtime.bury("the library's event loop has ended")
            self._ended.set()

    # --- ending

    def _asked(self) -> None:
        if not self._ask.done():
            self._ask.set_result(None)

    def _post(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended already
            self.runtime.mailbox.post(call)

    def ask(self) -> None:
        """From any thread: end gracefully, also a script that is held behind its last line."""
        self._post(self._asked)

    def abort(self) -> None:
        """From any thread: end everything open now."""
        self._post(self.runtime.abort_all)

    def finish(self, *, stay: bool) -> None:
        """Close everything gracefully, then end loop and thread; with ``stay``, not before all has closed by itself.

        Blocks the calling thread. A signal asks for the end, the next one aborts.
        """
        self._post(lambda: self.loop.create_task(self._end(stay)))
        requests = [self.ask, self.abort]
        while True:
            try:
                while not self._ended.wait(longest_wait()):
                    pass
                return self.thread.join(1)
            except BaseException as error:
                # From the program's own signal handler, or ours at the third signal. Behind the last line there is no
                # script left that could catch it, and Python would print it as ignored.
                if isinstance(error, ThirdSignal) or not requests:
                    return None
                requests.pop(0)()

    async def _end(self, stay: bool) -> None:
        try:
            if stay:
                idle = asyncio.ensure_future(self.runtime.wait_idle())
                await asyncio.wait({idle, self._ask}, return_when=asyncio.FIRST_COMPLETED)
                idle.cancel()
            await self.runtime.close_all()
        finally:
            self._stopping = True
            self.loop.stop()


def _started_executor() -> concurrent.futures.ThreadPoolExecutor:
    count = min(32, (os.cpu_count() or 1) + 4)  # as asyncio's default executor has
    executor = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="asyncio")
    together = threading.Barrier(count)  # a thread that is idle again would spare the executor the next one
    for _ in range(count):
        executor.submit(together.wait)
    return executor


# --- one per process

_TOO_LATE: Final = "the script has ended: begin before its last line, in a callback, or inside run()"

_lock = threading.Lock()
_current: BackgroundLoop | None = None
_hooked = False
_script_over = False
_script_frame: FrameType | None = None
# A loop that a forked child inherited: closing it there would take the parent's sockets out of the shared epoll set.
_inherited: list[BackgroundLoop] = []


def background() -> BackgroundLoop:
    """The library's own loop, started when first asked for; from any thread.

    Raises ``RuntimeError`` when the script is over and nothing can run any more.
    """
    global _current, _hooked, _script_frame
    with _lock:
        if _script_over:
            raise RuntimeError(_TOO_LATE)
        if _current is None:
            if not _hooked:
                _register_at_end(_at_script_end)
                _hooked = True
            _script_frame = _find_script_frame()
            _current = BackgroundLoop()
            exit_on_terminate()
        return _current


def stop_background() -> None:
    """Close everything on the library's own loop and end it; the next call that needs one starts another."""
    global _current
    ending = _current
    if ending is not None and threading.current_thread() is ending.thread:
        raise RuntimeError("stop_background() waits for the loop this call runs on")
    with _lock:
        ending, _current = _current, None
    if ending is not None:
        ending.finish(stay=False)
        restore_terminate()


def _register_at_end(call: Callable[[], object]) -> None:
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(call)
    except RuntimeError:
        raise RuntimeError(_TOO_LATE) from None


def _at_script_end() -> None:
    global _script_over
    ending = _current
    try:
        if ending is not None:
            with EndingSignals(ending.ask, ending.abort):
                if was_terminated_late():
                    ending.ask()
                # A script that broke off one of our waits with Ctrl-C, and began nothing after it, was asked to end.
                ending.finish(stay=_reached_last_line() and not _is_interactive() and not ending.runtime.interrupted)
    except KeyboardInterrupt:
        # It came between the last line and the first line of this function.
        if ending is not None:
            ending.finish(stay=False)
    finally:
        _script_over = True


def _find_script_frame() -> FrameType | None:
    """The main thread's frame that executes the script: the innermost module called ``__main__``.

    Innermost, because a script may be run by another one (coverage, a profiler).
    """
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    outermost = None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            return frame
        outermost, frame = frame, frame.f_back
    return outermost


def _reached_last_line() -> bool:
    """Whether the script has returned, as opposed to: was left by an exception or by `sys.exit`.

    Nothing else tells: there is no current exception at this point, ``sys.last_value`` knows no SystemExit, and
    `sys.excepthook` is often replaced. The last instruction of a module that came to its end is a return.
    """
    frame = _script_frame
    return frame is None or dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or bool(sys.flags.inspect or os.environ.get("PYTHONINSPECT"))


def _after_fork() -> None:
    global _lock, _current
    _lock = threading.Lock()
    if _current is not None:
        _inherited.append(_current)
        _current = None
    per_loop.forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
