"""A client of bytes for one server: it sends what it is given and waits, but not for ever; knows no rule.

Every frame of the server is looked at for what must hold of all of them: not masked, no reserved bits or opcodes, as
short a length as can be (RFC 6455 §5.1, §5.2).
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from .frames import CLOSE, CONTINUATION, PING, PONG, Answer, Frame, accept_of, close_frame, frame, new_key
from .frames import read_answer as _read_answer
from .frames import read_frame as _read_frame
from .verdicts import fail, warn

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext
    from types import TracebackType
    from typing import Any

    from firefly_ws.url import WebSocketURL

__all__ = ["Peer", "Target", "shown"]

_STILL_THERE: Final = b"still there?"
# Of the timeout: one who has answered the Ping behind an offence may still find it. Many look at text only when the
# application asks for it.
_SECOND_THOUGHTS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """The server, and how long to wait for it."""

    url: WebSocketURL
    context: SSLContext | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    subprotocols: list[str] = field(default_factory=list)
    timeout: float = 2.0


def shown(payload: bytes) -> str:
    """A payload in a few words."""
    if len(payload) > 40:
        return f"{len(payload)} bytes ({payload[:20]!r}…)"
    return repr(payload)


class _Stream(asyncio.Protocol):
    """What came. Not asyncio's reader: that one forgets what it has when the connection is reset."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self._news = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._news.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._news.set()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self._news.set()

    async def news(self) -> None:
        await self._news.wait()
        self._news.clear()


