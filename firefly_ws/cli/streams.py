"""Standard input and output on a loop: lines that come, bytes that go; knows no websocket.

Each has a thread that blocks in the system's calls, for a file, a pipe and a terminal can all be read and written
that way, and no loop waits for all three. The threads are daemons and take no lock of Python's own streams: one that
hangs in a call keeps nobody from leaving.
"""

from __future__ import annotations

import asyncio
import os
import queue
import select
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

__all__ = ["LINE_LIMIT", "LineTooLong", "Output", "lines"]

#: Bytes of a line: it becomes one message, and all of it must be there first.
LINE_LIMIT: Final = 16 * 2**20

_PIECE: Final = 64 * 1024
_AHEAD: Final = 4  # pieces read before they are asked for
_HIGH: Final = 2**20  # bytes: above it the one who puts waits
_BATCH: Final = 2**18


class LineTooLong(ValueError):
    """A line beyond `LINE_LIMIT`; the text says which."""


async def lines(descriptor: int) -> AsyncIterator[bytes]:
    """Every line that comes, without its end (LF or CR LF); a last one that has none counts too."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    ahead = threading.Semaphore(_AHEAD)

    def read() -> None:
        piece = b"-"
        while piece:
            ahead.acquire()
            piece = _read(descriptor)
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, piece)
            except RuntimeError:  # the loop is closed: nobody asks any more
                return

    threading.Thread(target=read, name="firefly-ws stdin", daemon=True).start()
    rest, number = bytearray(), 1
    while piece := await arrived.get():
        ahead.release()
        *whole, last = piece.split(b"\n")
        for end in whole:
            rest += end
            yield bytes(rest.removesuffix(b"\r"))
            rest.clear()
            number += 1
        rest += last
        if len(rest) > LINE_LIMIT:
            raise LineTooLong(f"line {number} of the input is longer than {LINE_LIMIT} bytes, the most one message has")
    if rest:
        yield bytes(rest)


def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, _PIECE)
        except BlockingIOError:  # whoever shares it has made it so
            select.select([descriptor], [], [])
        except OSError:
            return b""


class Output:
    """A descriptor that is written to in the order of the puts. A reader that is slow makes those wait who put."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._below: asyncio.Future[None] | None = None
        #: Resolves to the error once the reader has gone away.
        self.broken: asyncio.Future[OSError] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="firefly-ws stdout", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._queue.put(None)

    def put(self, data: bytes) -> asyncio.Future[None] | None:
        """Write *data*; what it gives, if anything, is to be awaited before the next put."""
        if self.broken.done():
            return None
        self._waiting += len(data)
        self._queue.put(data)
        return self._wait() if self._waiting > _HIGH else None

    async def drain(self) -> None:
        """Return once everything is written, or can no longer be; nothing may be put behind it."""
        self._queue.put(None)
        while self._waiting and not self.broken.done():
            await self._wait()

    def _wait(self) -> asyncio.Future[None]:
        if self._below is None or self._below.done():
            self._below = self._loop.create_future()
        return self._below

    def _work(self) -> None:
        more = True
        while more:
            batch: list[bytes] = []
            taken = 0
            while taken < _BATCH and (not batch or not self._queue.empty()):
                data = self._queue.get()
                if data is None:
                    more = False
                    break
                batch.append(data)
                taken += len(data)
            error = _write(self._descriptor, b"".join(batch)) if batch else None
            try:
                self._loop.call_soon_threadsafe(self._written, taken, error)
            except RuntimeError:
                return

    def _written(self, size: int, error: OSError | None) -> None:
        self._waiting -= size
        if error is not None and not self.broken.done():
            self.broken.set_result(error)
        if self._below is not None and not self._below.done() and (self.broken.done() or self._waiting <= _HIGH // 2):
            self._below.set_result(None)


def _write(descriptor: int, data: bytes) -> OSError | None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError as error:
            return error
    return None
