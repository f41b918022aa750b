"""How a connection that speaks HTTP waits and ends: patience, flow, the last answer; reads no request.

The state of `Serving`, and what of it changes by time, by the transport or by the end of the server.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
import logging
from typing import Any

from firefly_ws.seldom import seldom

from .answers import error_page
from .body import RequestBody
from .exchange import Cycle, Host, late_head
from .head import BadRequest, RequestHead
from .over_tls import OverTls
from .request import Request
from .response import Response

__all__ = ["Ending"]

_log = logging.getLogger("firefly_ws")

_LINGER = 1.0
"""Seconds for a client to read a last answer while it is still sending: what it sends would reset the connection."""
_SLOWEST = 500
"""Bytes a second below which a body counts as dribbling, over a whole ``timeout``."""


class Ending(asyncio.Protocol):
    """The half of `Serving` that is not about single requests."""

    __slots__ = (
        "_ahead", "_body", "_busy", "_close_after", "_context", "_cycle", "_deaf", "_drained", "_ended", "_eof",
        "_full", "_head", "_host", "_in_loop", "_input", "_judged", "_lingering", "_local", "_paused",
        "_request", "_streaming", "_transport", "_unstarted", "is_secure", "peer", "task",
    )  # fmt: skip

    def __init__(self, host: Host, transport: Any, is_secure: bool) -> None:
        self._host = host
        self._transport = OverTls(transport) if is_secure else transport
        self.is_secure = is_secure
        self.peer = transport.get_extra_info("peername")
        self._local: Any = None  # our address, once asked for: a system call
        self._input = b""  # read, and not looked at yet
        self._ahead: io.BytesIO | None = None  # what stands behind it, where that is much
        self._head: RequestHead | None = None  # of a request whose head is not whole
        self._request: Request | None = None  # under way
        self._body: RequestBody | None = None  # of it, while not complete
        self.task: asyncio.Task[None] | None = None  # the async handler under way
        self._unstarted: Any = None  # its coroutine, until the task's first step
        self._cycle: Cycle | None = None  # the same of a handler that writes its answer itself
        self._busy = False  # with a request that is not answered to the end
        self._streaming = False  # its answer has begun
        self._close_after = False
        self._full = False
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self._eof = False
        self._ended = False
        self._in_loop = False
        self._deaf = False  # what comes cannot be understood any more
        self._context: contextvars.Context | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._judged: tuple[int, int] = (0, 0)  # bytes of the body, bytes to be written: when last looked at

    # --- what the other half does

    def _advance(self) -> None: ...
    def _refuse(self, error: BadRequest) -> None: ...
    def _lost_body(self, error: BadRequest) -> None: ...
    def _write_whole(self, response: Response) -> None: ...

    # --- the end

    def _end(self, *, linger: bool) -> None:
        """Nothing more is answered; what is written goes out."""
        self._leave()
        if linger and not self._eof and self._transport.can_write_eof():
            # What the client still sends would turn our answer into a reset: end our side, and read on for a moment.
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._transport.write_eof()
            self._lingering = self._host.loop.call_later(_LINGER, self._end_lingering)
        else:
            self._transport.close()
            self._guard_end()

    def _end_lingering(self) -> None:
        self._transport.close()
        self._guard_end()

    def _guard_end(self) -> None:
        """A client that reads nothing of what is left does not hold the socket."""
        if self._transport.get_write_buffer_size() and self._host.timeout is not None:
            self._judged = (0, self._transport.get_write_buffer_size())
            self._host.idle.add(self)

    def _leave(self) -> None:
        """Hear of nothing any more."""
        self._ended = True
        self._input = b""
        self._ahead = None
        self._host.idle.discard(self)
        self._host.heads.discard(self)
        if self._body is not None:
            self._body.fail(ConnectionResetError("the connection ended before the request's body"))
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def shut(self) -> None:
        """The server closes: at once where nothing is under way, else behind the answer."""
        self._close_after = True
        if self._ended:
            self._transport.close()
        elif not self._busy:
            self._end(linger=False)

    def abort(self) -> None:
        """End now."""
        self._leave()
        self.cancel()
        self._transport.abort()

    def cancel(self) -> None:
        """Cancel the handler under way; one that writes its answer itself is told that nobody reads it."""
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            cycle.gone()
        elif self.task is not None and self.task is not asyncio.current_task(self._host.loop):
            self._cancel(self.task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        unstarted, self._unstarted = self._unstarted, None
        if inspect.iscoroutine(unstarted):
            # The task will not come to it, and Python would say that it was never awaited.
            unstarted.close()

    def eof_received(self) -> bool:
        """The client has ended its side: it may still read."""
        self._eof = True
        if self._body is not None:
            self._body.fail(ConnectionResetError("the client went away before the end of the request's body"))
            self._body = None
            self._close_after = True
        if self._cycle is not None:
            self._cycle.left()
        if self.is_secure:
            self._transport.give_all()  # asyncio's TLS ends whatever one answers
        return (self._busy or bool(self._input)) and not self.is_secure and not self._ended

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._leave()
        if self._lingering is not None:
            self._lingering.cancel()
        self.cancel()
        self._host.ended(self)

    # --- flow and time

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        if not self._full:
            self._full = True
            self._judged = (self._judged[0], self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.is_secure and not self._transport.refill():
            return
        self._full = False
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None
        elif not self._ended:
            self._advance()

    def head_due(self) -> None:
        """``open_timeout`` has passed since a head began."""
        if self._head is not None and not self._ended:
            self._refuse(late_head(self._host.open_timeout, self._head.size))

    def _goes_on(self, body: RequestBody) -> bool:
        """Whether enough of it has come since the last look; its reader may not have had its turn yet."""
        return body.received - self._judged[0] >= _SLOWEST * (self._host.timeout or 0)

    def due(self) -> None:
        """``timeout`` has passed without what was waited for."""
        body, request = self._body, self._request
        if self._full or self._ended:
            waiting = self._transport.get_write_buffer_size()
            if waiting and waiting >= self._judged[1]:
                seldom(
                    "http timeout", logging.INFO, "%s took nothing of its answer for timeout=%s s",
                    self.peer, self._host.timeout,
                )  # fmt: skip
                self.abort()
                return
            self._judged = (0, waiting)
        elif body is not None and (not self._busy or body.is_awaited or self._goes_on(body)):
            if not self._goes_on(body):
                came = f"{body.received - self._judged[0]} bytes of it came meanwhile, {body.received} in all"
                message = f"the body did not arrive within timeout={self._host.timeout} s"
                least = f"fewer than {_SLOWEST} a second; .timeout(seconds) sets it"
                late = BadRequest(408, message, why=f"{message}: {came}, {least}")
                body.fail(late)
                self._lost_body(late)
                return
            self._judged = (body.received, 0)
        elif not self._busy:
            self._end(linger=False)
            return
        elif not self._streaming and request is not None:
            _log.warning(
                "the handler of %s %s did not answer within timeout=%s s; .timeout(seconds) sets it",
                request.method, request.path, self._host.timeout,
            )  # fmt: skip
            task, self.task = self.task, None
            if self._cycle is not None:
                self._cycle.gone()
                self._cycle = None
            if task is not None:
                self._cancel(task)
            self._close_after = True
            self._write_whole(error_page(request, 503, "the server did not answer in time"))
            return
        self._host.idle.add(self)
