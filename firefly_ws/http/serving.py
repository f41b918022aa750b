"""HTTP/1.1 on one connection: requests in, answers out in their order; knows no websocket but by `Host.upgrade`.

One request at a time: what a client sends ahead (pipelining) waits unread, so answers
cannot overtake each other, and a client can make us keep no more than one read.
A plain handler is called where its request is read; an async one gets a task.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from contextlib import aclosing
from typing import Any

from .answers import as_response, error_page
from .body import HIGH, RequestBody, body_length, expects_100
from .exchange import Endpoint, Host, check_target, goes_on
from .head import BadRequest, RequestHead
from .pieces import closed, framed
from .request import Request
from .response import Response

__all__ = ["Serving"]

_log = logging.getLogger("firefly_ws")

_LINGER = 1.0
"""Seconds for a client to read a last answer while it is still sending: what it sends would reset the connection."""
_SPARE = 65536
"""Bytes of a body nobody read that are read over for the sake of the next request."""
_SLOWEST = 500
"""Bytes a second below which a body counts as dribbling, over a whole ``timeout``."""
_WHOLE = (str, Response, dict, bytes, list)


class Serving(asyncio.Protocol):
    """The requests of one connection."""

    __slots__ = (
        "_body", "_busy", "_close_after", "_context", "_deaf", "_drained", "_ended", "_eof", "_full", "_head",
        "_host", "_in_loop", "_input", "_judged", "_lingering", "_paused", "_request", "_streaming",
        "_transport", "is_secure", "peer", "task",
    )  # fmt: skip

    def __init__(self, host: Host, transport: Any, is_secure: bool) -> None:
        self._host = host
        self._transport = transport
        self.is_secure = is_secure
        self.peer = transport.get_extra_info("peername")
        self._input = b""  # read, and not looked at yet
        self._head: RequestHead | None = None  # of a request whose head is not whole
        self._request: Request | None = None  # under way
        self._body: RequestBody | None = None  # of it, while not complete
        self.task: asyncio.Task[None] | None = None  # the async handler under way
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

    # --- what comes

    def begin(self, request: Request, rest: bytes) -> None:
        """Go on with a connection whose first request has been read, with *rest* behind its head."""
        self._input = rest
        self._in_loop = True
        try:
            self._take(request)
        finally:
            self._in_loop = False
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._ended or self._deaf:
            return  # of a client that did not wait for the end of our last answer
        self._input += data
        self._advance()

    def _advance(self) -> None:
        """Do what can be done with what has come."""
        if self._in_loop:
            return
        self._in_loop = True
        try:
            while self._step():
                pass
        except BadRequest as error:
            self._refuse(error)
        finally:
            self._in_loop = False
        self._steer()

    def _step(self) -> bool:
        """One step: a part of a body, or a request; whether there may be another."""
        data = self._input
        if self._ended:
            return False
        body = self._body
        if body is not None:
            if not data:
                return False
            self._input = b""
            try:
                self._input = body.feed(data)
            except BadRequest as error:
                self._lost_body(error)
                return False
            if body.complete:
                self._body = None
                return True
            if not self._busy and body.received > _SPARE:
                self._close_after = True  # an unread body, and still no end of it
                self._finish()
            return False
        if self._busy or self._full or not data:
            return False
        head = self._head
        if head is None:
            head = self._head = RequestHead(self._host.max_header_size, self._host.max_header_count)
            self._host.idle.discard(self)
            request = head.feed(data)
            if request is None:
                self._host.heads.add(self)
        else:
            request = head.feed(data)
            if request is not None:
                self._host.heads.discard(self)
        if request is None:
            self._input = b""
            return False
        self._input = head.rest
        self._head = None
        request.is_secure = self.is_secure
        request.remote_address = self.peer
        self._take(request)
        return True

    def _lost_body(self, error: BadRequest) -> None:
        """The body cannot be read to its end; who reads it has been told, and answers."""
        _log.info("refused a body from %s: %d, %s", self.peer, error.status, error.message)
        self._close_after = self._deaf = True
        self._body = None
        if not self._busy:
            self._end(linger=True)  # the answer was given without it

    def release(self) -> tuple[Any, bytes]:
        """Give the transport away, and what has been read of what follows."""
        rest, self._input = self._input, b""
        self._ended = True
        if self._paused:
            self._transport.resume_reading()
        return self._transport, rest

    def _steer(self) -> None:
        """Read on, or not."""
        if self._ended:
            return
        if self._eof:
            if not self._busy and not self._input:
                self._end(linger=False)
            return
        body = self._body
        wait = bool(self._input) or (body is not None and body.waiting > HIGH)
        if wait != self._paused:
            self._paused = wait
            if wait:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # --- one request

    def _take(self, request: Request) -> None:
        """Have a request answered."""
        host = self._host
        self._request = request
        self._busy = True
        self._streaming = False
        try:
            if request.target[:1] != "/":
                check_target(request)
            connection = request.headers.fields().get("connection")
            if request.http_version == "1.0" or connection is not None:
                self._close_after |= not goes_on(request, connection)
            length = body_length(request)
            found = host.find(request, self)
            if found is None:
                return
            limit = found.max_body_size if isinstance(found, Endpoint) else None
            if length != 0:
                wanted = self._wanted if expects_100(request) else None
                request._body = self._body = RequestBody(length, limit, wanted, self._taken)
        except BadRequest as error:
            self._refuse(error)
            return
        if isinstance(found, Response):
            self._answer(found)
            return
        try:
            value = found.handler(request)
            if not isinstance(value, _WHOLE) and (
                hasattr(value, "__await__") or (hasattr(value, "add_done_callback") and hasattr(value, "result"))
            ):
                self._run(self._settle(request, value))
                return
            response = as_response(value)
        except Exception as error:
            self._run(self._recover(request, error))
            return
        self._answer(response)

    def _wanted(self) -> None:
        request, body = self._request, self._body
        if self._ended or self._streaming or request is None or body is None or body.received:
            return
        if request.http_version != "1.0":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _taken(self) -> None:
        if self._paused:
            self._steer()

    def _run(self, coroutine: Any) -> None:
        self._judged = (0, 0)
        self._context = contextvars.copy_context()
        self._host.idle.discard(self)
        self._host.idle.add(self)
        self.task = self._host.loop.create_task(coroutine)

    async def _settle(self, request: Request, value: Any) -> None:
        """Await what a handler returned, and answer."""
        try:
            value = await (value if hasattr(value, "__await__") else asyncio.wrap_future(value))
            response = as_response(value)
        except Exception as error:
            await self._recover(request, error)
        else:
            await self._send(response)

    async def _recover(self, request: Request, error: Exception) -> None:
        """A handler raised."""
        if self._ended or (self._eof and isinstance(error, ConnectionError)):
            _log.debug("a handler raised behind the end of its connection: %r", error)
            if not self._ended:
                self._end(linger=False)
            return
        if isinstance(error, BadRequest):
            self._refuse(error)
            return
        answer = self._host.failed(request, error)
        await self._send(answer if isinstance(answer, Response) else await answer)

    # --- answers

    def _answer(self, response: Response) -> None:
        if response.stream is None:
            self._write_whole(response)
        else:
            self._run(self._send(response))

    def _connection(self) -> str:
        """The Connection option of the answer."""
        body = self._body
        if body is not None and not self._close_after:
            # What of the body nobody has asked for must be read over; what is long, or waits for a 100, is not.
            left = body.left
            expects = "expect" in self._request.headers and not body.is_asked_for  # type: ignore[union-attr]
            self._close_after = expects or (left is not None and left > _SPARE)
        if self._close_after or self._eof:
            return "close"
        return "keep-alive" if self._request is not None and self._request.http_version == "1.0" else ""

    def _write_whole(self, response: Response) -> None:
        request = self._request
        if self._ended or request is None:
            return
        self._transport.write(response.encode(request.method, connection=self._connection()))
        self._finish()

    async def _send(self, response: Response) -> None:
        if response.stream is None:
            self._write_whole(response)
            return
        request = self._request
        stream = response.stream
        if self._ended or request is None:
            await closed(stream)
            return
        try:
            length = response.content_length
            chunked = length is None and request.http_version != "1.0"
            if length is None and not chunked:
                self._close_after = True
            self._streaming = True
            self._transport.write(
                response.encode(request.method, connection=self._connection(), chunked=chunked)
            )
            if request.method != "HEAD" and response.has_body:
                async with aclosing(framed(stream, chunked, length)) as pieces:
                    async for piece in pieces:
                        await self._write_piece(piece)
        except Exception as error:
            if not self._ended:
                _log.error("the answer to %s %s failed in its middle", request.method, request.path, exc_info=error)
                self.abort()
            return
        finally:
            await closed(stream)
        self._finish()

    async def _write_piece(self, piece: bytes) -> None:
        """Write, no faster than the client reads."""
        if self._ended:
            raise ConnectionResetError("the client went away")
        self._transport.write(piece)
        if self._full:
            self._drained = self._host.loop.create_future()
            self._host.idle.discard(self)
            self._host.idle.add(self)
            await self._drained

    def _finish(self) -> None:
        """The request is answered to the end."""
        if self._ended:
            return
        host = self._host
        self._busy = False
        self.task = None
        self._request = None
        body = self._body
        if body is not None:
            body.discard()
        host.idle.discard(self)
        if self._close_after or (self._eof and not self._input):
            self._end(linger=body is not None or self._deaf or bool(self._input))
            return
        host.idle.add(self)
        if not self._in_loop and self._input:
            # Not in the task that has just ended, nor with its context.
            host.loop.call_soon(self._advance, context=self._context)

    def _refuse(self, error: BadRequest) -> None:
        """What came is no request we serve; nothing behind it can be trusted."""
        if self._ended:
            return
        _log.info("refused a request from %s: %d, %s", self.peer, error.status, error.message)
        self._close_after = True
        if self._streaming:
            self.abort()
            return
        task, self.task = self.task, None
        if task is not None and task is not asyncio.current_task(self._host.loop):
            task.cancel()
        request = self._request
        headers = error.response.headers.items() if len(error.response.headers) else None
        page = error_page(request, error.status, error.message, headers)
        self._transport.write(page.encode("GET" if request is None else request.method))
        self._end(linger=True)

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
        """Cancel the handler under way."""
        if self.task is not None and self.task is not asyncio.current_task(self._host.loop):
            self.task.cancel()

    def eof_received(self) -> bool:
        """The client has ended its side: it may still read."""
        self._eof = True
        if self._body is not None:
            self._body.fail(ConnectionResetError("the client went away before the end of the request's body"))
            self._body = None
            self._close_after = True
        # asyncio's TLS ends whatever one answers.
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
        self._full = True
        self._judged = (self._judged[0], self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has caught up."""
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
            self._refuse(BadRequest(408, "the request did not arrive within open_timeout"))

    def due(self) -> None:
        """``timeout`` has passed without what was waited for."""
        body, request = self._body, self._request
        if self._full or self._ended:
            waiting = self._transport.get_write_buffer_size()
            if waiting and waiting >= self._judged[1]:
                _log.info("%s took nothing of its answer for timeout=%s s", self.peer, self._host.timeout)
                self.abort()
                return
            self._judged = (0, waiting)
        elif body is not None and (not self._busy or body.is_awaited):
            came = body.received - self._judged[0]
            if came < _SLOWEST * (self._host.timeout or 0):
                late = BadRequest(408, f"the body did not arrive within timeout={self._host.timeout} s")
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
            if task is not None:
                task.cancel()
            self._close_after = True
            self._write_whole(error_page(request, 503, "the server did not answer in time"))
            return
        self._host.idle.add(self)
