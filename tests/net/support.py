"""What the tests over sockets share: peers that speak bytes, and waits that give up; knows no test.

`RawPeer` is a socket without any WebSocket library behind it, for what only bytes can say.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import hashlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from firefly_ws import Frame, Server, WebSocketConnection
from firefly_ws.per_loop import runtime_of

LIMIT = 5.0  # seconds: what has not come by then never comes
GRACE = 2.0  # seconds that a test has to end what it has begun
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the one of RFC 6455 §1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x11\x22\x33\x44"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def url_of(server: Server, path: str = "/", scheme: str = "ws", host: str = "127.0.0.1") -> str:
    """The address of a route of *server*."""
    return f"{scheme}://{host}:{server.port}{path}"


class Inbox:
    """A message callback that keeps what it is given."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, value: Any, connection: WebSocketConnection | None = None) -> None:
        """For ``on_message``, ``on_text``, ``on_binary``, ``on_accept``."""
        self._queue.put_nowait(value)

    async def next(self) -> Any:
        """The oldest one not taken yet."""
        async with asyncio.timeout(LIMIT):
            return await self._queue.get()

    async def take(self, count: int) -> list[Any]:
        """The next *count*."""
        return [await self.next() for _ in range(count)]

    def __len__(self) -> int:
        return self._queue.qsize()


def echo(frame: Frame, connection: WebSocketConnection) -> object:
    """An ``on_message`` that sends everything back."""
    return connection.send(frame)


async def eventually(true: Callable[[], object], limit: float = LIMIT) -> None:
    """Return once ``true()`` holds."""
    async with asyncio.timeout(limit):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def soon(awaitable: Awaitable[Any]) -> Any:
    """Await it, but not for ever."""
    async with asyncio.timeout(LIMIT):
        return await awaitable


@contextmanager
def logged(name: str = "firefly_ws", level: int = logging.WARNING) -> Iterator[list[logging.LogRecord]]:
    """What the library, or the logger *name*, logs at *level* and above meanwhile."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep(level)
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


@pytest.fixture(autouse=True)
async def nothing_leaks() -> AsyncIterator[None]:
    """A test that uses this (by importing it) leaves no task, socket, server, connection or unheard error behind."""
    loop = asyncio.get_running_loop()
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    tasks, sockets, before = asyncio.all_tasks(), _sockets(), timers(loop)

    def left() -> list[object]:
        tasks.add(asyncio.current_task())
        found = [*(asyncio.all_tasks() - tasks), *(_sockets() - sockets), *timers(loop, before)]
        return [*found, *runtime_of(loop).tracked]

    yield
    deadline = loop.time() + GRACE
    while loop.time() < deadline and left():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    # What was dropped without being awaited complains now, or never.
    gc.collect()
    await asyncio.sleep(0)
    found = left()
    if found:
        # A test has failed in its middle. uvloop would wait for ever for what `-W error` keeps it from closing.
        runtime_of(loop).abort_all()
        await asyncio.sleep(0.01)
    assert not found, found
    assert not unheard, unheard


def timers(loop: asyncio.AbstractEventLoop, known: list[Any] | None = None) -> list[Any]:
    """What is still to be called later, but for *known*; asyncio's loop shows it, uvloop's does not."""
    waiting = [handle for handle in getattr(loop, "_scheduled", ()) if not handle.cancelled()]
    return [handle for handle in waiting if not any(handle is one for one in known or ())]


def _sockets() -> set[str]:
    """The open ones, but for the nameless pairs that an event loop makes for itself whenever it runs."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as sock:
                    if sock.family != socket.AF_UNIX or sock.getsockname() or sock.getpeername():
                        found.add(f"{target} {sock.getsockname()}")
    return found


# --- bytes


def upgrade(path: str = "/", *, without: str = "", method: str = "GET", version: str = "1.1", **fields: str) -> bytes:
    """A client's request; ``sec_websocket_key="…"`` sets or adds a field, ``without`` names one to leave out."""
    lines = {
        "host": "example.com",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
    }
    lines.update({name.replace("_", "-"): value for name, value in fields.items()})
    lines.pop(without, None)
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode("latin-1")


