"""A transport in memory, and a connection on it; knows what asyncio asks of a transport and no protocol."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from judge import TEXT, Event, close_payload, frame, judge

from firefly_ws import WebSocketPolicy
from firefly_ws._core.chain import Chain
from firefly_ws._core.connection import Connection
from firefly_ws._core.deflate import Deflate
from firefly_ws._core.delivery import Callbacks
from firefly_ws._core.limits import Limits
from firefly_ws._core.outbox import Turn
from firefly_ws._core.protocol import Protocol
from firefly_ws._core.steps import Steps

__all__ = ["BYE", "MASK", "ROLES", "Log", "Peer", "Served", "Transport", "slow", "turns"]

MASK = bytes.fromhex("a1b2c3d4")
BYE = close_payload(1000, "bye")
ROLES = pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])


class Transport(asyncio.Transport):
    """Takes all that is written at once, or, while `stuck`, keeps it as a socket whose peer does not read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.protocol: Any = None
        self.writes: list[bytes] = []
        self.waiting = b""  # written and not taken
        self.stuck = False
        self.paused_writing = False
        self.high = self.low = 0
        self.reading = True
        self.ended = ""  # "close", "abort": what was called
        self.eof_written = False
        self.half_close = True
        self.lost = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high, self.low = high or 0, low or 0

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def write(self, data: Any) -> None:
        assert not self.ended, "a write behind the end"
        assert not self.eof_written, "a write behind write_eof"
        data = bytes(data)
        assert data, "an empty write"
        if self.stuck:
            self.waiting += data
            if len(self.waiting) > self.high and not self.paused_writing:
                self.paused_writing = True
                self.protocol.pause_writing()
        else:
            self.writes.append(data)

    def take(self, count: int | None = None) -> None:
        """The peer reads *count* bytes, or all and all that follows."""
        if count is None:
            self.stuck, count = False, len(self.waiting)
        if count:
            self.writes.append(self.waiting[:count])
        self.waiting = self.waiting[count:]
        if self.paused_writing and len(self.waiting) <= self.low:
            self.paused_writing = False
            self.protocol.resume_writing()
        if self.ended == "close" and not self.waiting:
            self.lose()

    def can_write_eof(self) -> bool:
        return self.half_close

    def write_eof(self) -> None:
        assert not self.eof_written
        self.eof_written = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        assert not self.ended
        self.ended = "close"
        if not self.waiting:
            self.loop.call_soon(self.lose)

    def abort(self) -> None:
        if self.ended != "abort":
            self.ended = "abort"
            self.loop.call_soon(self.lose)

    def lose(self, error: Exception | None = None) -> None:
        """The end of TCP."""
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)


class Peer:
    """The other end of a connection: what it sends, and what it has got."""

    def __init__(
        self,
        *,
        is_client: bool = False,
        deflate: Deflate | None = None,
        chain: Chain | None = None,
        start: bool = True,
        policy: WebSocketPolicy | None = None,
        steps: Steps | None = None,
        turn: Turn | None = None,
        limits: dict[str, Any] | None = None,
        kind: type[Connection] = Connection,
        **callbacks: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.is_client = is_client
        self.callbacks = Callbacks()
        for slot, callback in callbacks.items():
            setattr(self.callbacks, slot, callback)
        receiving = [callbacks[slot] for slot in ("message", "text", "binary") if slot in callbacks]
        self.callbacks.coroutines = bool(receiving) and all(map(inspect.iscoroutinefunction, receiving))
        self.deflated = deflate is not None
        self.steps = Steps(loop) if steps is None else steps
        self.connection: Any = kind(
            Limits((policy or WebSocketPolicy()).replace(**(limits or {}))),
            self.callbacks,
            self.steps,
            Turn(loop) if turn is None else turn,
            is_client,
            deflate,
            chain,
        )
        self.protocol = Protocol(self.connection)
        self.transport = Transport(loop)
        if start:
            self.open()

    def open(self, rest: bytes = b"") -> None:
        self.protocol.open(self.transport, rest)

    def frame(self, opcode: int, payload: bytes = b"", **how: Any) -> bytes:
        """A frame as the peer sends it."""
        return frame(opcode, payload, mask=None if self.is_client else MASK, **how)

    def feed(self, *data: bytes) -> None:
        """One read of the transport."""
        self.protocol.data_received(b"".join(data))

    def send(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        self.feed(self.frame(opcode, payload, **how))

    def eof(self) -> None:
        """The peer ends its side, as asyncio's transports tell it."""
        if not self.protocol.eof_received() and not self.transport.ended:
            self.transport.close()

    def lose(self, error: Exception | None = None) -> None:
        self.transport.ended = self.transport.ended or "lost"
        self.transport.lose(error)

    @property
    def got(self) -> list[Event]:
        """What the connection has sent so far, as the judge reads it."""
        role = "server" if self.is_client else "client"
        return judge(b"".join(self.transport.writes), role, deflate=self.deflated, max_message_size=None)


class Log(list[Any]):
    """What the callbacks heard, in order."""

    def on(self, *names: str) -> dict[str, Callable[..., None]]:
        def heard(name: str) -> Callable[..., None]:
            if name in ("close", "error"):
                return lambda connection, what: self.append((name, what))
            if name == "accept":
                return lambda connection: self.append((name,))
            return lambda what, connection: self.append((name, what))

        return {name: heard(name) for name in names}


def slow(release: asyncio.Event, log: list[Any]) -> Callable[..., Any]:
    async def on_text(text: str, connection: Any) -> None:
        log.append(text)
        await release.wait()
        if connection.is_open:
            connection.send(f"answer to {text}")
        log.append(f"end of {text}")

    return on_text


class Served:
    """A connection whose callback is *callback*; `call` has it called."""

    def __init__(self, callback: Callable[..., object], **how: Any) -> None:
        self.peer = Peer(text=callback, **how)

    def call(self, text: str = "x") -> None:
        self.peer.send(TEXT, text.encode())

    @property
    def error(self) -> BaseException | None:
        return self.peer.connection.error


async def turns(count: int = 3) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)
