"""What one event loop keeps for the library: who lives on it, what is begun, and the way in from other threads.

Knows nothing of sockets, frames or signals, and starts no loop: `firefly_ws.background` and
`firefly_ws.runtime` do.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from ._core.done import DONE
from .handle import Handle

__all__ = ["Closable", "Mailbox", "Runtime", "current_loop", "runtime_of"]

logger = logging.getLogger("firefly_ws")

T = TypeVar("T")

# The listens that what runs here is a part of: the startup of an application, which comes before they are bound.
_part_of: Final[contextvars.ContextVar[frozenset[asyncio.Future[Any]]]] = contextvars.ContextVar(
    "_part_of", default=frozenset()
)

# Seconds. A Closable bounds its own graceful end (Server.close: 10 s); this is the net below it, for one that hangs.
CLOSE_LIMIT: Final = 15.0
# Seconds that the net gives more than a Closable's own `close_limit`.
_NET: Final = 5.0
# Seconds for callbacks that are still running when the last connection has closed. Their sends raise by now, so most
# end at once; those that wait for something else must not hold up Ctrl-C for long.
CALLBACK_GRACE: Final = 1.0


class Closable(Protocol):
    """A server or a connection, as the loop sees it: something that is open until it calls `Runtime.untrack`.

    One whose graceful end may take long has a ``close_limit`` in seconds, ``None``: as long as it takes.
    """

    def close_gracefully(self) -> Awaitable[object]:
        """End with 1001; bounded in time, idempotent."""

    def wait_closed(self) -> Awaitable[object]:
        """Return once it has ended."""

    def abort(self) -> object:
        """End now; never blocks."""


def current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or ``None``."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Mailbox:
    """Calls from any thread onto the loop, in order, with one wake-up for all that come before it turns."""

    __slots__ = ("_calls", "_context", "_runtime", "_scheduled")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = weakref.ref(runtime)
        self._calls: deque[tuple[contextvars.Context, Callable[..., object], tuple[Any, ...]]] = deque()
        self._scheduled = False
        # Without one of its own, the drain would run in the context of whoever happened to post first.
        self._context = contextvars.Context()

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Have ``call(*args)`` run on the loop, in a copy of the caller's context.

        What it raises is reported (`Runtime.report`). Raises ``RuntimeError`` when the loop has ended.
        """
        runtime = self._runtime()
        if runtime is None:
            raise RuntimeError("the event loop has ended")
        runtime.check_alive()
        self._calls.append((contextvars.copy_context(), call, args))
        # The flag falls before the drain takes the first call: a call appended while it is up is still taken.
        if not self._scheduled:
            self._scheduled = True
            try:
                runtime.loop.call_soon_threadsafe(self._drain, context=self._context)
            except BaseException:
                self._scheduled = False
                raise

    def _drain(self) -> None:
        self._scheduled = False
        # Only what is here now: a call that posts the next one must not starve the sockets.
        try:
            for _ in range(len(self._calls)):
                context, call, args = self._calls.popleft()
                try:
                    context.run(call, *args)
                except Exception as error:
                    runtime = self._runtime()
                    if runtime is not None:
                        runtime.report(error, f"a call from another thread, {call!r},")
        finally:
            # Left over only when a KeyboardInterrupt or SystemExit came out of a call.
            if self._calls and not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._drain, context=self._context)


