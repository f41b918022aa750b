"""One HTTP request of an ASGI application: its ``receive`` and ``send``; knows `Serving`, no bytes and no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from firefly_ws.http.head import BadRequest

from .answer import Answer
from .call import Call
from .events import Application, ClientDisconnected, Event, is_gone

if TYPE_CHECKING:
    from firefly_ws.http.body import RequestBody
    from firefly_ws.http.request import Request
    from firefly_ws.http.serving import Serving

    from .events import Scope

__all__ = ["HttpCycle"]


class HttpCycle(Call):
    """One request (`firefly_ws.http.exchange.Cycle`)."""

    __slots__ = ("_answer", "_body", "_gone", "_left", "_read", "_request", "_serving", "_turned")

    def __init__(self, app: Application, scope: Scope, request: Request, serving: Serving) -> None:
        self._app = app  # not by Call's constructor: one call less for each request
        self._scope = scope
        self._request = request
        self._serving = serving
        self._answer = Answer(request.method, request.http_version)
        self._body: RequestBody | None = getattr(request, "_body", None)
        self._read = False  # the body, to its end
        self._left = False  # by the client, which may still read
        self._gone = False
        self._turned: asyncio.Event | None = None  # what receive() waits with behind the body

    @property
    def _name(self) -> str:
        return f"the ASGI application, asked for {self._request.method} {self._request.path},"

    def _cancelled(self) -> None:
        self._break_off()

    def _ended(self, error: Exception | None) -> Awaitable[None] | None:
        return None if error is None and (self._answer.complete or self._gone) else self._failed(error)

    async def _failed(self, error: Exception | None) -> None:
        answer = self._answer
        if self._gone and not answer.complete:
            self._log.debug("%s ended behind its client: %r", self._name, error)
        elif answer.complete or answer.has_left:
            if error is None:
                self._log.error("%s returned in the middle of its answer", self._name)
                self._serving.broke_off()
            elif not is_gone(error):
                where = "behind its answer" if answer.complete else "in the middle of its answer"
                self._log.error("%s raised %s", self._name, where, exc_info=error)
                self._serving.broke_off()
            self._break_off()
        else:
            if error is None:
                what = "completing its answer" if answer.status else "an answer"
                error = RuntimeError(f"{self._name} returned without {what}")
            await self._serving.failed(self, error)

    def _break_off(self) -> None:
        """The client must not take what it got for whole."""
        if not self._answer.complete and not self._gone:
            self._gone = True
            self._serving.abort()

    def left(self) -> None:
        """The client has ended its side; it may still read."""
        self._left = True
        if self._turned is not None:
            self._turned.set()

    def gone(self) -> None:
        """Nothing that is sent will be read."""
        self._gone = True
        self.left()

    async def receive(self) -> Event:
        """``http.request`` for each piece of the body, then ``http.disconnect`` once there is nothing more to do."""
        if not self._read:
            body = self._body
            if body is None:
                self._read = True
                return {"type": "http.request", "body": b"", "more_body": False}
            try:
                piece = await body.next()
            except BadRequest as error:
                # No word of ASGI for it: the client is told by us, the application that there is nothing more.
                self._read = True
                if not self._answer.has_left:
                    self.gone()
                    self._serving.refuse(self, error)
                return {"type": "http.disconnect"}
            except ConnectionError:
                self._read = True
                return {"type": "http.disconnect"}
            if piece is None or body.at_end:
                self._read = True
            return {"type": "http.request", "body": piece or b"", "more_body": not self._read}
        if not self._answer.complete and not self._left:
            if self._turned is None:
                self._turned = asyncio.Event()
            await self._turned.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        """Take ``http.response.start`` or ``http.response.body``; returns once the client may be sent more."""
        answer = self._answer
        begun = answer.has_left
        data = answer.take(event, self._serving.connection_option)
        if self._gone:
            raise ClientDisconnected(f"the client of {self._request.method} {self._request.path} is gone")
        if not begun and answer.has_left:
            self._serving.answered(answer.status)
        if answer.complete:
            self._serving.write_last(self, data)
            if self._turned is not None:
                self._turned.set()
        elif data:
            wait = self._serving.write(data)
            if wait is not None:
                # Another that waits for the same must not be cancelled with this one.
                await asyncio.shield(wait)
