"""Messages piece by piece: from an iterable to the wire, from the inbox to a reader. Knows no frame and no socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._core.arriving import Arriving
from ._core.fragments import Stream
from .errors import MessageTooBig, ProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._core.inbox import Inbox
    from ._core.sending import Sender
    from .receiving import Receiving

    Piece = str | Buffer

__all__ = ["ReceivedStream", "send_stream"]

BATCH = 1048576  # bytes a reader is given without a turn of the loop for others
PER_PIECE = 256  # of these: what a piece costs beside its bytes
LARGEST = 262144  # bytes of a fragment; larger pieces are cut, so that the peer may drain in between


def send_stream(
    sender: Sender, pieces: Iterable[Piece] | AsyncIterable[Piece], *, text: bool | None = None
) -> Awaitable[None]:
    """See `WebSocketConnection.send_stream`."""
    asynchronous = hasattr(pieces, "__aiter__")
    if isinstance(pieces, str | bytes | bytearray | memoryview | Mapping) or not (
        asynchronous or hasattr(pieces, "__iter__")
    ):
        raise TypeError(
            f"send_stream takes an iterable or async iterable of pieces, not {type(pieces).__name__}; "
            "what is there as a whole goes through send()"
        )
    stream = Stream(sender, text)
    return _send_async(stream, pieces) if asynchronous else _send(stream, pieces)  # type: ignore[arg-type]


async def _send(stream: Stream, pieces: Iterable[Piece]) -> None:
    try:
        ready = stream.begin()
        if ready is not None:
            await ready
        for piece in pieces:
            for part in _parts(piece):
                ready = stream.add(part)
                if ready is not None:
                    await ready
        ready = stream.finish()
    except BaseException as error:
        stream.end(error)
        # As below; anything else that can be closed, a file for one, is not ours to close.
        if isinstance(pieces, Generator):
            pieces.close()
        raise
    if ready is not None:
        await ready


async def _send_async(stream: Stream, pieces: AsyncIterable[Piece]) -> None:
    try:
        ready = stream.begin()
        if ready is not None:
            await ready
        async for piece in pieces:
            for part in _parts(piece):
                ready = stream.add(part)
                if ready is not None:
                    await ready
        ready = stream.finish()
    except BaseException as error:
        stream.end(error)
        # Whoever gave a generator cannot see that it has been left: what it holds open is closed now.
        close: Any = getattr(pieces, "aclose", None)
        if close is not None and not isinstance(error, GeneratorExit):
            await close()
        raise
    if ready is not None:
        await ready


# What Python calls a coroutine that was never awaited.
_send.__qualname__ = _send_async.__qualname__ = "WebSocketConnection.send_stream"


def _parts(piece: Any) -> Iterator[Any]:
    """*piece*, or where it is large what it can be cut into."""
    if isinstance(piece, str):
        most = LARGEST // 4  # a character has at most four bytes
        if len(piece) > most:
            return (piece[at : at + most] for at in range(0, len(piece), most))
    elif isinstance(piece, bytes | bytearray | memoryview):
        view = memoryview(piece)
        if view.nbytes > LARGEST and view.c_contiguous:
            view = view.cast("B")
            return (view[at : at + LARGEST] for at in range(0, len(view), LARGEST))
    return iter((piece,))


class ReceivedStream(AsyncIterator[Any]):
    """The next message of a connection, piece by piece: an async iterator, and an async context manager.

    ``async with`` waits until the message begins, and at the end gives up what has
    not been read of it. Pieces are ``str``, whole characters, or ``bytes``; none is
    empty. A message whose rest will not come raises instead of ending.
    """

    __slots__ = ("_arriving", "_connection", "_inbox", "_is_text", "_left", "_limit", "_taken", "_whole")

    def __init__(self, connection: Receiving, inbox: Inbox, max_size: int | None) -> None:
        if max_size is not None and (isinstance(max_size, bool) or not isinstance(max_size, int)):
            raise TypeError(f"receive_stream(max_size={max_size!r}) must be a number of bytes, or None for no limit")
        if max_size is not None and max_size < 0:
            raise ValueError(f"receive_stream(max_size={max_size!r}) must be at least 0, or None for no limit")
        self._connection = connection
        self._inbox = inbox
        self._limit = -1 if max_size is None else max_size
        self._arriving: Arriving | None = None
        self._whole: str | bytes | None = None
        self._is_text: bool | None = None
        self._taken = 0
        self._left = False

    @property
    def is_text(self) -> bool | None:
        """Whether the message is text (bool); None before it has begun."""
        return self._is_text

    async def __aenter__(self) -> ReceivedStream:
        if self._is_text is None:
            await self._begin()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._left = True
        if self._arriving is not None:
            self._inbox.give_up(self._arriving)

    async def __anext__(self) -> str | bytes:
        if self._is_text is None:
            await self._begin()
        else:
            self._inbox.check("receive_stream()")
        arriving = self._arriving
        if arriving is None:
            if self._left and self._whole:
                raise RuntimeError(_GIVEN_UP)
            whole, self._whole = self._whole, None
            if not whole:
                raise StopAsyncIteration
            return whole
        if self._taken > BATCH:
            # What is here already would go on without a wait: other connections want the loop as well.
            self._taken = 0
            await asyncio.sleep(0)
        while True:
            if arriving.skipped:
                raise RuntimeError(_GIVEN_UP)
            try:
                piece = arriving.next(self._limit)
            except ProtocolError as error:
                self._inbox.refuse(arriving, error)
                raise
            self._inbox.took(arriving)
            if piece is not None:
                self._taken += PER_PIECE + len(piece)
                return piece
            if arriving.done:
                raise StopAsyncIteration
            if self._inbox.ended:
                raise self._connection.closed_error("receive_stream()") from self._connection.error
            await _waited(self._inbox, self._inbox.wait_for_piece())

    async def _begin(self) -> None:
        """Take the next message."""
        inbox = self._inbox
        while inbox.no_stream("receive_stream()"):
            if inbox.ended:
                raise self._connection.closed_error("receive_stream()") from self._connection.error
            await _waited(inbox, inbox.wait_for_stream())
        message = inbox.take()
        if isinstance(message, Arriving):
            self._arriving = message
            self._is_text = message.is_text
            return
        self._is_text = isinstance(message, str)
        size = len(message.encode()) if isinstance(message, str) else len(message)
        if 0 <= self._limit < size:
            error = MessageTooBig(size, self._limit, "max_size")
            inbox.refuse(None, error)
            raise error
        self._whole = message


_GIVEN_UP = "receive_stream(): the rest of this message was given up, by leaving it or by receiving the next"


async def _waited(inbox: Inbox, waiter: asyncio.Future[None]) -> None:
    try:
        await waiter
    finally:
        inbox.waited(waiter)