class Peer:
    """A connection to the server under test: ``async with Peer(target) as peer``."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.key = new_key()
        self._stream = _Stream()
        self._transport: asyncio.Transport | None = None

    async def __aenter__(self) -> Self:
        """Connect; raises ``OSError``, ``TimeoutError``."""
        url = self.target.url
        async with asyncio.timeout(self.target.timeout):
            self._transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: self._stream, url.host, url.port, ssl=self.target.context
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, *data: bytes) -> None:
        """Send bytes; into the void if the server has gone."""
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(b"".join(data))

    async def _read(self, take: Callable[[bytearray], Any], share: float = 1.0) -> Any:
        """What *take* finds; ``None`` at the end, ``TimeoutError`` if nothing comes for that *share* of the timeout."""
        async with asyncio.timeout(self.target.timeout * share):
            while (found := take(self._stream.data)) is None:
                if self._stream.ended:
                    return None
                await self._stream.news()
        return found

    # --- the handshake

    def request(
        self, change: dict[str, str | None] | None = None, *, method: str = "GET", version: str = "1.1"
    ) -> bytes:
        """An upgrade request; *change* sets header fields, ``None`` leaves one out."""
        fields: dict[str, str | None] = {
            "Host": self.target.url.host_header,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self.key,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": ", ".join(self.target.subprotocols) or None,
            **(change or {}),
        }
        lines = [f"{method} {self.target.url.target} HTTP/{version}"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
        lines += [f"{name}: {value}" for name, value in self.target.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def answer(self) -> Answer | None:
        """The head of the answer; ``None`` if the server went away without one."""
        try:
            answer: Answer | None = await self._read(_read_answer)
        except TimeoutError:
            fail(f"no answer came within {self.target.timeout:g} s")
        except ValueError as error:
            fail(str(error))
        return answer

    async def open(self, change: dict[str, str | None] | None = None) -> Answer:
        """Upgrade; fails the rule if the server does not."""
        self.send(self.request(change))
        return self.upgraded(await self.answer())

    def upgraded(self, answer: Answer | None) -> Answer:
        """*answer*, which must be a correct upgrade (§4.1)."""
        if answer is None:
            fail("the server ended the connection without an answer")
        if answer.status != 101:
            fail(f"answered {answer.line[9:]!r}, not 101")
        headers = answer.headers
        if headers.get("upgrade", "").lower() != "websocket":
            fail(f"Upgrade is {headers.get('upgrade')!r}, not 'websocket'")
        if "upgrade" not in [one.strip().lower() for one in headers.get("connection", "").split(",")]:
            fail(f"Connection is {headers.get('connection')!r}, not 'Upgrade'")
        if headers.get("sec-websocket-accept") != accept_of(self.key):
            fail(f"Sec-WebSocket-Accept is {headers.get('sec-websocket-accept')!r}, not {accept_of(self.key)!r}")
        return answer

    # --- frames

    async def frame(self, share: float = 1.0) -> Frame | None:
        """The next frame; ``None`` when the server has ended TCP, ``TimeoutError`` if none comes."""
        found: Frame | None = await self._read(_read_frame, share)
        if found is not None:
            if found.masked:
                fail("a frame of the server is masked, which only a client's are (§5.1)")
            if found.opcode not in (0, 1, 2, 8, 9, 10):
                fail(f"a frame of the server has the reserved opcode {found.opcode} (§5.2)")
            if found.rsv & 3:
                fail(f"a frame of the server has reserved bits: {found.rsv:03b} (§5.2)")
            if not found.minimal:
                fail("a frame of the server has a longer length field than it needs (§5.2)")
            if found.opcode > 7 and (not found.fin or len(found.payload) > 125):
                fail("a control frame of the server is fragmented or longer than 125 bytes (§5.5)")
            if found.opcode == CLOSE:
                _check_close(found.payload)
        return found

    async def message(self) -> tuple[int, bytes, int] | None:
        """The next message: opcode, payload, reserved bits; Pings are answered, a Close ends it with ``None``."""
        opcode, rsv = CONTINUATION, 0
        parts: list[bytes] = []
        while (found := await self.frame()) is not None and found.opcode != CLOSE:
            if found.opcode == PING:
                self.send(frame(PONG, found.payload))
            elif found.opcode != PONG:
                if (found.opcode == CONTINUATION) != bool(parts):
                    fail("the frames of the server's messages are mixed up (§5.4)")
                if not parts:
                    opcode, rsv = found.opcode, found.rsv
                parts.append(found.payload)
                if found.fin:
                    return opcode, b"".join(parts), rsv
        return None

    async def echoed(self, opcode: int, payload: bytes) -> None:
        """Fails the rule unless this message comes; others may come before it."""
        other = ""
        try:
            while (got := await self.message()) is not None:
                if got[:2] == (opcode, payload) and not got[2]:
                    return
                other = f"; {'text' if got[0] == 1 else 'binary'} {shown(got[1])} came instead"
        except TimeoutError:
            fail(f"{shown(payload)} did not come back within {self.target.timeout:g} s{other}")
        fail(f"the server closed instead of sending {shown(payload)} back{other}")

    async def pong(self, payload: bytes) -> None:
        """Fails the rule unless a Pong with *payload* comes."""
        try:
            while (found := await self.frame()) is not None:
                if found.opcode == PONG:
                    if found.payload != payload:
                        fail(f"the Pong has {shown(found.payload)}, the Ping had {shown(payload)}")
                    return
                if found.opcode == CLOSE:
                    fail(f"the server closed{_with(found)} instead of answering a Ping")
        except TimeoutError:
            fail(f"no Pong came within {self.target.timeout:g} s")
        fail("the server ended the connection instead of answering a Ping")

    async def alive(self) -> None:
        """Fails the rule unless the connection still works."""
        self.send(frame(PING, _STILL_THERE))
        await self.pong(_STILL_THERE)

    async def closed(self) -> Frame:
        """The server's Close; fails the rule if it goes without one, or goes on."""
        try:
            while (found := await self.frame()) is not None:
                if found.opcode == CLOSE:
                    return found
        except TimeoutError:
            fail(f"no Close came within {self.target.timeout:g} s")
        fail("the server ended TCP without a Close frame")

    async def ended(self) -> None:
        """Fails the rule unless the server ends TCP."""
        try:
            while await self.frame() is not None:
                pass
        except TimeoutError:
            fail(f"the server left TCP open for {self.target.timeout:g} s")

    async def refused(self, *codes: int, ask: bool = True) -> None:
        """Fails the rule if the server goes on; a warning if it ends without one of these close codes (§7.1.7).

        A Ping behind the offence finds out sooner than a silence whether the server has let it pass.
        """
        if ask:
            self.send(frame(PING, _STILL_THERE))
        expected = " or ".join(map(str, codes))
        went_on, share = False, 1.0
        try:
            while (found := await self.frame(share)) is not None and found.opcode != CLOSE:
                if found.opcode == PONG and found.payload == _STILL_THERE:
                    went_on, share = True, _SECOND_THOUGHTS
        except TimeoutError:
            if went_on:
                fail("accepted: the server went on, and answered the next Ping")
            fail(f"nothing happened within {self.target.timeout:g} s; expected: a Close with {expected}")
        if found is None:
            warn(f"the connection was dropped without a Close frame; expected: {expected}")
        if found.payload[:2] not in [struct.pack("!H", code) for code in codes]:
            warn(f"refused, but closed{_with(found)} instead of {expected}")
        self.send(close_frame(codes[0]))
        await self.ended()


def _check_close(payload: bytes) -> None:
    """What must hold of every Close (§5.5.1, §7.4)."""
    if len(payload) == 1:
        fail("a Close of the server has one byte (§5.5.1)")
    code = int.from_bytes(payload[:2])
    if payload and (not 1000 <= code <= 4999 or code in (1004, 1005, 1006, 1015) or 1016 <= code < 3000):
        fail(f"a Close of the server has {code}, which may not be sent (§7.4)")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        fail("a Close of the server has a reason that is no UTF-8 (§5.5.1)")


def _with(close: Frame) -> str:
    return f" with {int.from_bytes(close.payload[:2])}" if len(close.payload) > 1 else " without a code"
