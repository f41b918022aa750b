"""Which loop a call belongs to, and `run`: a program on one loop, from its main function to its last connection.

Knows nothing of sockets or frames. It re-exports what it stands on: `firefly_ws.per_loop` (what is open on a loop),
`firefly_ws.handle` and `firefly_ws.background` (the loop of plain scripts).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar, overload

from .background import BackgroundLoop, background, new_event_loop, stop_background
from .blocking import watch_blocking
from .errors import is_of_the_end
from .handle import Handle
from .per_loop import CALLBACK_GRACE, Closable, Mailbox, Runtime, current_loop, runtime_of
from .signals import EndingSignals, ThirdSignal

__all__ = [
    "BackgroundLoop",
    "Closable",
    "Handle",
    "Mailbox",
    "Runtime",
    "background",
    "current_loop",
    "new_event_loop",
    "run",
    "runtime_of",
    "stop_background",
    "submit",
]

T = TypeVar("T")

logger = logging.getLogger("firefly_ws")

# Seconds. What main waits for has ended by then; this is the time to notice it and return, before it is cancelled.
MAIN_GRACE: Final = 0.1


def submit(call: Callable[..., Any], *args: Any, what: str = "", takes: bool = False) -> Handle[Any]:
    """From any thread: run ``call(*args)`` on the library's own loop, which is started if need be.

    See `Runtime.submit`, also for ``takes``; ``what`` names the call in messages. Raises ``RuntimeError`` when the
    script is over.
    """
    return background().runtime.submit(call, *args, what=what, takes=takes)


@overload
def run(
    main: Callable[[], Awaitable[T]], *, debug: bool | None = None, slow_callback: float | None = None
) -> T | None: ...
@overload
def run(main: Callable[[], T], *, debug: bool | None = None, slow_callback: float | None = None) -> T | None: ...
def run(main: Callable[[], Any], *, debug: bool | None = None, slow_callback: float | None = None) -> Any:
    """Run ``main`` on a new uvloop in this thread, until it and every server and connection it began have ended.

    ``main`` is a coroutine function, or a plain function: it is called inside the running loop, so that the builder
    calls it makes belong to this run, and what it returns is awaited if it can be. ``debug`` is asyncio's debug mode
    (``None``: as the environment says). What blocks the loop for ``slow_callback`` seconds is logged with its stack
    (``None``: as ``FIREFLY_WS_SLOW_CALLBACK`` says, by default never). Where uvloop does not exist, asyncio's loop is
    used.

    Returns the result of ``main``. If ``main`` raises, or nobody awaited a bind error, everything is closed (1001)
    and the exception propagates. At SIGINT or SIGTERM everything is closed (1001), then ``main`` is cancelled if it
    is still running, and ``run`` returns ``None`` for it, as it does where what has been closed leaves ``main`` as
    `ConnectionClosed`; a second signal aborts. Handlers the program has set itself are not replaced.

    Raises ``RuntimeError`` when a loop is already running in this thread, ``TypeError`` when ``main`` is no function,
    ``ValueError`` for a ``slow_callback`` that is no time.
    """
    if slow_callback is not None and not slow_callback > 0:
        raise ValueError(f"slow_callback={slow_callback!r} must be more than 0 seconds, or None")
    if current_loop() is not None:
        raise RuntimeError("run() starts an event loop, but one is running in this thread already; await instead")
    if not callable(main):
        if inspect.iscoroutine(main):
            main.close()
        raise TypeError(f"main={main!r}: run() takes the function itself, run(main) and not run(main())")
    runner = asyncio.Runner(loop_factory=new_event_loop, debug=debug)
    runtime = runtime_of(runner.get_loop())
    try:
        with runner, contextlib.ExitStack() as watching:
            life = _Life(runtime)
            watching.callback(watch_blocking(runner.get_loop(), slow_callback))
            with EndingSignals(life.ask, life.abort):
                living = runner.get_loop().create_task(life.of(main))
                while not living.done():
                    try:
                        runner.run(_wait_for(living))
                    except ThirdSignal:
                        runtime.abort_all()
                        raise
                    except (KeyboardInterrupt, SystemExit) as error:
                        # sys.exit() in a callback: it leaves the loop at once, past everything that awaits.
                        life.fail(error)
            return living.result()()
    finally:
        # Last: until it is closed the loop settles what it cancels.
        runtime.bury("the event loop of run() has ended")


class _Life:
    """One run: its main, and the two requests to end it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # The first request; carries the error if it was not a signal.
        self._first: asyncio.Future[None] = runtime.loop.create_future()
        self._second: asyncio.Future[None] = runtime.loop.create_future()
        runtime.on_fatal = self.fail

    def ask(self) -> None:
        """A first signal came."""
        self._runtime.mailbox.post(_resolve, self._first)

    def abort(self) -> None:
        """A second signal came."""
        self._runtime.mailbox.post(self._abort)

    def _abort(self) -> None:
        _resolve(self._second)
        self._runtime.abort_all()

    def fail(self, error: BaseException) -> None:
        """End the run, and have it raise ``error``."""
        if not self._first.done():
            self._first.set_exception(error)

    async def of(self, main: Callable[[], Any]) -> Callable[[], Any]:
        """Live it; returns a function with the outcome: it returns what `run` returns, or raises."""
        task = asyncio.create_task(self._call(main), name="firefly_ws.run")
        await self._until(task)
        if task.done() and not _failed(task):
            idle = asyncio.create_task(self._runtime.wait_idle())
            await self._until(idle)
            idle.cancel()
        await self._runtime.close_all()
        await asyncio.wait({task, self._second}, timeout=MAIN_GRACE, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task, self._second}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=CALLBACK_GRACE)
        # What main began while it was being cancelled.
        await self._runtime.close_all()
        if not self._first.done():
            return task.result
        failed = task.done() and _failed(task)
        if failed and is_of_the_end(task.exception()):
            # It was waiting on a connection that has been closed because the end was asked for.
            logger.debug("main met the end of a connection: %s", task.exception())
            failed = False
        error = self._first.exception()
        if error is not None and not failed:
            return functools.partial(_raise, error)
        if failed or (task.done() and not task.cancelled() and not _failed(task)):
            return task.result
        return _nothing

    async def _call(self, main: Callable[[], Any]) -> Any:
        try:
            value = main()
            return await value if inspect.isawaitable(value) else value
        except (KeyboardInterrupt, SystemExit) as error:
            # Left in the task, it would leave the loop at once, past everything that still has to be closed.
            self.fail(error)

    async def _until(self, task: asyncio.Task[Any]) -> None:
        await asyncio.wait({task, self._first}, return_when=asyncio.FIRST_COMPLETED)


async def _wait_for(task: asyncio.Task[Any]) -> None:
    # Not `await task`: the runner cancels this when it is interrupted, and the task has to go on.
    await asyncio.wait({task})


def _raise(error: BaseException) -> NoReturn:
    raise error


def _nothing() -> None:
    return None


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _failed(task: asyncio.Task[Any]) -> bool:
    return not task.cancelled() and task.exception() is not None
