"""HTTP/1.1 on one connection: requests in, answers out in their order; knows no websocket but by `Host.upgrade`.

One request at a time: what a client sends ahead (pipelining) waits unread, so answers
cannot overtake each other, and a client can make us keep no more than one read. Of that
a bounded part is served in one turn of the loop.
A plain handler is called where its request is read; an async one gets a task.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
from contextlib import aclosing
from typing import Any

from .answers import as_response, error_page
from .body import HIGH, RequestBody, body_length, expects_100
from .ending import Ending
from .exchange import Cycle, Direct, Endpoint, check_target, goes_on, note_refused
from .head import BadRequest, RequestHead
from .pieces import closed, framed
from .request import NotJson, Request
from .response import Response

__all__ = ["Serving"]

_log = logging.getLogger("firefly_ws")

_SPARE = 65536
"""Bytes of a body nobody read that are read over for the sake of the next request."""
_TURN = 16
"""Requests of one connection, or parts of a body, in one turn of the loop: half a millisecond of plain handlers."""
_WINDOW = 4096
"""Bytes of several requests that are looked at together: each that is taken off copies the rest of them."""
_WHOLE = (str, Response, dict, bytes, list)


class Serving(Ending):
    """The requests of one connection."""

    __slots__ = ()

    # --- what comes

    def begin(self, request: Request, rest: bytes) -> None:
        """Go on with a connection whose first request has been read, with *rest* behind its head."""
        self._come(rest)
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
        self._come(data)
        self._advance()

    def _come(self, data: bytes) -> None:
        """Keep *data*: at hand, or where it is more than is looked at together, ahead."""
        if self._ahead is not None:
            self._ahead = io.BytesIO(self._ahead.read() + data)
            return
        data = self._input + data
        if len(data) > _WINDOW and self._body is None:
            self._ahead = io.BytesIO(data)
            data = self._ahead.read(_WINDOW)
        self._input = data

    def _left(self, data: bytes) -> None:
        """*data* of what was at hand is left."""
        if not data and self._ahead is not None:
            data = self._ahead.read(_WINDOW if self._body is None else -1)
            if not data:
                self._ahead = None
        self._input = data

    def _advance(self) -> None:
        """Do what can be done with what has come."""
        if self._in_loop:
            return
        self._in_loop = True
        steps = 0
        try:
            while self._step():
                steps += 1
                if steps == _TURN:
                    if self._body is not None or not (self._busy or self._full):
                        self._host.loop.call_soon(self._advance, context=self._context)
                    break
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
            seen = body.received
            try:
                data = body.feed(data)
            except BadRequest as error:
                self._lost_body(error)
                return False
            if body.complete:
                self._body = None
                if seen and self._busy:
                    self._host.idle.add(self)  # it took its time, and the answer has a whole timeout from here
                if self._ahead is None:
                    self._come(data)
                else:
                    self._left(data)
                return True
            self._left(data)
            if not self._busy and body.received > _SPARE:
                self._close_after = True  # an unread body, and still no end of it
                self._finish()
                return False
            return bool(self._input)
        if self._busy or self._full or not data:
            return False
        host, head = self._host, self._head
        if head is None:
            head = RequestHead(host.max_header_size, host.max_header_count)
            request = head.feed(data)
            if request is None:
                self._head = head
                host.idle.discard(self)
                host.heads.add(self)
        else:
            request = head.feed(data)
            if request is not None:
                host.heads.discard(self)
                self._head = None
        if request is None:
            self._left(b"")
            return bool(self._input)
        self._left(head.rest)
        request.is_secure = self.is_secure
        request.remote_address = self.peer
        self._take(request)
        return bool(self._input)

    def _lost_body(self, error: BadRequest) -> None:
        """The body cannot be read to its end; who reads it has been told, and answers."""
        note_refused("a body", self.peer, error)
        self._close_after = self._deaf = True
        self._body = None
        if not self._busy:
            self._end(linger=True)  # the answer was given without it

    def release(self) -> tuple[Any, bytes]:
        """Give the transport away, and what has been read of what follows."""
        rest, self._input = self._input, b""
        if self._ahead is not None:
            rest += self._ahead.read()
            self._ahead = None
        self._ended = True
        self._host.idle.discard(self)
        if self._paused:
            self._transport.resume_reading()
        return (self._transport.inner if self.is_secure else self._transport), rest

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
            if request.http_version == "1.0" or (connection is not None and connection != " keep-alive"):
                self._close_after |= not goes_on(request, connection)
            length = body_length(request)
            found = host.find(request, self)
            if found is None:
                return
            limit = None if isinstance(found, Response) else found.max_body_size
            if length != 0:
                wanted = self._wanted if expects_100(request) else None
                request._body = self._body = RequestBody(length, limit, wanted, self._taken)
        except BadRequest as error:
            self._refuse(error)
            return
        if not isinstance(found, Endpoint):
            if isinstance(found, Response):
                self._answer(found)
            else:
                self._begin(found, request)
            return
        try:
            value = found.handler(request)
            if not isinstance(value, _WHOLE) and (
                hasattr(value, "__await__") or (hasattr(value, "add_done_callback") and hasattr(value, "result"))
            ):
                self._unstarted = value
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
        self._await(self._host.loop.create_task(coroutine))

    def _await(self, task: asyncio.Task[None]) -> None:
        """*task* answers, within ``timeout``."""
        self._judged = (0, 0)
        self._context = contextvars.copy_context()
        self._host.idle.add(self)
        self.task = task

    async def _settle(self, request: Request, value: Any) -> None:
        """Await what a handler returned, and answer."""
        self._unstarted = None
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
        if isinstance(error, NotJson):
            note_refused("a body", self.peer, BadRequest(400, str(error)))
            await self._send(error_page(request, 400, str(error)))
            return
        answer = self._host.failed(request, error)
        await self._send(answer if isinstance(answer, Response) else await answer)

    # --- handlers that write their answers themselves (`Cycle`)

    def _begin(self, direct: Direct, request: Request) -> None:
        self._cycle = cycle = direct.begin(request, self)
        self._await(direct.task(cycle.run()))

    @property
    def local_address(self) -> Any:
        """Our end's address."""
        if self._local is None:
            self._local = self._transport.get_extra_info("sockname")
        return self._local

    def connection_option(self, closes: bool) -> str:
        """The Connection option of the answer that begins now; *closes*: it is to be the last."""
        self._close_after |= closes
        return self._connection()

    def answered(self, status: int) -> None:
        """The answer to the request under way begins."""
        self._host.answered(self._request.method, status)  # type: ignore[union-attr]  # it is under way

    def broke_off(self) -> None:
        """A handler failed where it was too late to say so."""
        self._host.failures += 1

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        """A part of the answer to the request under way; what it returns is to be awaited before the next one."""
        self._streaming = True
        transport = self._transport
        transport.write(data)
        # One that has failed says so in the next turn of the loop: who sends on without one would never hear of it.
        return self._wait_drained() if (self._full or transport.is_closing()) and not self._ended else None

    def write_last(self, cycle: Cycle, data: bytes) -> None:
        """The last part of it: the next request may come."""
        if data:
            self._transport.write(data)
        if self._cycle is cycle:
            self._cycle = None
            self._finish()

    def refuse(self, cycle: Cycle, error: BadRequest) -> None:
        """The request's body is none that we take: that is the answer, where none has begun."""
        if self._cycle is cycle:
            self._cycle = self.task = None
            self._refuse(error)

    async def failed(self, cycle: Cycle, error: Exception) -> None:
        """Answer for a handler that raised before its answer began."""
        if self._cycle is cycle:
            self._cycle = None
            self.task = None
            await self._recover(self._request, error)  # type: ignore[arg-type]  # it is under way

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
        self._host.answered(request.method, response.status)
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
            self._host.answered(request.method, response.status)
            head = response.encode(request.method, connection=self._connection(), chunked=chunked)
            self._transport.write(head)
            if request.method != "HEAD" and response.has_body:
                async with aclosing(framed(stream, chunked, length)) as pieces:
                    async for piece in pieces:
                        await self._write_piece(piece)
        except Exception as error:
            if not self._ended:
                _log.error("the answer to %s %s failed in its middle", request.method, request.path, exc_info=error)
                self.broke_off()
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
            await self._wait_drained()

    def _wait_drained(self) -> asyncio.Future[None]:
        """For the client to catch up, which it has to do within ``timeout``."""
        if self._drained is None or self._drained.done():
            self._drained = self._host.loop.create_future()
            self._host.idle.add(self)
        return self._drained

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
        note_refused("a request", self.peer, error)
        self._close_after = True
        if self._streaming:
            self.abort()
            return
        task, self.task = self.task, None
        if task is not None and task is not asyncio.current_task(self._host.loop):
            self._cancel(task)
        request = self._request
        headers = error.response.headers.items() if len(error.response.headers) else None
        page = error_page(request, error.status, error.message, headers)
        self._host.answered("other" if request is None else request.method, page.status)
        self._transport.write(page.encode("GET" if request is None else request.method))
        self._end(linger=True)
