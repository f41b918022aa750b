"""The other end of a connection, by hand: raw frames over a socket, read and written one by one.

Knows the judge's frames and a socket; knows nothing of the library, so that it may break every rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from judge import BINARY, CLOSE, KEY, PING, PONG, TEXT, close_payload, frame

__all__ = ["LIMIT", "Frame", "Peer", "RawServer", "binary", "close", "eventually", "ping", "pong", "text"]

LIMIT = 5.0  # seconds that anything may take
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)


def text(payload: str | bytes = "", mask: bytes | None = KEY, *, fin: bool = True) -> bytes:
    """A text frame of a client; with ``mask=None`` of a server."""
    return frame(TEXT, payload.encode() if isinstance(payload, str) else payload, mask=mask, fin=fin)


def binary(payload: bytes = b"", mask: bytes | None = KEY) -> bytes:
    """A binary frame; the zero mask is a mask as well, and cheap for the judge to apply."""
    if mask is not None and len(payload) > 4096:
        return frame(BINARY, payload, declared=None, mask=None)[:1] + _masked_head(len(payload)) + payload
    return frame(BINARY, payload, mask=mask)


def _masked_head(size: int) -> bytes:
    if size < 65536:
        return bytes([0x80 | 126]) + size.to_bytes(2, "big") + bytes(4)
    return bytes([0x80 | 127]) + size.to_bytes(8, "big") + bytes(4)


def ping(payload: bytes = b"", mask: bytes | None = KEY) -> bytes:
    """A Ping."""
    return frame(PING, payload, mask=mask)


def pong(payload: bytes = b"", mask: bytes | None = KEY) -> bytes:
    """A Pong."""
    return frame(PONG, payload, mask=mask)


def close(code: int | None = 1000, reason: str = "", mask: bytes | None = KEY) -> bytes:
    """A Close; ``None`` gives an empty one."""
    return frame(CLOSE, b"" if code is None else close_payload(code, reason), mask=mask)


class Frame(NamedTuple):
    """A frame as it came."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int | None:
        """The code of a Close."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None

    @property
    def reason(self) -> str:
        """The reason of a Close."""
        return self.payload[2:].decode()


class Peer:
    """A raw end of a websocket, after its handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    async def connect(
        cls,
        port: int,
        context: ssl.SSLContext | None = None,
        *,
        path: str = "/",
        headers: str = "",
        behind: bytes = b"",
        receive_buffer: int | None = None,
    ) -> Peer:
        """Upgrade; *behind* leaves in the same write as the request, *receive_buffer* bounds what the kernel takes."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=context,
            server_hostname=None if context is None else "127.0.0.1",
            limit=2**16 if receive_buffer is None else 1024,
        )
        peer = cls(reader, writer)
        writer.write(UPGRADE.format(path=path, headers=headers).encode() + behind)
        async with asyncio.timeout(LIMIT):
            peer.head = await reader.readuntil(b"\r\n\r\n")
        assert peer.head.startswith(b"HTTP/1.1 101 "), peer.head
        return peer

    def write(self, *frames: bytes) -> None:
        """Write all of them at once."""
        self.writer.write(b"".join(frames))

    async def frame(self, limit: float = LIMIT) -> Frame | None:
        """The next frame, or None at the end of TCP; there the socket is closed, as every peer does."""
        async with asyncio.timeout(limit):
            try:
                first, second = await self.reader.readexactly(2)
                size = second & 0x7F
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                elif size == 127:
                    size = int.from_bytes(await self.reader.readexactly(8), "big")
                mask = await self.reader.readexactly(4) if second & 0x80 else bytes(4)
                payload = await self.reader.readexactly(size)
            except (asyncio.IncompleteReadError, OSError):
                self.writer.close()
                return None
        if mask != bytes(4):
            payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
        return Frame(first & 15, payload)

    async def texts(self, count: int) -> list[str]:
        """The payloads of the next *count* frames, all text."""
        found = []
        for _ in range(count):
            one = await self.frame()
            assert one is not None, f"the end came after {found}"
            assert one.opcode == TEXT, one
            found.append(one.payload.decode())
        return found

    async def rest(self) -> list[Frame]:
        """All frames until the end of TCP."""
        frames = []
        while (one := await self.frame()) is not None:
            frames.append(one)
        return frames

    async def closed(self) -> Frame:
        """The Close that must come last; answers it, and waits for the end of TCP."""
        frames = await self.rest_until_close()
        return frames[-1]

    async def rest_until_close(self) -> list[Frame]:
        """All frames until the Close, which is answered, and nothing but the end of TCP behind it."""
        frames = []
        while True:
            one = await self.frame()
            assert one is not None, f"no Close came, only {frames}"
            frames.append(one)
            if one.opcode == CLOSE:
                break
        with contextlib.suppress(OSError, RuntimeError):
            self.write(frame(CLOSE, one.payload, mask=KEY))
        assert await self.frame() is None
        return frames

    async def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                data = await self.reader.read(1)
        except TimeoutError:
            return True
        assert not data, f"{data!r} came"
        return False

    def abort(self) -> None:
        """A reset."""
        self.writer.transport.abort()

    async def end(self) -> None:
        """Close the socket."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.1):
                await self.writer.wait_closed()
        self.writer.transport.abort()


class RawServer:
    """Accepts one kind of raw connection; each is handed to the test after the upgrade."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.all: list[Peer] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self, context: ssl.SSLContext | None, behind: bytes) -> RawServer:
        """Listen; *behind* leaves with the answer."""
        import base64
        import hashlib

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(line[18:].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
            digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n" + behind
            )
            peer = Peer(reader, writer)
            self.all.append(peer)
            self.peers.put_nowait(peer)

        self._server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def peer(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(LIMIT):
            return await self.peers.get()

    async def end(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for peer in self.all:
            await peer.end()


async def eventually(true: Callable[[], object], limit: float = LIMIT) -> None:
    """Return once ``true()`` is; fails when that takes too long."""
    async with asyncio.timeout(limit):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.001)
