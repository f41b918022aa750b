"""Messages piece by piece: from an iterable to the wire. Knows neither frames nor sockets."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._core.fragments import Stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._core.sending import Sender

    Piece = str | Buffer

__all__ = ["send_stream"]

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
