"""A connect that has begun, and connections that are made again; how one is made is the business of `dial`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final

from ._core.delivery import Callbacks
from .backoff import Backoff
from .connection import WebSocketConnection
from .dial import Target, dial
from .errors import is_of_the_end
from .per_loop import Runtime, runtime_of
from .settled import settled
from .url import WebSocketURL

__all__ = ["Again", "Callback", "Connecting", "forever", "keep_open", "open_once", "open_with"]

_log = logging.getLogger("firefly_ws")

_TRIES_UNTOLD: Final = 5
"""In a row: then somebody has to hear of it, once, who has set up no logging and may have made a mistake."""

Callback = Callable[[WebSocketConnection], object]


class Connecting:
    """A connect that has begun: await it, or enter it with ``async with``; an error nobody awaits is logged."""

    def __init__(
        self,
        url: WebSocketURL,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[], Coroutine[Any, Any, WebSocketConnection]],
        unused: Callable[[], object] | None = None,
    ) -> None:
        self._url = url
        self._unused = unused
        """Called if *work* never begins."""
        self._runtime: Runtime = runtime_of(loop)
        self._awaited = False
        self._connection: WebSocketConnection | None = None
        self._task: asyncio.Task[Any] = loop.create_task(self._run(work), name=f"firefly_ws connect {url}")
        self._runtime.hold(self._task)
        self._task.add_done_callback(self._done)

    async def _run(self, work: Callable[[], Coroutine[Any, Any, WebSocketConnection]]) -> WebSocketConnection:
        await self._runtime.listens_settled()
        self._unused = None
        return await work()

    def _done(self, task: asyncio.Task[Any]) -> None:
        if self._unused is not None:
            self._unused()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._awaited:
            self._runtime.report(error, f"connecting to {self._url}")

    def __await__(self) -> Generator[Any, None, Any]:
        self._awaited = True
        try:
            return (yield from self._task.__await__())
        except asyncio.CancelledError:
            # Who waited was cancelled just as it opened, and will not hear of it: it would stay open for ever.
            if self._task.done() and not self._task.cancelled() and self._task.exception() is None:
                self._task.result().close()
            raise

    def __repr__(self) -> str:
        return f"<connecting to {self._url}{', ended' if self._task.done() else ''}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if hasattr(WebSocketConnection, name):
                text += "; the connection has, which is what awaiting this gives: connection = await builder.connect()"
            raise AttributeError(text, name=name, obj=self)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    def cancel(self) -> bool:
        """Stop trying; once it is open: cancel the callback of ``connect_async`` and close with 1000."""
        return self._task.cancel()

    def add_done_callback(self, callback: Callable[[asyncio.Task[Any]], object]) -> None:
        """Call ``callback(task)`` once it has ended; its error is then the callback's business."""
        self._awaited = True
        self._task.add_done_callback(callback)

    async def __aenter__(self) -> WebSocketConnection:
        connection: WebSocketConnection = await self
        self._connection = connection
        return connection

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._connection is not None
        await self._connection.__aexit__(kind, error, trace)


async def open_once(target: Target) -> WebSocketConnection:
    """For ``connect``."""
    return await dial(target, target.settings.callbacks)


async def open_with(target: Target, callback: Callback) -> WebSocketConnection:
    """For ``connect_async``: ends when the callback has."""
    first = _First(callback)
    try:
        connection = await dial(target, _with_first(target.settings.callbacks, first))
        await first.ended
    except asyncio.CancelledError:
        # Who waits for the callback, and gives up, has no other hold on it nor on its connection.
        first.cancel()
        raise
    return connection


class Again:
    """One connection made as often as it takes. While it is not open, the runtime's end is the end of trying.

    ``attempt()`` begins a try: it gives what a hook returned, awaited if it can be, and what then makes the target.
    """

    def __init__(
        self,
        url: WebSocketURL,
        attempt: Callable[[], tuple[object, Callable[[], Target]]],
        backoff: Backoff,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        dial: Callable[[Target, Callbacks], Awaitable[WebSocketConnection]] = dial,
    ) -> None:
        self._url = url
        self._attempt = attempt
        self._backoff = backoff
        self._sleep = sleep
        self._dial = dial
        self._delay = 0.0
        self._task: asyncio.Task[Any] | None = None
        self.stopped = False
        """The runtime has ended it."""

    @property
    def url(self) -> WebSocketURL:
        """Where to."""
        return self._url

    def __repr__(self) -> str:
        return f"<reconnecting to {self._url}>"

    async def open(self, first: _First | None = None) -> WebSocketConnection:
        """Wait if need be, and try until it is open; raises what `Backoff.failed` does."""
        runtime = runtime_of(asyncio.get_running_loop())
        self._task = asyncio.current_task()
        runtime.track(self)
        try:
            while True:
                if self._delay:
                    await self._sleep(self._delay)
                try:
                    hook, make = self._attempt()
                    await settled(hook)
                    target = make()
                    connection = await self._dial(target, _with_first(target.settings.callbacks, first))
                except Exception as error:
                    self._delay = self._backoff.failed(error)
                    tries = self._backoff.tries
                    level = logging.WARNING if tries == _TRIES_UNTOLD else logging.INFO
                    _log.log(level, "try %d of %s failed, the next in %.1f s: %s", tries, self._url, self._delay, error)
                else:
                    self._backoff.opened()
                    self._delay = 0.0
                    return connection
        finally:
            runtime.untrack(self)

    def ended(self, connection: WebSocketConnection) -> None:
        """It has been lost: the next `open` waits. Raises the loss if it is not worth another try."""
        error = connection.closed_error("reconnecting")
        error.__cause__ = connection.error
        opened, over, *_ = connection._times()
        self._delay = self._backoff.lost(error, over - opened)
        _log.info("%r was lost, the next try in %.1f s: %s", connection, self._delay, error)

    # For the runtime.

    async def close_gracefully(self) -> None:
        """Stop trying."""
        self.abort()

    async def wait_closed(self) -> None:
        """Return once no try is under way."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def abort(self) -> None:
        """Stop trying."""
        self.stopped = True
        if self._task is not None:
            self._task.cancel()


def _is_ours(connection: WebSocketConnection) -> bool:
    """Whether a Close of ours ended it: not the peer's, which we echo, nor an error."""
    sent = connection.close_sent
    return connection.error is None and sent is not None and sent is not connection.close_received


