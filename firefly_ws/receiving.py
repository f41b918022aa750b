"""Receiving by asking: what a connection without a message callback offers. Knows the queue, not who fills it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._core.connection import Connection
from ._core.frames import BinaryFrame, TextFrame
from .converters import default_converters
from .settled import settled

if TYPE_CHECKING:
    from ._core.frames import Frame
    from ._core.inbox import Inbox
    from .converters import Converters
    from .session import Incoming, Outgoing
    from .streaming import ReceivedStream

__all__ = ["Receiving", "handled"]

T = TypeVar("T")


class Receiving(Connection):
    """The methods of a connection that wait for a message.

    A message is taken from the queue in the same step that returns it: cancelling a
    receive, or giving up on it by a timeout, loses nothing. One task at a time
    receives; another one gets a ``RuntimeError`` that names the first. At the end,
    what had come is received first, then all of them raise `ConnectionClosed`.
    """

    __slots__ = ()

    async def receive(self) -> str | bytes:
        """The next message: ``str`` for text, ``bytes`` for binary.

        Raises `ConnectionClosedOK` (1000, 1001) or `ConnectionClosedError` once all has been received, and
        ``RuntimeError`` where messages go to a callback or are discarded, or another task receives.
        """
        inbox = self._inbox
        if inbox is None or inbox.is_empty("receive()"):
            inbox = await self._some("receive()")
        return inbox.pop()  # type: ignore[return-value]  # frames are a raw session's

    async def receive_text(self) -> str:
        """The next message, which must be text; on a binary one ``TypeError``, and it stays first. See `receive`."""
        inbox = await self._some("receive_text()")
        if not isinstance(inbox.first(), str):
            raise TypeError("receive_text(): the next message is binary; it is still there for receive_data()")
        return inbox.pop()  # type: ignore[return-value]

    async def receive_data(self) -> bytes:
        """The next message, which must be binary; on text ``TypeError``, and it stays first. See `receive`."""
        inbox = await self._some("receive_data()")
        if not isinstance(inbox.first(), bytes):
            raise TypeError("receive_data(): the next message is text; it is still there for receive_text()")
        return inbox.pop()  # type: ignore[return-value]

    receive_binary = receive_data

    async def receive_frame(self) -> Frame:
        """The next message, as `TextFrame` or `BinaryFrame`. See `receive`."""
        return await self._frame("receive_frame()")

    async def _frame(self, doing: str) -> Frame:
        return _frame((await self._some(doing)).pop())

    @overload
    async def receive_deserialized(self, type: type[T]) -> T: ...

    @overload
    async def receive_deserialized(self, type: Any) -> Any: ...

    async def receive_deserialized(self, type: Any) -> Any:
        """The next message as a value of *type*, by the connection's converter for text or for binary messages.

        Raises `DeserializeError` for a message that does not fit, and `ConverterNotFound` where no converter takes
        it: both have it as ``frame``, and the connection stays usable. A ``TypeError`` for a type that no message
        can become leaves the message first. See `receive`.
        """
        converters = self._prepared(type)
        return converters.deserialize(_frame((await self._some("receive_deserialized()")).pop()), type)

    def _prepared(self, type: Any) -> Converters:
        converters: Converters = self._converters or default_converters()
        converters.prepare(type)
        return converters

    def receive_stream(self, max_size: int | None = None) -> ReceivedStream:
        """The next message piece by piece, as it comes, inflated, never held as a whole (`ReceivedStream`).

        For ``async for piece in connection.receive_stream()``, or ``async with ... as stream`` where its rest may
        be left. ``max_message_size`` does not apply; *max_size* bounds the bytes of all pieces instead, and more
        raises `MessageTooBig` and closes with 1009. Raises as `receive` does while the message has not begun, and
        `InvalidPayload` or `ConnectionClosed` where its rest will not come.
        """
        from .streaming import ReceivedStream

        return ReceivedStream(self, self._pulled("receive_stream()"), max_size)

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Every message, until the connection has ended; raises `ConnectionClosedError` unless with 1000 or 1001."""
        self._pulled("async for")
        from .session import Messages

        return Messages(self)

    @property
    def incoming(self) -> Incoming:
        """What comes, as Frames: whole messages, then the peer's Close (`Incoming`)."""
        from .session import Incoming

        self._pulled("incoming")
        return Incoming(self)

    @property
    def outgoing(self) -> Outgoing:
        """Where frames, ``str`` and bytes are sent to (`Outgoing`)."""
        from .session import Outgoing

        return Outgoing(self)

    def texts(self) -> AsyncIterator[str]:
        """Every text message, as ``async for`` over the connection; binary ones are dropped."""
        from .session import Filtered

        self._pulled("texts()")
        return Filtered(self, str, "texts()")

    def binaries(self) -> AsyncIterator[bytes]:
        """Every binary message, as ``async for`` over the connection; text ones are dropped."""
        from .session import Filtered

        self._pulled("binaries()")
        return Filtered(self, bytes, "binaries()")

    def _pulled(self, doing: str) -> Inbox:
        """The queue, where this connection has one."""
        inbox = self._inbox
        if inbox is not None:
            return inbox
        where = "go to its callback" if self._message_callbacks else "are discarded"
        raise RuntimeError(
            f"{doing}: the messages of this connection {where}; to receive them, give the route "
            ".handler(async_function) in their place, or the client neither a message callback nor .discard()"
        )

    async def _some(self, doing: str) -> Inbox:
        """The queue, once there is something in it."""
        inbox = self._inbox
        if inbox is None:
            inbox = self._pulled(doing)
        while inbox.is_empty(doing):
            if inbox.ended:
                raise self.closed_error(doing) from self.error
            waiter = inbox.wait(doing)
            try:
                await waiter
            finally:
                inbox.waited(waiter)
        return inbox


def handled(handler: Callable[[Any], object]) -> Callable[[Any], Any]:
    """For the slot of on_accept: *handler*, whose end is the connection's."""

    async def run(connection: Receiving) -> None:
        try:
            await settled(handler(connection))
        except asyncio.CancelledError:
            # An end that is neither a return nor an error; nobody would close it otherwise.
            connection.close(1011)
            raise
        connection.close()

    return run


def _frame(message: str | bytes | Frame) -> Frame:
    if isinstance(message, str):
        return TextFrame(message)
    return BinaryFrame(message) if isinstance(message, bytes) else message