class Runtime:
    """The library's side of one event loop; get it from `runtime_of`.

    Everything but `mailbox`, `submit` and `report` belongs to the loop's own thread.
    """

    __slots__ = (
        "__weakref__",
        "_bounded",
        "_closing",
        "_dead",
        "_handles",
        "_held",
        "_idle_waiters",
        "_listens",
        "_live",
        "_loop",
        "interrupted",
        "mailbox",
        "on_fatal",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weak: the registry's value must not keep its own key alive.
        self._loop = weakref.ref(loop)
        self._live: dict[Closable, None] = {}
        self._held: set[asyncio.Future[Any]] = set()
        self._bounded: set[asyncio.Future[Any]] = set()  # of those held
        self._handles: set[Handle[Any]] = set()
        self._listens: set[asyncio.Future[Any]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._idle_waiters: set[asyncio.Future[None]] = set()
        self._dead = ""
        self.mailbox = Mailbox(self)
        #: Ctrl-C has broken off the last thing another thread waited for here, and it has submitted nothing since.
        self.interrupted = False
        #: Set by `run`: takes the error that must end the run. Called in the loop's thread.
        self.on_fatal: Callable[[BaseException], object] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; ``RuntimeError`` when it is gone."""
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the event loop has ended")
        return loop

    # --- what is alive

    def track(self, closable: Closable) -> None:
        """Keep ``closable`` alive and count it as open until `untrack`."""
        self._live[closable] = None

    def untrack(self, closable: Closable) -> None:
        """It has ended. Calling this again, or for something never tracked, does nothing."""
        if closable in self._live:
            del self._live[closable]
            self._look_idle()

    @property
    def tracked(self) -> tuple[Closable, ...]:
        """What is open, oldest first."""
        return tuple(self._live)

    def hold(self, future: asyncio.Future[T], *, bounded: bool = False) -> asyncio.Future[T]:
        """Keep a task or future alive, and the loop busy, until it is done; returns it.

        For what is begun and not yet open (a connect), and for callbacks: asyncio itself keeps tasks weakly.
        Its error is not looked at: whoever made it awaits it or calls `report`. What is ``bounded`` has a limit of
        its own in time, and `close_all` waits for it that long.
        """
        if not future.done():
            self._held.add(future)
            if bounded:
                self._bounded.add(future)
            future.add_done_callback(self._release)
        return future

    def _release(self, future: asyncio.Future[Any]) -> None:
        self._held.discard(future)
        self._bounded.discard(future)
        self._look_idle()

    @property
    def is_idle(self) -> bool:
        """Nothing is open, begun or running in a callback."""
        return not (self._live or self._held or self._handles)

    async def wait_idle(self) -> None:
        """Return once `is_idle` has held for a whole turn of the loop."""
        waiter = self.loop.create_future()
        self._idle_waiters.add(waiter)
        self._look_idle()
        try:
            await waiter
        finally:
            self._idle_waiters.discard(waiter)

    def _look_idle(self) -> None:
        # A turn later: what ends here may be what begins the next thing (a reconnect, a bind error to be reported).
        if self._idle_waiters and self.is_idle:
            self.loop.call_soon(self._wake_idle)

    def _wake_idle(self) -> None:
        if self.is_idle:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)

    # --- listen before connect

    def begin_listen(self, future: asyncio.Future[Any]) -> None:
        """A listen has begun and has bound, or failed, when ``future`` is done. Counts as `hold`."""
        if not future.done():
            self.hold(future)
            self._listens.add(future)
            future.add_done_callback(self._listens.discard)

    def inside_listen(self) -> None:
        """What this task begins from here on is part of its listen, and must not wait for it."""
        task = asyncio.current_task()
        assert task is not None
        _part_of.set(_part_of.get() | {task})

    async def listens_settled(self) -> None:
        """Return once every listen begun before this call has bound or failed, but for those this is a part of."""
        if self._listens:
            others = self._listens - _part_of.get()
            if others:
                await asyncio.wait(others)

    # --- errors

    def report(self, error: BaseException, what: str, *, fatal: bool = False) -> None:
        """Log an error that nobody awaits, at ERROR with its traceback, now.

        ``what`` says what failed, as the beginning of a sentence ("listening on port 80"). ``fatal`` is for an error
        without which the program has no point, a bind error: inside `run` it also ends the run, which raises it.
        """
        logger.error("%s failed: %s: %s", what, type(error).__name__, error, exc_info=error)
        if fatal and self.on_fatal is not None:
            self.on_fatal(error)

    # --- from other threads

    def submit(self, call: Callable[..., Any], *args: Any, what: str = "", takes: bool = False) -> Handle[Any]:
        """From any thread: run ``call(*args)`` on the loop; the handle gets its result, awaited if it can be.

        A call that ``takes`` something which a cancelled handle would lose gets `Handle.take` as its first argument.

        The handle's error is logged as it happens, unless somebody is waiting for it. ``what`` names the call there.
        Raises ``RuntimeError`` when the loop has ended.
        """
        handle: Handle[Any] = Handle(self, what or f"{getattr(call, '__qualname__', call)}")
        self.interrupted = False
        if takes:
            args = (handle.take, *args)
        self._handles.add(handle)
        try:
            self.mailbox.post(self._start, handle, call, args)
        except BaseException:
            self._handles.discard(handle)
            raise
        return handle

    def _start(self, handle: Handle[Any], call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if handle.cancelled():
            return self._finish(handle, None, None)
        try:
            value = call(*args)
            if value is DONE:  # what most sends return: no task for them
                value = None
            elif inspect.isawaitable(value):
                future = asyncio.ensure_future(value, loop=self.loop)
                handle.started(self.hold(future))
                future.add_done_callback(lambda done: self._ended(handle, done))
                return None
        except BaseException as error:
            # Whatever it is, it belongs to the caller; SystemExit must not end the loop of everybody else.
            return self._finish(handle, None, error)
        return self._finish(handle, value, None)

    def _ended(self, handle: Handle[Any], future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            handle.cancel()
            self._finish(handle, None, None)
        elif (error := future.exception()) is not None:
            self._finish(handle, None, error)
        else:
            self._finish(handle, future.result(), None)

    def _finish(self, handle: Handle[Any], value: Any, error: BaseException | None) -> None:
        self._handles.discard(handle)
        handle.settle(value, error)
        self._look_idle()

    def check_alive(self) -> None:
        """Raise ``RuntimeError`` when this loop will never run again."""
        if self._dead:
            raise RuntimeError(self._dead)

    # --- the end

    async def close_all(self, limit: float | None = CLOSE_LIMIT) -> None:
        """Close everything open gracefully, also what opens meanwhile; after ``limit`` seconds abort the rest.

        Then callbacks still running get a moment to end, and are cancelled. What a `Closable` raises is reported.
        """
        while self._live or self._held:
            await self._close_live(limit)
            running = {future for future in self._held if future is not asyncio.current_task()}
            if running:
                _, late = await asyncio.wait(running, timeout=CALLBACK_GRACE)
                for future in late - self._bounded:
                    future.cancel()
                    self._held.discard(future)
                if late & self._bounded:
                    logger.warning("callbacks are still running; they have the rest of the server's grace to end")
                    await asyncio.wait(late & self._bounded)

    async def _close_live(self, limit: float | None) -> None:
        while self._live:
            batch = list(self._live)
            limits = [limit, *(_limit(closable) for closable in batch)]
            closing = {asyncio.create_task(self._close(closable)) for closable in batch}
            self._closing |= closing
            try:
                longest = None if None in limits else max(limits)  # type: ignore[type-var]
                _, late = await asyncio.wait(closing, timeout=longest)
                for task in late:
                    task.cancel()
                if late:
                    await asyncio.wait(late, timeout=CALLBACK_GRACE)
            finally:
                self._closing -= closing
            for closable in batch:
                if closable in self._live:
                    self._abort(closable)
                    self.untrack(closable)

    async def _close(self, closable: Closable) -> None:
        try:
            await closable.close_gracefully()
            await closable.wait_closed()
        except Exception as error:
            self.report(error, f"closing {closable!r}")

    def abort_all(self) -> None:
        """End everything open now, also what `close_all` is waiting for."""
        for closable in list(self._live):
            self._abort(closable)
        for task in [*self._closing, *self._bounded]:
            task.cancel()

    def _abort(self, closable: Closable) -> None:
        try:
            closable.abort()
        except Exception as error:
            self.report(error, f"aborting {closable!r}")

    def bury(self, why: str) -> None:
        """The loop has ended: fail what other threads still wait for, and everything they ask from now on."""
        self._dead = why
        for handle in list(self._handles):
            self._handles.discard(handle)
            handle.settle(None, RuntimeError(why))
        self._live.clear()
        self._held.clear()
        self.on_fatal = None

    def forget_after_fork(self, why: str) -> None:
        """In a forked child: this loop runs in the parent only. Takes no lock: its holder may not exist here."""
        self._dead = why


def _limit(closable: Closable) -> float | None:
    own: float | None = getattr(closable, "close_limit", 0)
    return None if own is None else own + _NET if own else 0


_registry: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = weakref.WeakKeyDictionary()
_registry_lock = threading.Lock()


def runtime_of(loop: asyncio.AbstractEventLoop) -> Runtime:
    """The runtime of ``loop``, made when first asked for."""
    runtime = _registry.get(loop)
    if runtime is None:
        with _registry_lock:
            runtime = _registry.get(loop)
            if runtime is None:
                # What a closed loop still tracked refers to that loop and would keep it here for ever.
                for closed in [other for other in list(_registry) if other.is_closed()]:
                    del _registry[closed]
                runtime = _registry[loop] = Runtime(loop)
    return runtime


def forget_after_fork() -> None:
    """In a forked child: locks anew, and no loop of the parent is used again."""
    global _registry_lock
    _registry_lock = threading.Lock()
    for runtime in list(_registry.values()):
        runtime.forget_after_fork("this event loop runs in the parent process; a forked child has to start its own")
