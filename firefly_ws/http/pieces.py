"""A streamed answer's bytes as sent; knows no connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import Any

__all__ = ["closed", "framed"]

_BURST = 65536
"""Bytes of a plain iterable's pieces, behind which others have their turn."""


async def framed(
    stream: Iterable[bytes | str] | AsyncIterable[bytes | str], chunked: bool, length: int | None
) -> AsyncGenerator[bytes, None]:
    """The stream in chunks, or as it is. ``ValueError`` where it has not *length* bytes, ``TypeError`` for others."""
    sent = 0
    async with aclosing(_pieces(stream)) as pieces:
        async for piece in pieces:
            if not isinstance(piece, (bytes, str, bytearray, memoryview)):
                raise TypeError(f"a stream gives bytes or str, not {piece!r}")
            data = piece.encode() if isinstance(piece, str) else bytes(piece)
            if not data:
                continue
            sent += len(data)
            if length is not None and sent > length:
                raise ValueError(f"the stream gave more than its content_length={length} bytes")
            yield b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
    if length is not None and sent < length:
        raise ValueError(f"the stream gave {sent} bytes, and its content_length is {length}")
    if chunked:
        yield b"0\r\n\r\n"


async def _pieces(stream: Iterable[bytes | str] | AsyncIterable[bytes | str]) -> AsyncGenerator[Any, None]:
    """A stream's pieces; those of a plain one with turns for others between."""
    if isinstance(stream, AsyncIterable):
        async for piece in stream:
            yield piece
        return
    size = 0
    for piece in stream:
        yield piece
        size += len(piece) + 64  # so that endless empty ones take turns too
        if size > _BURST:
            size = 0
            await asyncio.sleep(0)


async def closed(stream: Any) -> None:
    """A generator that is not read to its end ends its ``finally`` now, not when it is collected."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
    elif (close := getattr(stream, "close", None)) is not None:
        close()
