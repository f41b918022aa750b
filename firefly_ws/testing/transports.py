"""One end of a connection in memory, as asyncio's transports are; knows bytes and a protocol, no sockets or frames."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .links import Flow

__all__ = ["READ", "MemoryTransport"]

READ = 65536  # bytes of one delivery at most, as a loop reads from a socket


class MemoryTransport(asyncio.Transport):
    """One end of a `Link`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        incoming: Flow,
        outgoing: Flow,
        sockname: Any,
        peername: Any,
    ) -> None:
        super().__init__({"sockname": sockname, "peername": peername})
        self._loop = loop
        self._protocol: Any = protocol
        self._incoming = incoming
        self._outgoing = outgoing
        self._waiting = bytearray()  # written, and more than the flow holds
        self._high, self._low = 65536, 16384
        self._writing_paused = False
        self._reading = True
        self._closing = False
        self._eof_written = False
        self._losing = False
        self._gone = False

    def __repr__(self) -> str:
        state = "closed" if self._gone else "closing" if self._closing else "open"
        return f"<MemoryTransport {self.get_extra_info('sockname')} {state}>"

    # --- for the protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Deliver to *protocol* from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is delivered to."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether what arrives is delivered."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Leave what arrives in flight."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver again."""
        self._reading = True
        self._incoming._schedule()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When ``pause_writing`` and ``resume_writing`` are called, in bytes; as `asyncio.WriteTransport` has it."""
        if high is None:
            high = 65536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high={high!r} must be at least low={low!r}, and that at least 0")
        self._high, self._low = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes written that are not in flight yet."""
        return len(self._waiting)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*; never delivers it from within this call."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"write() takes bytes-like, not {type(data).__name__}")
        if self._eof_written:
            raise RuntimeError("cannot write behind write_eof()")
        if self._closing or not len(data):
            return
        if not self._waiting:
            room = self._outgoing._room()
            if room:
                self._outgoing._put(bytes(data[:room]))
            data = data[room:]
        self._waiting += data
        if len(self._waiting) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """True: each direction ends by itself."""
        return True

    def write_eof(self) -> None:
        """End our direction behind what has been written."""
        if self._eof_written or self._closing:
            return
        self._eof_written = True
        if not self._waiting:
            self._outgoing._end()

    def close(self) -> None:
        """Send what has been written, then end; nothing more is delivered."""
        if not self._closing:
            self._closing = True
            self._incoming._schedule()  # what comes now is taken and thrown away
            if not self._waiting:
                self._finish()

    def abort(self) -> None:
        """End now; what is in flight still arrives, what waits behind it does not."""
        self._closing = True
        self._waiting.clear()
        self._incoming._schedule()
        self._finish()

    # --- for the flows

    def _takes(self) -> bool:
        """What arrives is delivered, or thrown away."""
        return self._reading or self._closing

    def _arrived(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                self._buffered(data)
            else:
                self._protocol.data_received(data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._broken(error)

    def _buffered(self, data: bytes) -> None:
        """To a protocol that says where to read to, as much at a time as it has room for."""
        while data and not self._closing:
            view = memoryview(self._protocol.get_buffer(len(data)))
            size = min(len(view), len(data))
            view[:size] = data[:size]
            self._protocol.buffer_updated(size)
            data = data[size:]

    def _end_arrived(self) -> None:
        if self._closing:
            return
        try:
            stays = self._protocol.eof_received()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._broken(error)
        else:
            if not stays:
                self.close()

    def _broken(self, error: BaseException) -> None:
        """The protocol raised: as asyncio's transports, report it and end."""
        self._loop.call_exception_handler(
            {"message": f"{self!r}: the protocol raised", "exception": error, "protocol": self._protocol}
        )
        self._lose_soon(error)

    def _refill(self) -> None:
        """There may be room in flight."""
        if self._gone or not self._waiting:
            return
        room = self._outgoing._room()
        if room:
            self._outgoing._put(bytes(self._waiting[:room]))
            del self._waiting[:room]
        if self._writing_paused and len(self._waiting) <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()
        if not self._waiting:
            if self._closing:
                self._finish()
            elif self._eof_written:
                self._outgoing._end()

    def _cut_off(self) -> None:
        """What is written goes nowhere: nothing has to wait."""
        self._loop.call_soon(self._refill)

    def _finish(self) -> None:
        self._outgoing._end()
        self._lose_soon(None)

    def _lose_soon(self, error: BaseException | None) -> None:
        if not self._losing:
            self._losing = self._closing = True
            self._waiting.clear()
            self._outgoing._end()
            self._loop.call_soon(self._lose, error)

    def _lose(self, error: BaseException | None) -> None:
        self._gone = True
        self._protocol.connection_lost(error)
