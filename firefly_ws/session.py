"""The faces of a connection that is read by asking: iterators, and Ktor's two channels. They hold no messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any

from typing_extensions import Buffer

from ._core.frames import CloseFrame
from .codes import CloseCode, CloseReason
from .errors import ConnectionClosed, ConnectionClosedOK

if TYPE_CHECKING:
    from ._core.frames import Frame
    from .receiving import Receiving

__all__ = ["Filtered", "Incoming", "Messages", "Outgoing"]


class Messages(AsyncIterator[Any]):
    """Every message of a connection; ends with it, quietly with 1000 and 1001."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Receiving) -> None:
        self._connection = connection

    async def __anext__(self) -> Any:
        connection = self._connection
        inbox = connection._inbox
        if inbox is None or inbox.is_empty("async for"):
            try:
                inbox = await connection._some("async for")
            except ConnectionClosedOK:
                raise StopAsyncIteration from None
        return inbox.pop()


class Filtered(AsyncIterator[Any]):
    """The messages of one type; the others are dropped."""

    __slots__ = ("_connection", "_kind", "_name")

    def __init__(self, connection: Receiving, kind: type[str] | type[bytes], name: str) -> None:
        self._connection = connection
        self._kind = kind
        self._name = name

    async def __anext__(self) -> Any:
        try:
            while True:
                message = (await self._connection._some(self._name)).pop()
                if isinstance(message, self._kind):
                    return message
        except ConnectionClosedOK:
            raise StopAsyncIteration from None


class Incoming(AsyncIterator["Frame"]):
    """What comes, as Frames: whole messages as `TextFrame` and `BinaryFrame`, then the peer's `CloseFrame`.

    Control frames before that are answered by the library and not shown. Behind the
    Close, and where none came, ``receive`` raises `ConnectionClosed`; ``async for``
    ends quietly with 1000 and 1001, and raises `ConnectionClosedError` with any other code.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Receiving) -> None:
        self._connection = connection

    async def receive(self) -> Frame:
        """The next frame."""
        connection = self._connection
        try:
            return await connection._frame("incoming")
        except ConnectionClosed as closed:
            inbox = connection._inbox
            if closed.received is None or inbox is None or inbox.close_shown:
                raise
            inbox.close_shown = True
            return _close_frame(closed.received)

    async def __anext__(self) -> Frame:
        try:
            return await self.receive()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None


class Outgoing:
    """Where a connection's frames go out; every method is the connection's own."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Receiving) -> None:
        self._connection = connection

    def send(self, data: str | Buffer | Frame) -> Awaitable[Any]:
        """Send ``str`` as text, bytes-like as binary, a `Frame` as it is; see `WebSocketConnection.send`."""
        return self._connection.send(data)

    def close(self, code: int | CloseReason = 1000, reason: str = "") -> Awaitable[CloseReason]:
        """Close; see `WebSocketConnection.close`."""
        return self._connection.close(code, reason)

    def flush(self) -> Awaitable[None]:
        """Resolves once everything sent before has been written; see `WebSocketConnection.flush`."""
        return self._connection.flush()


def _close_frame(reason: CloseReason) -> CloseFrame:
    """The frame that said so: an empty one has no code (RFC 6455 §7.1.5)."""
    return CloseFrame() if reason.code == CloseCode.NO_STATUS else CloseFrame(reason)
