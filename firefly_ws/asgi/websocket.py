"""One websocket of an ASGI application: its ``receive`` and ``send``; knows a connection, no socket and no request.

    state       event of the application     then
    CONNECTING  websocket.accept             OPEN
    CONNECTING  websocket.close              CLOSED, 403
    CONNECTING  websocket.http.response.…    the answer is collected; at its end CLOSED
    CONNECTING  it raises, or returns        CLOSED, 500
    OPEN        websocket.send               the message leaves
    OPEN        websocket.close              CLOSED, its code
    OPEN        it raises, or returns        CLOSED, 1011, or 1000
    CLOSED      any                          RuntimeError; ClientDisconnected where it was the client who ended it

``receive`` returns without a step of the loop while messages wait, ``send`` while the
connection is below its high water mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from firefly_ws._core.done import DONE
from firefly_ws.codes import CloseCode
from firefly_ws.errors import ConnectionClosed
from firefly_ws.http.response import Response

from .answer import Answer
from .call import Call
from .events import Application, ClientDisconnected, Event, Scope, is_gone, kind_of

if TYPE_CHECKING:
    from firefly_ws._core.inbox import Inbox
    from firefly_ws.connection import WebSocketConnection

__all__ = ["Door", "WebSocketSession"]

_DENIAL = ("websocket.http.response.start", "websocket.http.response.body")
_CONNECTING, _OPEN, _CLOSED = range(3)
_DONE = DONE


class Door(Protocol):
    """The request for a websocket, until it is decided; whoever has it tells the session ``gone()`` if it goes."""

    def accept(self, sub_protocol: str | None, headers: Iterable[tuple[str, str]]) -> WebSocketConnection:
        """Upgrade. Raises ``ValueError`` for a header or a subprotocol that cannot be in the answer."""

    def deny(self, status: int, answer: bytes) -> None:
        """Write this instead, and end the connection."""


class WebSocketSession(Call):
    """One websocket scope: `run` runs the application, whose end is the connection's."""

    __slots__ = (
        "_asked", "_connection", "_denial", "_denied", "_door", "_end", "_inbox", "_leaving", "_state", "_turned",
    )  # fmt: skip

    def __init__(self, app: Application, scope: Scope, door: Door) -> None:
        super().__init__(app, scope)
        self._door: Door | None = door
        self._state = _CONNECTING
        self._asked = False  # websocket.connect has been received
        self._turned: asyncio.Event | None = None  # what receive() waits with until it is decided
        self._connection: WebSocketConnection | None = None
        self._inbox: Inbox | None = None
        self._denial: Answer | None = None
        self._denied: list[bytes] = []
        self._end: tuple[int, str] | None = None  # what websocket.disconnect says, once decided
        self._leaving: tuple[int, str] | None = None  # the same, behind the messages that wait

    @property
    def _name(self) -> str:
        return f"the ASGI application, asked for a websocket at {self._scope['path']},"

    def _cancelled(self) -> None:
        self._finish(CloseCode.GOING_AWAY)

    def _ended(self, error: Exception | None) -> None:
        if error is None:
            if self._state == _CONNECTING:
                what = "completing its answer" if self._denial is not None else "websocket.accept or websocket.close"
                self._log.error("%s returned without %s", self._name, what)
            self._finish(CloseCode.NORMAL)
            return
        if is_gone(error):
            self._log.debug("%s ended behind its client: %r", self._name, error)
        else:
            self._log.error("%s raised", self._name, exc_info=error, extra={"path": self._scope["path"]})
            if self._connection is not None:
                self._connection._failures += 1
                self._connection._fail(error)
        self._finish(CloseCode.INTERNAL_ERROR)

    def _finish(self, code: int) -> None:
        """The application is at its end: so is the connection."""
        if self._state == _CONNECTING:
            self._deny(Response.text(500, "Internal Server Error"))
        elif self._state == _OPEN and self._connection is not None:
            self._connection.close(code)
        self._state = _CLOSED

    def gone(self, code: int = CloseCode.ABNORMAL_CLOSURE) -> None:
        """There is nobody to decide about any more: from whoever has the door."""
        self._door = None
        if self._state == _CONNECTING:
            self._decided(code, "")

    cancel = gone

    def shut(self, code: int) -> None:
        """The server ends: 500 where nothing is decided, else Close with *code*.

        The application hears of it behind the messages that wait, and not only when the client has answered.
        """
        connection = self._connection
        if self._state == _CONNECTING:
            self._deny(Response.text(500, "Internal Server Error"))
            self._door = None
        elif self._state == _OPEN and connection is not None and connection.is_open:
            connection.close(code)
            self._leaving = code, ""
            connection._inbox.look_again()  # type: ignore[union-attr]  # it is there: nothing else takes messages

    def _decided(self, code: int | None = None, reason: str = "") -> None:
        """The request is answered: with a connection, or (*code*) without one."""
        self._state = _OPEN if code is None else _CLOSED
        if code is not None:
            self._end = code, reason
        if self._turned is not None:
            self._turned.set()

    # --- receive

    async def receive(self) -> Event:
        """``websocket.connect`` first, then ``websocket.receive`` for each message, ``websocket.disconnect`` at last.

        A message is taken in the step that returns it: who is cancelled loses none.
        """
        inbox = self._inbox
        if inbox is None:
            if not self._asked:
                self._asked = True
                if self._connection is not None:
                    self._inbox = self._connection._inbox
                return {"type": "websocket.connect"}
            while self._inbox is None and self._end is None:
                self._turned = self._turned or asyncio.Event()
                await self._turned.wait()
            inbox = self._inbox
        if self._end is not None or inbox is None:
            return self._disconnect()
        while inbox.is_empty("receive()"):
            if inbox.ended or self._leaving is not None:
                return self._disconnect()
            waiter = inbox.wait("receive()")
            try:
                await waiter
            finally:
                inbox.waited(waiter)
        message = inbox.pop()
        return {"type": "websocket.receive", "text" if type(message) is str else "bytes": message}

    def _disconnect(self) -> Event:
        end = self._end or self._leaving
        if end is None:
            reason = self._connection.close_reason if self._connection is not None else None
            end = (CloseCode.ABNORMAL_CLOSURE, "") if reason is None else (reason.code, reason.message)
        return {"type": "websocket.disconnect", "code": int(end[0]), "reason": end[1]}

    # --- send

    async def send(self, event: Event) -> None:
        """Take an event; returns once the client may be sent more.

        Raises `ClientDisconnected` where the client is gone, ``RuntimeError`` for an event
        that may not come now, ``TypeError`` and ``ValueError`` for what is wrong in one.
        """
        if self._state != _OPEN or event.get("type") != "websocket.send":
            self._send_other(event)
            return
        connection = self._connection
        try:
            text = event.get("text")
            if text is not None:
                wait = connection.send_text(text)  # type: ignore[union-attr]  # open
            else:
                data = event.get("bytes")
                if data is None:
                    raise ValueError("websocket.send needs 'text' or 'bytes'")
                wait = connection.send_data(data)  # type: ignore[union-attr]
            if wait is not _DONE:
                await wait
        except ConnectionClosed as closed:
            raise ClientDisconnected(str(closed)) from closed

    def _send_other(self, event: Event) -> None:
        kind = kind_of(event)
        if self._state == _CLOSED:
            if self._door is None and self._connection is None:
                raise ClientDisconnected("the client went away before its websocket was accepted")
            raise RuntimeError(f"send({kind!r}) behind the end of the websocket")
        if self._state == _OPEN:
            if kind != "websocket.close":
                raise RuntimeError(f"send({kind!r}): expected 'websocket.send' or 'websocket.close'")
            self._close(event)
        elif kind.startswith("websocket.http.response.") and (
            self._denial is not None or kind == "websocket.http.response.start"
        ):
            self._take_denial(event)
        elif self._denial is not None:
            raise RuntimeError(f"send({kind!r}): an answer has been started, expected 'websocket.http.response.body'")
        elif kind == "websocket.accept":
            self._accept(event)
        elif kind == "websocket.close":
            self._deny(Response.text(403, "Forbidden"))
        else:
            raise RuntimeError(
                f"send({kind!r}): expected 'websocket.accept', 'websocket.close' or 'websocket.http.response.start'"
            )

    def _accept(self, event: Event) -> None:
        sub_protocol = event.get("subprotocol")
        if sub_protocol is not None and sub_protocol not in self._scope["subprotocols"]:
            offered = ", ".join(self._scope["subprotocols"]) or "none"
            raise ValueError(f"subprotocol={sub_protocol!r} was not offered; offered: {offered}")
        headers = []
        for pair in event.get("headers") or ():
            try:
                name, value = pair
                headers.append((name.decode("latin-1"), value.decode("latin-1")))
            except (TypeError, ValueError, AttributeError):
                raise TypeError(f"headers: {pair!r} must be a pair (name, value) of bytes") from None
        door = self._door
        assert door is not None  # else it is closed
        self._connection = connection = door.accept(sub_protocol, headers)
        if self._asked:
            self._inbox = connection._inbox
        self._decided()

    def _take_denial(self, event: Event) -> None:
        """The websocket denial response; kept until it is whole."""
        if self._denial is None:
            self._denial = Answer("GET", kinds=_DENIAL)
        self._denied.append(self._denial.take(event, lambda closes: "close"))
        if self._denial.complete:
            self._answered(self._denial.status, b"".join(self._denied))

    def _deny(self, response: Response) -> None:
        self._answered(response.status, response.encode())

    def _answered(self, status: int, answer: bytes) -> None:
        if self._door is not None:
            self._door.deny(status, answer)
        self._denied = []
        self._decided(CloseCode.ABNORMAL_CLOSURE)

    def _close(self, event: Event) -> None:
        code, reason = event.get("code"), event.get("reason") or ""
        code = 1000 if code is None else code
        connection = self._connection
        assert connection is not None  # it is open
        ended = not connection.is_open
        connection.close(code, reason)
        if not ended:
            self._end = code, reason
        self._state = _CLOSED
