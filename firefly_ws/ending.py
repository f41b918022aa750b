"""How a server ends: nothing new, Close to each connection, time for callbacks, and then the rest is aborted.

Knows connections, handshakes and HTTP only as what can be closed and aborted. The order:

    drain() or close()   the listening sockets close, behind those who have connected and wait to be accepted;
                         HTTP connections end behind their next answer
    close()              HTTP connections without a request end; Close to each websocket, over `spread` seconds
    MOMENT later         handshakes still under way are aborted
    grace is over        what is left is aborted, its callbacks and handlers cancelled
    all have ended       an ASGI application's lifespan has its shutdown
"""

from __future__ import annotations

import asyncio
import logging
import random
import select
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._core.frames import close_payload
from ._core.listening import Listener
from .codes import CloseReason
from .per_loop import CALLBACK_GRACE
from .sockets import is_inherited

if TYPE_CHECKING:
    from .connection import WebSocketConnection
    from .server import Listening, Server

__all__ = ["Ending", "HowToClose", "check_patience"]

_log = logging.getLogger("firefly_ws")

#: Seconds for a handshake under way when the server closes. Its request comes with the end of TCP's own handshake, but
#: for what is lost on the way; a browser's connections kept for later never send one.
MOMENT = 1.0
_TICK: Final = 0.01
_AT_ONCE: Final = 1000  # connections closed in one turn of the loop
_TURNS: Final = 5000  # of the loop, to accept who waits: uvloop takes one in each
_QUIET: Final = 3  # turns in which nobody has come


class HowToClose(NamedTuple):
    """What the other side is told, and how long it may take."""

    code: int = 1001
    reason: str = ""
    grace: float | None = 10
    spread: float = 0

    @classmethod
    def checked(cls, code: int | CloseReason, reason: str, grace: float | None, spread: float) -> HowToClose:
        """Raises ``ValueError`` or ``TypeError`` for what cannot be sent or waited for."""
        if isinstance(code, CloseReason):
            if reason:
                raise TypeError(f"close({code!r}, {reason!r}) takes a code and a reason, or a CloseReason of both")
            code, reason = code
        close_payload(code, reason)
        check_patience("grace", grace)
        check_patience("spread", spread, optional=False)
        if grace is not None and spread > grace:
            raise ValueError(f"spread={spread!r} must be at most grace={grace!r} seconds: give more grace, or None")
        return cls(code, reason, grace, spread)


def check_patience(name: str, seconds: float | None, *, optional: bool = True) -> None:
    """Zero is a time to wait here, unlike a limit's."""
    what = ", or None to wait for ever" if optional else ""
    if seconds is None and optional:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name}={seconds!r} must be a number of seconds{what}")
    if not seconds >= 0:
        raise ValueError(f"{name}={seconds!r} must be at least 0 seconds{what}")


