"""A transport of TLS as HTTP writes to it: it says what waits and ends behind it; knows no request and no loop.

The loops' TLS takes a write of any size, encrypts it at once and gives it to the transport below, which is out of
sight: it calls itself empty while megabytes wait. Its ``close()`` then gives them and the client's farewell 30 s
together, and what has not left by then is lost. So it gets a part at a time here, and is closed when it is empty.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["OverTls"]

PART = 65536
"""Bytes given to TLS at a time: what transports hold before they call it enough."""
LAST = 16384
"""Of what is longer, a record by itself: given to TLS while the transport below holds enough, it is in sight."""

HIGH = 1
"""TLS counts "at high water" as above it: with 0 it would call itself full when it is empty, and say nothing more.
Other transports (those in memory) do not, and call nobody back for a single byte: so that counts as none."""


class OverTls:
    """*transport*, whose protocol calls `refill` from its own ``resume_writing``."""

    __slots__ = ("_closing", "_inner", "_size", "_waiting")

    def __init__(self, transport: Any) -> None:
        self._inner = transport
        self._waiting: deque[memoryview] = deque()
        self._size = 0  # of them
        self._closing = False
        transport.set_write_buffer_limits(high=HIGH, low=0)

    def __getattr__(self, name: str) -> Any:
        """What is the transport's as it is."""
        return getattr(self._inner, name)

    @property
    def inner(self) -> Any:
        """The transport, for who goes on with it when nothing waits."""
        return self._inner

    def write(self, data: bytes) -> None:
        """Give *data* to TLS, as far as it can be sent; its protocol hears ``pause_writing`` where that is not all."""
        if len(data) <= LAST and not self._size:
            self._inner.write(data)
            return
        view = memoryview(data)
        self._size += len(view)
        while len(view) > PART:
            self._waiting.append(view[:PART])
            view = view[PART:]
        if len(view) > LAST:
            self._waiting.append(view[:-LAST])
        self._waiting.append(view[-LAST:])
        self._give()

    def _give(self) -> None:
        inner, waiting = self._inner, self._waiting
        while waiting and inner.get_write_buffer_size() <= HIGH:
            part = waiting.popleft()
            self._size -= len(part)
            inner.write(part)

    def refill(self) -> bool:
        """Go on, since TLS is empty; whether nothing waits any more."""
        self._give()
        if self._holds():
            return False
        if self._closing:
            self._end()
        return True

    def _holds(self) -> bool:
        return bool(self._size) or self._inner.get_write_buffer_size() > HIGH

    def get_write_buffer_size(self) -> int:
        """Bytes that wait here and in TLS."""
        size: int = self._inner.get_write_buffer_size()
        return self._size + size

    def give_all(self) -> None:
        """Give TLS all that waits: the client has said farewell, and TLS takes nothing behind its answer to that."""
        self._size = 0
        while self._waiting:
            self._inner.write(self._waiting.popleft())

    def close(self) -> None:
        """End behind what waits."""
        self._closing = True
        if not self._holds():
            self._end()

    def _end(self) -> None:
        # asyncio's forgets at a second call what it is to abort, and raises when asked how much it holds.
        if not self._inner.is_closing():
            self._inner.close()

    def abort(self) -> None:
        """End now."""
        self._waiting.clear()
        self._size = 0
        self._inner.abort()

    def is_closing(self) -> bool:
        """Whether `close` has been called, or the transport has ended."""
        return self._closing or bool(self._inner.is_closing())
