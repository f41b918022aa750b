"""The load: connections that each keep some messages in flight, and what came of them. Prints nothing.

It is a closed loop: a message leaves when another has come back, so that a server that stands still is asked nothing
new, and the time that it stood still is in as many messages as were in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from firefly_ws.codes import CloseCode
from firefly_ws.errors import WebSocketConnectionException

from .histogram import Histogram
from .payloads import payloads

if TYPE_CHECKING:
    from typing import TypeAlias

    from firefly_ws._core.frames import Frame
    from firefly_ws.client_builder import WebSocketClient
    from firefly_ws.codes import CloseReason
    from firefly_ws.connection import WebSocketConnection

    Watch: TypeAlias = Callable[[str, float, int], None]

__all__ = ["Load", "Measured", "Plan"]

_AT_ONCE: Final = 64  # connects in flight: more would measure the server's backlog
_GOODBYE: Final = 2.0  # seconds for all Closes
_SLACK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    connections: int
    depth: int
    """Messages of each connection in flight."""
    size: int
    """Bytes of a message."""
    binary: bool
    duration: float
    """Seconds that are measured."""
    warmup: float
    """Seconds before."""
    compression: bool = False


@dataclass(slots=True)
class Measured:
    """What came of it."""

    seconds: float = 0.0
    """Between the first and the last look at the clock."""
    messages: int = 0
    """That came back in this time, and were those that had been sent."""
    latency: Histogram = field(default_factory=Histogram)
    """From a message's sending to the callback that gets it back."""
    cpu: float = 0.0
    """Seconds of processor time that this process has used."""
    opened: int = 0
    compressed: bool = False
    """Whether the server agreed to permessage-deflate."""
    errors: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the beginning, messages until then."""


class _One:
    """What a connection has in flight."""

    __slots__ = ("got", "sent", "times", "why")

    def __init__(self) -> None:
        self.got = 0
        self.sent = 0
        self.times: deque[int] = deque()
        self.why = ""
        """The error that ended it."""


class Load:
    """One run of a `Plan` against the server of *builder*, which has no callbacks yet."""

    def __init__(
        self, builder: WebSocketClient, plan: Plan, why: Callable[[WebSocketConnectionException], str] = str
    ) -> None:
        """*why*: an error of connecting, for people."""
        self.plan: Final = plan
        self.found: Final = Measured()
        self._why = why
        self._expected = payloads(plan.size, binary=plan.binary)
        self._messages = self._expected if plan.binary else [one.decode() for one in self._expected]
        self._different = len(self._expected)
        self._open: dict[WebSocketConnection, _One] = {}
        self._ending = False
        room = 2 * plan.depth * plan.size + 16 * plan.depth + _SLACK  # what is in flight never waits for a peer
        self._builder = (
            builder.max_message_size(plan.size + _SLACK)
            .write_high_water(room)
            .max_write_buffer(room)
            .on_open(self._opened)
            .on_message(self._arrived)
            .on_error(self._failed)
            .on_close(self._closed)
        )
        if plan.compression:
            self._builder.extensions(["permessage-deflate"])

    async def run(self, watch: Watch) -> None:
        """Connect, warm up, measure; tells *watch* the phase, how much of it is done, and the messages until then.

        Raises `WebSocketConnectionException` if the first connection does not come about. Cancelled, it leaves in
        `found` what it has.
        """
        try:
            await self._connect(watch)
            for connection in [*self._open]:
                for _ in range(self.plan.depth):
                    self._send(connection, self._open[connection])
            if self.plan.warmup:
                await self._last("warming up", self.plan.warmup, watch)
            self.found.messages = 0
            self.found.latency.clear()
            self.found.samples.clear()
            processor, begun = time.process_time(), time.perf_counter()
            try:
                await self._last("measuring", self.plan.duration, watch)
            finally:
                self._ending = True
                self.found.seconds = time.perf_counter() - begun
                self.found.cpu = time.process_time() - processor
        finally:
            await self._leave()

    async def _connect(self, watch: Watch) -> None:
        """The first alone, for where it fails the others would too."""
        connecting = self.plan.connections
        first = await self._builder.connect()
        self.found.compressed = bool(first.extensions)
        for done in range(1, connecting, _AT_ONCE):
            watch("connecting", done / connecting, 0)
            some = [self._builder.connect() for _ in range(min(_AT_ONCE, connecting - done))]
            for end in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(end, WebSocketConnectionException):
                    self.found.errors[self._why(end)] += 1
                elif isinstance(end, BaseException):
                    raise end

    async def _last(self, phase: str, seconds: float, watch: Watch) -> None:
        """Let it run for so long; less if nobody is left."""
        found, begun = self.found, time.perf_counter()
        tick = min(0.1, seconds / 20)
        while (passed := time.perf_counter() - begun) < seconds and self._open:
            found.samples.append((passed, found.messages))
            watch(phase, passed / seconds, found.messages)
            await asyncio.sleep(min(tick, seconds - passed))
        found.samples.append((passed, found.messages))

    async def _leave(self) -> None:
        self._ending = True
        closing = [asyncio.ensure_future(connection.close(CloseCode.NORMAL)) for connection in self._open]
        try:
            if closing:
                await asyncio.wait(closing, timeout=_GOODBYE)
        finally:
            for connection in [*self._open]:
                connection.terminate()

    # --- for each message

    def _send(self, connection: WebSocketConnection, one: _One) -> None:
        message = self._messages[one.sent % self._different]
        one.sent += 1
        one.times.append(perf_counter_ns())
        connection.send(message)

    def _arrived(self, frame: Frame, connection: WebSocketConnection) -> None:
        now = perf_counter_ns()
        if self._ending:
            return
        one = self._open[connection]
        if not one.times or frame.payload != self._expected[one.got % self._different]:
            self.found.errors["a message came that had not been sent"] += 1
            return
        one.got += 1
        self.found.messages += 1
        self.found.latency.add(now - one.times.popleft())
        self._send(connection, one)

    # --- for each connection

    def _opened(self, connection: WebSocketConnection) -> None:
        self._open[connection] = _One()
        self.found.opened += 1

    def _failed(self, connection: WebSocketConnection, error: BaseException) -> None:
        self._open[connection].why = str(error) or type(error).__name__

    def _closed(self, connection: WebSocketConnection, reason: CloseReason) -> None:
        one = self._open.pop(connection)
        if not self._ending:
            self.found.errors[one.why or f"closed with {reason}"] += 1
