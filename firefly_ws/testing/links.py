"""A connection in memory and what happens to its bytes: cut, delayed, split, held; knows transports and no frames.

Between two transports lie two flows, one each way. A flow holds as many bytes as a
kernel would; what a transport writes beyond that waits in the transport and counts
against its water marks. Nothing is ever delivered from within the writer's call.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from .transports import READ, MemoryTransport

__all__ = ["Flow", "Link"]


class Flow:
    """One direction of a `Link`: what is in flight, and what is done to it. Every method returns the flow.

    Each may be called before the link is connected and at any time behind it.
    """

    def __init__(self, link: Link, capacity: int) -> None:
        self._link = link
        self._capacity = capacity
        self._loop: asyncio.AbstractEventLoop | None = None
        self._source: MemoryTransport | None = None
        self._sink: MemoryTransport | None = None
        self._flight: deque[tuple[float, bytes]] = deque()  # (when it may arrive, what)
        self._size = 0
        self._ended = False  # EOF follows what is in flight
        self._eof_given = False
        self._severed = False
        self._scheduled: asyncio.Handle | None = None
        self._held = False
        self._piece: Callable[[], int] = _whole
        self._delay: Callable[[], float] | None = None
        self._change: Callable[[bytes], bytes | None] | None = None
        self._cut_at: int | None = None
        self._cut_resets = False
        #: Bytes delivered so far (int).
        self.passed = 0

    # --- hooks

    def split(self, size: int | Callable[[], int] | None = None, *, seed: int | None = None) -> Self:
        """Deliver pieces of *size* bytes, or of what ``size()`` says; with *seed*: of 1 to *size* (64) bytes at random.

        Without arguments: whole again. Raises ``ValueError`` for a size below 1; see `Link.error` for what ``size()``
        does.
        """
        if size is None and seed is None:
            self._piece = _whole
        elif callable(size):
            self._piece = size
        else:
            largest = 64 if size is None else size
            if isinstance(largest, bool) or not isinstance(largest, int):
                raise TypeError(f"split({size!r}): size must be an int, a function that returns one, or None")
            if largest < 1:
                raise ValueError(f"split({size!r}): size must be at least 1 byte")
            dice = random.Random(seed)
            self._piece = (lambda: largest) if seed is None else (lambda: dice.randint(1, largest))
        return self

    def delay(self, seconds: float | Callable[[], float]) -> Self:
        """Have bytes arrive *seconds*, or ``seconds()``, after they were written; never out of order. 0: at once."""
        if callable(seconds):
            self._delay = seconds
            return self
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"delay({seconds!r}): must be a number of seconds, or a function that returns one")
        if not seconds >= 0:
            raise ValueError(f"delay({seconds!r}): must be at least 0 seconds")
        self._delay = (lambda: seconds) if seconds else None
        return self

    def change(self, callback: Callable[[bytes], bytes | None] | None) -> Self:
        """Show each piece to ``callback(data)`` before it arrives: bytes it returns arrive in its place.

        ``None`` leaves the piece as it is, ``b""`` loses it.
        """
        if callback is not None and not callable(callback):
            raise TypeError(f"change({callback!r}): a callback must be callable")
        self._change = callback
        return self

    def cut(self, after: int = 0, *, reset: bool = False) -> Self:
        """Cut the connection, both ways, once *after* more bytes have arrived here.

        Both ends see the end of the stream, or, with *reset*, `ConnectionResetError`, also
        where the flow was held. What is in flight is lost, and what is written afterwards
        goes nowhere.
        """
        if isinstance(after, bool) or not isinstance(after, int):
            raise TypeError(f"cut(after={after!r}): must be a number of bytes")
        if after < 0:
            raise ValueError(f"cut(after={after!r}): must be at least 0 bytes")
        self._cut_resets = reset
        self._cut_at = self.passed + after
        if after == 0 and self._loop is not None:
            self._link._sever(reset)
        return self

    def hold(self) -> Self:
        """Let nothing arrive, and tell nobody: a network that has gone silent."""
        self._held = True
        self._unschedule()
        return self

    def release(self) -> Self:
        """Let what was held arrive, and what follows."""
        self._held = False
        self._schedule()
        return self

    @property
    def is_held(self) -> bool:
        """Nothing arrives until `release` (bool)."""
        return self._held

    # --- between the two transports

    def _attach(self, loop: asyncio.AbstractEventLoop, source: MemoryTransport, sink: MemoryTransport) -> None:
        self._loop, self._source, self._sink = loop, source, sink

    def _room(self) -> int:
        return sys.maxsize if self._severed else max(self._capacity - self._size, 0)

    def _put(self, data: bytes) -> None:
        """*data* has left its source."""
        assert self._loop is not None
        if self._severed:
            return
        due = 0.0
        if self._delay is not None:
            try:
                due = self._loop.time() + _seconds(self._delay())
            except Exception as error:
                # It is the test's, and not of whoever writes.
                self._loop.call_soon(self._link._fail, error)
        if self._flight:
            due = max(due, self._flight[-1][0])
        self._flight.append((due, data))
        self._size += len(data)
        self._schedule()

    def _end(self) -> None:
        """The source writes nothing more."""
        self._ended = True
        self._schedule()

    def _sever(self) -> None:
        self._severed = self._ended = True
        self._held = False  # both ends are to see it
        self._flight.clear()
        self._size = 0
        self._unschedule()
        self._schedule()

    def _schedule(self) -> None:
        loop, sink = self._loop, self._sink
        if loop is None or sink is None or self._scheduled is not None or self._held or not sink._takes():
            return
        if self._flight:
            due = self._flight[0][0]
            if due > loop.time():
                self._scheduled = loop.call_at(due, self._arrive)
                return
        elif not self._ended or self._eof_given:
            return
        self._scheduled = loop.call_soon(self._arrive)

    def _unschedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _arrive(self) -> None:
        """One read of the sink."""
        self._scheduled = None
        source, sink = self._source, self._sink
        assert source is not None
        assert sink is not None
        if not sink._takes():
            return
        if self._flight:
            try:
                self._deliver(sink)
            except Exception as error:
                self._link._fail(error)
        elif not self._eof_given:
            self._eof_given = True
            sink._end_arrived()
        if not self._severed:
            source._refill()
        self._schedule()

    def _deliver(self, sink: MemoryTransport) -> None:
        assert self._loop is not None
        if sink._gone:
            # Bytes for a closed socket: its side answers with a reset, which comes behind what it still had to say.
            self._flight.clear()
            self._size = 0
            assert self._source is not None
            if sink._outgoing._eof_given:
                self._source._lose_soon(_reset())
            return
        data = self._take(min(_size(self._piece()), READ))
        last = self._cut_at is not None and self.passed + len(data) >= self._cut_at
        if last:
            assert self._cut_at is not None
            data = data[: self._cut_at - self.passed]
        self.passed += len(data)
        if self._change is not None:
            changed = self._change(data)
            if changed is not None:
                if not isinstance(changed, (bytes, bytearray, memoryview)):
                    raise TypeError(f"change(): the callback returned {changed!r}; it returns bytes, or None")
                data = bytes(changed)
        if data:
            sink._arrived(data)
        if last:
            self._link._sever(self._cut_resets)

    def _take(self, limit: int) -> bytes:
        """Up to *limit* bytes that are due."""
        assert self._loop is not None
        now = self._loop.time()
        taken: list[bytes] = []
        while limit and self._flight and self._flight[0][0] <= now:
            due, data = self._flight.popleft()
            if len(data) > limit:
                self._flight.appendleft((due, data[limit:]))
                data = data[:limit]
            taken.append(data)
            limit -= len(data)
            self._size -= len(data)
        return taken[0] if len(taken) == 1 else b"".join(taken)


class Link:
    """A connection in memory, and what happens to the bytes on it. Each method holds for both directions.

    ``to_server`` and ``to_client`` are its two `Flow`, with the same methods for one
    direction. *capacity* is how many bytes are in flight each way before a write has to
    wait; the addresses are what both ends see of each other. A link connects once.
    """

    def __init__(
        self,
        *,
        capacity: int = 65536,
        client_address: Any = ("127.0.0.1", 50000),
        server_address: Any = ("127.0.0.1", 80),
    ) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"capacity={capacity!r} must be an int, at least 1 byte")
        self.to_server = Flow(self, capacity)
        self.to_client = Flow(self, capacity)
        self._addresses = client_address, server_address
        #: What a function given to `split`, `delay` or `change` has raised (``Exception``), which ends both ends.
        self.error: Exception | None = None
        self._ends: tuple[MemoryTransport, MemoryTransport] | None = None

    def split(self, size: int | Callable[[], int] | None = None, *, seed: int | None = None) -> Self:
        """See `Flow.split`."""
        self.to_server.split(size, seed=seed)
        self.to_client.split(size, seed=None if seed is None else seed + 1)
        return self

    def delay(self, seconds: float | Callable[[], float]) -> Self:
        """See `Flow.delay`; *seconds* each way."""
        self.to_server.delay(seconds)
        self.to_client.delay(seconds)
        return self

    def hold(self) -> Self:
        """See `Flow.hold`."""
        self.to_server.hold()
        self.to_client.hold()
        return self

    def release(self) -> Self:
        """See `Flow.release`."""
        self.to_server.release()
        self.to_client.release()
        return self

    def cut(self, *, reset: bool = False) -> Self:
        """Cut the connection now; see `Flow.cut`."""
        self.to_server.cut(reset=reset)
        return self

    def connect(
        self, client: asyncio.BaseProtocol, server: asyncio.BaseProtocol
    ) -> tuple[MemoryTransport, MemoryTransport]:
        """Connect two protocols on the running loop; returns the client's transport and the server's.

        ``connection_made`` is called by the loop, the server's first. Raises
        ``RuntimeError`` if the link has been connected before.
        """
        if self._ends is not None:
            raise RuntimeError("this Link is connected already; make one for each connection")
        loop = asyncio.get_running_loop()
        ours, theirs = self._addresses
        near = MemoryTransport(loop, client, self.to_client, self.to_server, ours, theirs)
        far = MemoryTransport(loop, server, self.to_server, self.to_client, theirs, ours)
        self._ends = near, far
        self.to_server._attach(loop, near, far)
        self.to_client._attach(loop, far, near)
        loop.call_soon(server.connection_made, far)
        loop.call_soon(client.connection_made, near)
        for flow in (self.to_server, self.to_client):
            if flow._cut_at == 0:
                loop.call_soon(self._sever, flow._cut_resets)
        return near, far

    def _fail(self, error: Exception) -> None:
        """A function that was given to us raised: nobody is to wait for what will never arrive."""
        if self.error is None:
            self.error = error
            assert self._ends is not None
            self._sever(reset=False)
            for end in self._ends:
                end._lose_soon(error)

    def _sever(self, reset: bool) -> None:
        assert self._ends is not None
        self.to_server._sever()
        self.to_client._sever()
        for end in self._ends:
            end._cut_off()
            if reset:
                end._lose_soon(_reset())


def _whole() -> int:
    return READ


def _size(size: object) -> int:
    """What ``size()`` of `Flow.split` has returned."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"split(): the function returned {size!r}; it returns an int, at least 1 byte")
    return max(size, 1)


def _seconds(seconds: object) -> float:
    """What ``seconds()`` of `Flow.delay` has returned."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise TypeError(f"delay(): the function returned {seconds!r}; it returns a number of seconds, at least 0")
    return seconds


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