class Ending:
    """The end of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = server._loop
        self.began = False
        self.closing: asyncio.Task[None] | None = None
        self._closers: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()  # told of the end, so not cancelled
        self._sweeps: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Future[None] | None = None  # for drains
        self._awaited = 0  # connections whose end is waited for
        self._last: asyncio.Future[None] | None = None  # the last of them has ended
        self._quiet: asyncio.Future[None] | None = None  # no callback runs any more
        self._until_quiet: asyncio.TimerHandle | None = None

    # --- nothing new

    def begin(self) -> None:
        """Accept nothing new."""
        if not self.began:
            self.began = True
            self.stop_listening()
            self._server._http.drain()
            if self._server._application is not None:
                self._server._application.watch()

    def stop_listening(self, *, now: bool = False) -> None:
        """Close the listening sockets: not *now*, but behind those who wait to be accepted."""
        listening, self._server._servers = self._server._servers, []
        for one in listening:
            shared = any(is_inherited(sock) for sock in getattr(one, "sockets", ()))
            alone = not getattr(one, "sockets", True)  # nobody waits where there is no socket
            if now or shared or alone or isinstance(one, Listener):
                if isinstance(one, Listener) and not (now or shared):
                    one.take_queue()
                one.close()  # who waits at a socket that others have too is theirs
            else:
                sweep = self._loop.create_task(_take_queue(one))
                self._sweeps.add(sweep)
                sweep.add_done_callback(self._sweeps.discard)

    # --- drain

    async def drained(self, seconds: float | None) -> bool:
        """Whether all has ended by itself within so many *seconds*."""
        until = None if seconds is None else self._loop.time() + seconds
        server = self._server
        while self.closing is None and not server._closed.done():
            shaking = bool(self._sweeps or server._waiting or server._greeting)
            busy = server._http.is_busy or (server._application is not None and server._application.is_busy)
            if not (shaking or server._connections or busy):
                return True
            left = None if until is None else until - self._loop.time()
            if left is not None and left <= 0:
                return False
            if self._changed is None:
                self._changed = self._loop.create_future()
            # Nothing tells of a handshake's end.
            await asyncio.wait({self._changed}, timeout=min(_TICK, left or _TICK) if shaking else left)
        return False

    def look(self) -> None:
        """Something has ended."""
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
        if self._quiet is not None and not self._server._connections and not self._server._http:
            self._end_quiet()

    # --- close

    def close(self, how: HowToClose) -> None:
        """Begin to close; the first call says how."""
        if (closer := asyncio.current_task(self._loop)) is not None:
            self._closers.add(closer)
        if self.closing is None:
            self.closing = self._loop.create_task(self._close(how))
            self.begin()
            self.look()

    async def _close(self, how: HowToClose) -> None:
        try:
            await self._close_each(how)
        except Exception:
            _log.exception("closing %r failed: what is left of it is aborted", self._server)
            self._server.abort()

    async def _close_each(self, how: HowToClose) -> None:
        server, loop = self._server, self._loop
        now = loop.time()
        deadline = None if how.grace is None else now + how.grace
        moment = now + MOMENT if deadline is None else min(now + MOMENT, deadline)
        starting = server._starting
        if starting is not None and not starting.done():
            await asyncio.wait({starting}, timeout=how.grace)
            starting.cancel()
        self._end_http()
        told = set(server._connections)
        await self._tell(told, how)
        await self._handshakes(moment)
        # And those that have come of it.
        self._end_http()
        await self._tell(server._connections - told, how)
        if not await self._ended(deadline):
            for connection in list(server._connections):
                connection.terminate()
            server._http.abort(self._closers)
            await self._ended(loop.time() + CALLBACK_GRACE)
        if server._connections or server._http:
            # Callbacks may run on; what holds the loop for them ends with the last one, or with the grace.
            self._quiet = server._runtime.hold(loop.create_future(), bounded=True)
            if deadline is not None:
                self._until_quiet = loop.call_at(deadline, self._cancel_callbacks)
        if server._application is not None:
            left = None if deadline is None else max(0, deadline - loop.time())
            await server._application.shutdown(left, self._closers)
        server._finish()

    async def _tell(self, told: set[WebSocketConnection], how: HowToClose) -> None:
        """Close each: in no order, and evenly over the time, so that their clients do not come back all at once."""
        connections = list(told)
        random.shuffle(connections)
        begin = self._loop.time()
        for number, connection in enumerate(connections):
            if connection.is_closed:
                continue
            early = begin + number * how.spread / len(connections) - self._loop.time() if how.spread else 0
            if early > 0:
                await asyncio.sleep(max(early, _TICK))
            elif number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            self._await(connection.close(how.code, how.reason))

    async def _handshakes(self, moment: float) -> None:
        """Let those who have connected come in; from then on it is too late."""
        server = self._server
        for handshake in list(server._waiting):
            age = server._waiting.age(handshake)
            if handshake.is_silent and age > MOMENT:
                handshake.abort()
        # Nothing tells of a handshake's end, for those are many, and this is one.
        while (self._sweeps or server._waiting or server._greeting) and self._loop.time() < moment:  # noqa: ASYNC110
            await asyncio.sleep(_TICK)
        server._shut = True
        server.end_greetings()
        for handshake in list(server._waiting):
            handshake.abort()

    def _end_http(self) -> None:
        for end in self._server._http.shut(self._closers):
            self._await(end)

    def _await(self, end: Any) -> None:
        if not end.done():
            self._awaited += 1
            end.add_done_callback(self._one_less)

    def _one_less(self, end: object) -> None:
        self._awaited -= 1
        if not self._awaited and self._last is not None and not self._last.done():
            self._last.set_result(None)

    async def _ended(self, deadline: float | None) -> bool:
        """Whether TCP has ended for all by then."""
        if self._awaited:
            self._last = self._loop.create_future()
            await asyncio.wait({self._last}, timeout=None if deadline is None else deadline - self._loop.time())
        return not self._awaited

    # --- callbacks

    def _cancel_callbacks(self) -> None:
        """The grace is over. What runs last, ``on_close``, begins only now where it waited for another callback."""
        assert self._quiet is not None
        if not self._quiet.done():
            self._cancel_each()
            self._until_quiet = self._loop.call_later(CALLBACK_GRACE, self._end_quiet)

    def _cancel_each(self) -> None:
        for connection in list(self._server._connections):
            connection._cancel_callbacks(self._closers)

    def _end_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done():
            self._cancel_each()
            self._quiet.set_result(None)
            if self._until_quiet is not None:
                self._until_quiet.cancel()


async def _take_queue(listening: Listening) -> None:
    """Have the loop accept those who wait, and stop."""
    poll = select.poll() if hasattr(select, "poll") else None
    try:
        for sock in getattr(listening, "sockets", ()):
            if poll is not None:
                poll.register(sock.fileno(), select.POLLIN)
        quiet = 0
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            # asyncio has accepted in one turn, and fails in a later one where it has been closed in between.
            quiet = quiet + 1 if poll is None or not poll.poll(0) else 0
            if quiet > _QUIET:
                break
    finally:
        listening.close()