def accept_key(key: str) -> str:
    """RFC 6455 §4.2.2, written down a second time."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def switching(key: str = KEY, **fields: str) -> bytes:
    """A server's 101; an empty value leaves a field out."""
    lines = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept_key(key)}
    lines.update({name.replace("_", "-"): value for name, value in fields.items()})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 101 Switching Protocols\r\n{head}\r\n".encode("latin-1")


def frame(
    opcode: int, payload: bytes | str = b"", *, mask: bytes | None = MASK, fin: bool = True, rsv: int = 0
) -> bytes:
    """A frame as a client sends it; ``mask=None``: as a server does."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0 if mask is None else 0x80
    if len(data) < 126:
        head = struct.pack("!BB", first, bit | len(data))
    elif len(data) < 65536:
        head = struct.pack("!BBH", first, bit | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(data))
    if mask is None:
        return head + data
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def close_frame(code: int = 1000, reason: str = "", *, mask: bytes | None = MASK) -> bytes:
    """A Close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode(), mask=mask)


class Answer:
    """An HTTP answer as it came."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.version, status, self.reason = first.split(" ", 2)
        self.status = int(status)
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body


class RawPeer:
    """One end of a TCP connection that sends and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        """Write the parts as one."""
        self.writer.write(b"".join(parts))

    async def send_bytewise(self, data: bytes) -> None:
        """Write a byte at a time, each in a packet of its own as far as TCP allows."""
        for byte in data:
            self.writer.write(bytes((byte,)))
            await self.writer.drain()
            await asyncio.sleep(0)

    async def head(self) -> Answer:
        """The head of an answer, no body."""
        head = await soon(self.reader.readuntil(b"\r\n\r\n"))
        return Answer(head[:-4], b"")

    async def answer(self) -> Answer:
        """A whole answer, to the end of the connection."""
        head, _, body = (await soon(self.reader.read())).partition(b"\r\n\r\n")
        return Answer(head, body)

    async def request(self) -> tuple[str, dict[str, str]]:
        """A client's request line and its header fields."""
        lines = (await soon(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1").split("\r\n")
        return lines[0], {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:-2])}

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: first byte and unmasked payload."""
        first, second = await soon(self.reader.readexactly(2))
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await soon(self.reader.readexactly(2)))
        elif size == 127:
            (size,) = struct.unpack("!Q", await soon(self.reader.readexactly(8)))
        mask = await soon(self.reader.readexactly(4)) if second & 0x80 else bytes(4)
        data = await soon(self.reader.readexactly(size))
        return first, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    async def rest(self) -> bytes:
        """All that comes until the other end is closed."""
        data: bytes = await soon(self.reader.read())
        return data

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):  # it was aborted
            await self.writer.wait_closed()


@asynccontextmanager
async def raw_client(port: int | None, **options: Any) -> AsyncIterator[RawPeer]:
    """Connect to a server on 127.0.0.1."""
    peer = RawPeer(*await asyncio.open_connection("127.0.0.1", port, **options))
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def raw_server(serve: Callable[[RawPeer], Awaitable[None]], **options: Any) -> AsyncIterator[int]:
    """A server that runs ``serve(peer)`` for each connection; gives its port. What ``serve`` raises is raised here."""
    running: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = RawPeer(reader, writer)
        try:
            await serve(peer)
        finally:
            await peer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.create_task(one(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0, backlog=512, **options)
    try:
        yield server.sockets[0].getsockname()[1]
        await soon(asyncio.gather(*running))
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


def answering(answer: bytes) -> Callable[[RawPeer], Awaitable[None]]:
    """For `raw_server`: whatever is asked, this is the answer."""

    async def serve(peer: RawPeer) -> None:
        await peer.request()
        peer.send(answer)

    return serve


async def refused_port() -> int:
    """A port where nothing listens."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
