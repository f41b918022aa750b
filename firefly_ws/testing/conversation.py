"""A conversation with a server as a test's ``async with``: frames in and out, and the server's errors at the end."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from firefly_ws.client_builder import WebSocketClient
from firefly_ws.errors import ConnectionClosed, HandshakeError
from firefly_ws.per_loop import runtime_of
from firefly_ws.server_builder import HttpServer, WebSocketRoute

from .in_memory import Connecting, MemoryServer, connect_in_memory
from .links import Link

if TYPE_CHECKING:
    from firefly_ws.connection import WebSocketConnection
    from firefly_ws.session import Incoming, Outgoing

__all__ = ["Conversation", "conversation"]

TICK = 0.002  # seconds
CANCELLED = 1.0  # seconds of grace where the test itself has been cancelled: its time is over
_OURS = str(Path(__file__).parent.parent)


class Conversation:
    """What `conversation` returns, to be entered once with ``async with``."""

    def __init__(self, connecting: Connecting, grace: float | None) -> None:
        self._connecting = connecting
        self._grace = grace
        self._errors = _Errors()

    @property
    def connection(self) -> WebSocketConnection:
        """The client's end (`WebSocketConnection`), for all that is not sending and receiving."""
        if self._connecting.connection is None:
            raise RuntimeError("the conversation has not begun: enter it with 'async with'")
        return self._connecting.connection

    @property
    def accepted(self) -> WebSocketConnection:
        """The server's end (`WebSocketConnection`)."""
        if self._connecting.accepted is None:
            raise RuntimeError("the conversation has not begun: enter it with 'async with'")
        return self._connecting.accepted

    async def __aenter__(self) -> tuple[Incoming, Outgoing]:
        self._errors.begin()
        try:
            connection = await self._connecting.__aenter__()
        except BaseException as error:
            self._errors.end()
            raised = self._errors.of(self._connecting.path)
            if isinstance(error, HandshakeError) and error.status == 500 and raised:
                # The server did not say why: it is here.
                raise raised[0] from error
            raise
        try:
            return connection.incoming, connection.outgoing
        except BaseException as error:
            await self._end(type(error), error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        late = await self._end(kind, error)
        raised = []
        for end in (self.accepted, self.connection):
            raised += self._errors.of(end)
            details, unlogged = end.close_details, end.error
            if unlogged is not None and unlogged not in raised and details is not None and details.began == "error":
                raised.append(unlogged)  # logging is switched off
        if self._connecting.failed is not None:
            raised.append(self._connecting.failed)
        if late:
            raised.append(TimeoutError(late))
        if not raised:
            return
        cause = raised[0] if len(raised) == 1 else BaseExceptionGroup("callbacks raised", raised)
        if error is None or isinstance(error, (ConnectionClosed, TimeoutError)):
            # A closed connection, or one that stays silent, is what a test sees of an error of the server.
            raise cause from error
        error.add_note(f"callbacks raised, too: {', '.join(map(_told, raised))}")

    async def _finished(self) -> None:
        """Return once the client's last callback has ended."""
        await self.connection.wait_finished()
        runtime = runtime_of(asyncio.get_running_loop())
        # Nothing tells of an on_open that goes on behind on_close.
        while self.connection in runtime.tracked:  # noqa: ASYNC110
            await asyncio.sleep(TICK)

    async def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> str:
        """Close, and wait for the callbacks of both ends; says which had to be cancelled."""
        connecting, accepted = self._connecting, self.accepted
        grace = self._grace
        if isinstance(error, asyncio.CancelledError):
            grace = CANCELLED if grace is None else min(grace, CANCELLED)
        late = ""
        ended: asyncio.Future[Any] | None = None
        try:
            await self.connection.__aexit__(kind, error, None)
            await connecting.heard()
            if not accepted.is_closed:
                accepted.terminate()  # it does not read, or the network is silent
            ended = asyncio.gather(self._finished(), connecting.server.callbacks_ended(accepted))
            _, running = await asyncio.wait({ended}, timeout=grace)
            if running:
                cancelled = [*accepted._cancel_callbacks(), *self.connection._cancel_callbacks()]
                where = ", ".join(filter(None, map(_waits_at, cancelled))) or "somewhere"
                late = f"a callback still ran grace={grace} seconds behind the end: {where}"
                await ended
            await connecting.end_server()
        except BaseException:
            connecting.abort()
            if ended is not None:
                ended.cancel()
            raise
        finally:
            self._errors.end()
        return late


def _waits_at(task: Any) -> str:
    """Where a task is in the user's own function, below those of ours that run it."""
    coroutine = task.get_coro() if hasattr(task, "get_coro") else None
    while coroutine is not None:
        frame: FrameType | None = getattr(coroutine, "cr_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith(_OURS):
            return f"{frame.f_code.co_qualname} at {frame.f_code.co_filename}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None)
    return ""


def _told(error: BaseException) -> str:
    """It, and where it comes from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return repr(error)
    return f"{error!r} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


class _Errors(logging.Filter):
    """What the library logs with an exception meanwhile, and whom it says it of. Hides nothing from other handlers."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[tuple[Any, BaseException]] = []

    def begin(self) -> None:
        logging.getLogger("firefly_ws").addFilter(self)

    def end(self) -> None:
        logging.getLogger("firefly_ws").removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None and isinstance(record.args, tuple) and record.args:
            # An ASGI application has a name in its log, and the path beside it.
            self._found.append((getattr(record, "path", record.args[0]), record.exc_info[1]))
        return True

    def of(self, subject: object) -> list[BaseException]:
        return [error for whose, error in self._found if whose == subject]


def conversation(
    server: HttpServer | WebSocketRoute | MemoryServer,
    client: str | WebSocketClient = "/",
    *,
    link: Link | None = None,
    grace: float | None = 10,
) -> Conversation:
    """Talk to *server* without a socket: ``async with conversation(server, "/echo") as (incoming, outgoing)``.

    ``incoming`` gives what the server sends as Frames (``receive()``, ``async for``),
    ``outgoing`` takes what is sent to it (``send``). *server*, *client* and *link* are
    those of `connect_in_memory`; the client's builder has no message callback. At the end
    the connection closes with 1000, or with 1011 if an exception leaves the block, and
    the callbacks of both ends are waited for, *grace* seconds (``None``: for ever) before they
    are cancelled. What they raised is raised there: one error as it is, several as a
    group, one that had to be cancelled as ``TimeoutError``. If the block ends with
    `ConnectionClosed` or ``TimeoutError``, the callback's error takes its place; to any other
    exception it is added as a note. ``TypeError`` and ``ValueError`` for other arguments.
    """
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, (int, float))):
        raise TypeError(f"grace={grace!r} must be a number of seconds, or None to wait for ever")
    if grace is not None and not grace >= 0:
        raise ValueError(f"grace={grace!r} must be at least 0 seconds, or None to wait for ever")
    return Conversation(connect_in_memory(server, client, link=link), grace)