async def keep_open(again: Again, callback: Callback) -> WebSocketConnection:
    """For ``connect_async`` with ``.reconnect()``: ends, with the last connection, once we have closed it."""
    while True:
        first = _First(callback)
        try:
            connection = await again.open(first)
            over = asyncio.ensure_future(_over(connection))
            try:
                await asyncio.wait({first.ended, over}, return_when=asyncio.FIRST_COMPLETED)
                if first.ended.done():
                    await first.ended
                await over
            finally:
                over.cancel()
            if first.ended.done() or _is_ours(connection):
                await first.ended
            if _is_ours(connection):
                return connection
        except asyncio.CancelledError:
            first.cancel()
            raise
        # The callback was this connection's: what it still waits for must not be taken from the next one's.
        first.cancel()
        again.ended(connection)


async def _over(connection: WebSocketConnection) -> None:
    """Return once *connection* has ended; behind its on_close, so that the next one's on_accept comes later."""
    await connection.wait_closed()
    # At most as long as anything may take at the end: a message that nobody takes would hold it up for ever.
    finished = asyncio.ensure_future(connection.wait_finished())
    try:
        await asyncio.wait({finished}, timeout=connection.policy.close_timeout)
    finally:
        finished.cancel()


async def forever(again: Again) -> AsyncGenerator[WebSocketConnection, None]:
    """One open connection after the other."""
    loop = asyncio.get_running_loop()
    while True:
        opening = Connecting(again.url, loop, again.open)
        try:
            connection: WebSocketConnection = await opening
        except asyncio.CancelledError:
            if again.stopped:
                return
            raise
        try:
            yield connection
        finally:
            # The loop's body is through with it, and goes on to the next one, or has left.
            await connection.close()
        if not _is_ours(connection):
            again.ended(connection)
        elif connection.close_sent is not None and connection.close_sent.code == 1001:
            return


class _First:
    """The callback of ``connect_async``: called before the first message; its end ends the awaitable."""

    def __init__(self, callback: Callable[[WebSocketConnection], object]) -> None:
        self._callback = callback
        self._task: asyncio.Task[Any] | None = None
        self._connection: WebSocketConnection | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self, connection: WebSocketConnection) -> None:
        self._connection, self._task = connection, asyncio.current_task()
        try:
            await settled(self._callback(connection))
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            self.ended.cancel()
            raise
        except Exception as error:
            if not connection.is_open and is_of_the_end(error):
                _log.debug("%r: a callback met the end of the connection: %s", connection, error)
                self._return()
                return
            if self.ended.cancelled():
                # Nobody awaits it any more: it is an error like that of any callback.
                raise
            # Raised where connect_async is awaited, logged there if it is not; the peer gets 1011.
            connection._fail(error)
            self.ended.set_exception(error)
        else:
            self._return()
        finally:
            self._task = None

    def _return(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if not self.ended.cancel() and not self.ended.cancelled() and (error := self.ended.exception()) is not None:
            # It ended at the same moment.
            _log.error("the callback of connect_async raised: %r", error, exc_info=error)
        if self._connection is not None:
            if self._task is not None:
                self._task.cancel()
            self._connection.close()


def _with_first(callbacks: Callbacks, first: _First | None) -> Callbacks:
    """The callbacks with ``connect_async``'s, which runs beside on_accept."""
    if first is None:
        return callbacks
    accept = callbacks.accept
    if accept is None:
        return callbacks.with_accept(first)

    async def both(connection: WebSocketConnection) -> None:
        value: Awaitable[None] = settled(accept(connection))
        await asyncio.gather(value, first(connection))

    return callbacks.with_accept(both)
