"""``python -m tests.soak``: thousands of connections and minutes of all there is, and nothing of it may be left.

    python -m tests.soak --cycles 20000 --minutes 2     as .ci/run has it, about three minutes
    python -m tests.soak --cycles 200000 --minutes 60   a night

After a warm-up, memory, descriptors, threads and living objects are counted; after the work and a collection they are
counted again. Descriptors, threads, tasks and connections must be exactly as many as before. Memory may have grown by
GROWTH bytes: an allocator's pages do not come back to the byte. What is allocated does: Python's own allocator counts
its blocks and the system's its bytes, so that one small object of each connection shows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import random
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from firefly_ws import PerMessageDeflate, Response, WebSocketException, http_client, http_server
from firefly_ws.self_signed import self_signed

GROWTH = 6 * 1024 * 1024  # bytes; a connection of 20,000 that left 320 of its own would show
BLOCKS = 2000  # of Python's allocator (512 bytes at most each): caches fill up, a loop keeps handles for later
IN_USE = 512 * 1024  # bytes of the system's allocator, where each connection does the same; else GROWTH holds for them
AT_ONCE = 16  # connections
LINGERS = 3.0  # seconds for which a server reads on behind a refusal, and a little
LIMIT = 30.0  # seconds for one step: what has not come by then never comes

UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Left(AssertionError):
    """Something is there that was not there before."""


class _Mallinfo(ctypes.Structure):
    """mallinfo2(3): the fifth are bytes of blocks with a mapping of their own, the eighth those of all others."""

    _fields_ = [("numbers", ctypes.c_size_t * 10)]


def in_use() -> int:
    """Bytes that the system's allocator has given out; 0 where it does not tell."""
    mallinfo: Any = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return 0
    mallinfo.restype = _Mallinfo
    told = mallinfo()
    return int(told.numbers[4] + told.numbers[7])


class Counted:
    """What this process holds now."""

    def __init__(self) -> None:
        for _ in range(3):
            gc.collect()
        self.blocks = sys.getallocatedblocks()
        self.in_use = in_use()
        self.memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.opened: Counter[str] = Counter()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one of this listing
                self.opened[os.readlink(f"/proc/self/fd/{name}")] += 1
        self.descriptors = sum(self.opened.values())
        # A loop's executor has a few, made as they are needed and kept.
        pooled = ("uvloop_", "asyncio_")
        self.threads = sum(not thread.name.startswith(pooled) for thread in threading.enumerate())
        self.objects = Counter(
            f"{type(one).__module__}.{type(one).__qualname__}"
            for one in gc.get_objects()
            if str(type(one).__module__).startswith(("firefly_ws", "asyncio", "_asyncio", "uvloop"))
        )

    def compare(self, before: Counted, what: str, in_use: int = IN_USE) -> None:
        """Raises `Left`."""
        grown = self.memory - before.memory
        more = self.objects - before.objects
        print(
            f"{what}: memory {before.memory / 2**20:.1f} -> {self.memory / 2**20:.1f} MiB, descriptors "
            f"{before.descriptors} -> {self.descriptors}, threads {before.threads} -> {self.threads}, "
            f"objects {sum(before.objects.values())} -> {sum(self.objects.values())}, "
            f"blocks {before.blocks} -> {self.blocks}, bytes in use {before.in_use} -> {self.in_use}",
            flush=True,
        )
        # Bounded caches may fill up: a few are no leak, one for each connection is.
        living = {name: number for name, number in more.items() if number > 20 or name.endswith(("Connection", "Task"))}
        if living:
            raise Left(f"{what}: objects are left: {living}")
        if self.descriptors > before.descriptors:
            raise Left(f"{what}: descriptors are left: {self.opened - before.opened}")
        if self.threads > before.threads:
            raise Left(f"{what}: threads are left: {threading.enumerate()}")
        if self.blocks > before.blocks + BLOCKS:
            raise Left(f"{what}: {self.blocks - before.blocks} blocks of memory are left, more than {BLOCKS}")
        if self.in_use > before.in_use + in_use:
            raise Left(f"{what}: {self.in_use - before.in_use} bytes are left, more than {in_use}")
        if grown > GROWTH:
            raise Left(f"{what}: memory has grown by {grown} bytes, more than {GROWTH}")


class Soak:
    """A server of everything, plain and with TLS, and those who ask it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.servers: list[Any] = []
        self.failed: list[BaseException] = []

    async def begin(self) -> None:
        pem, _ = self_signed(["localhost", "127.0.0.1"])
        path = self.folder / "certificate.pem"
        path.write_bytes(pem)
        (self.folder / "page.html").write_text("page" * 1000)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        self.tls = ssl.create_default_context(cafile=str(path))
        for secure in (False, True):
            app = http_server()
            if secure:
                app.secure(context)
            self.routes(app)
            self.servers.append(await app.listen("127.0.0.1", 0))
        self.plain, self.secure = self.servers

    def routes(self, app: Any) -> None:
        async def slow(text: str, connection: Any) -> None:
            await asyncio.sleep(0)
            connection.send(text)

        async def pulled(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)

        async def in_pieces(connection: Any) -> None:
            while True:
                pieces = [piece async for piece in connection.receive_stream()]
                await connection.send(sum(map(len, pieces)).to_bytes(4))

        async def body(request: Any) -> str:
            return str(len(await request.body()))

        app.websocket("/echo").on_message(lambda frame, connection: connection.send(frame))
        app.websocket("/slow").on_text(slow)
        app.websocket("/pull").handler(pulled)
        app.websocket("/pieces").handler(in_pieces)
        app.websocket("/raises").on_message(lambda frame, connection: 1 / 0)
        app.websocket("/small").max_message_size(100).on_message(lambda frame, connection: None)
        app.websocket("/window").extensions([PerMessageDeflate(context_takeover=True)]).on_message(
            lambda frame, connection: connection.send(frame)
        )
        app.get("/hello", lambda request: "hello").post("/body", body).get("/none", lambda request: Response(204))
        app.static("/files", self.folder)

    def client(self, path: str, *, secure: bool = False) -> Any:
        if secure:
            return http_client().wss("localhost", self.secure.port, path).ssl(self.tls)
        return http_client().ws("127.0.0.1", self.plain.port, path)

    # --- what is done

    async def cycle(self) -> None:
        async with self.client("/echo").connect() as connection:
            connection.send("hello")
            assert await connection.receive() == "hello"

    async def echo(self) -> None:
        builder = self.client(self.dice.choice(["/echo", "/pull", "/slow", "/window"]), secure=self.dice.random() < 0.4)
        if self.dice.random() < 0.6:
            deflate = PerMessageDeflate(context_takeover=self.dice.random() < 0.5)
            builder.extensions([deflate])
        async with builder.connect() as connection:
            for _ in range(self.dice.randrange(5)):
                text = "soak" * self.dice.choice([0, 1, 100, 20_000])
                await connection.send(text)
                assert await connection.receive() == text
                if self.dice.random() < 0.2:
                    await connection.ping()

    async def callbacks(self) -> None:
        came = asyncio.get_running_loop().create_future()
        connection = await self.client("/echo").on_text(lambda text, connection: came.set_result(text)).connect()
        connection.send("x" * 1000)
        assert await came == "x" * 1000
        await connection.close(4000, "enough")

    async def fragments(self) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(self.dice.randrange(1, 20)):
                yield bytes(1000)

        async with self.client("/pieces", secure=self.dice.random() < 0.3).connect() as connection:
            for _ in range(3):
                await connection.send_stream(parts())
                assert int.from_bytes(await connection.receive_data()) % 1000 == 0

    async def abort(self) -> None:
        connection = await self.client(self.dice.choice(["/echo", "/pull", "/pieces"])).connect()
        connection.send(bytes(self.dice.choice([1, 100_000, 900_000])))
        if self.dice.random() < 0.5:
            await asyncio.sleep(0)
        self.dice.choice([connection.terminate, connection.drop])()
        await connection.wait_closed()

    async def cancelled(self) -> None:
        connection = await self.client("/pull").connect()
        waiting = [asyncio.ensure_future(one) for one in (connection.receive(), connection.ping())]
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await connection.close()
        connecting = asyncio.ensure_future(self.client("/echo").connect())
        await asyncio.sleep(self.dice.choice([0, 0.001]))
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await connecting).terminate()

    async def errors(self) -> None:
        for path, sent in (("/raises", "x"), ("/small", "x" * 200)):
            connection = await self.client(path).connect()
            connection.send(sent)
            with contextlib.suppress(WebSocketException):
                await connection.receive()
            await connection.close()
        with contextlib.suppress(WebSocketException):
            await self.client("/nowhere").connect()

    async def resets(self) -> None:
        """A peer of bytes: half a handshake, what is no frame, half a frame; then a reset."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plain.port)
        writer.write(UPGRADE[: self.dice.choice([10, 1000])])
        if self.dice.random() < 0.5:
            writer.write(self.dice.choice([b"\xff\xff\xff", b"\x82\xfe\x10\x00abcd", b"\x81\x80abcd", b"\x88\x80abcd"]))
        if self.dice.random() < 0.5:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await reader.read(10_000)
        if self.dice.random() < 0.5:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def http(self) -> None:
        context = self.tls if self.dice.random() < 0.3 else None
        port = self.plain.port if context is None else self.secure.port
        reader, writer = await asyncio.open_connection("localhost" if context else "127.0.0.1", port, ssl=context)
        for _ in range(self.dice.randrange(1, 6)):
            asked = self.dice.choice([
                b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /files/page.html HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            ])  # fmt: skip
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
        if self.dice.random() < 0.3:
            writer.write(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhalf")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    # --- how long

    async def workers(self, next_one: Callable[[], Callable[[], Awaitable[None]] | None]) -> None:
        async def worker() -> None:
            while not self.failed and (act := next_one()) is not None:
                try:
                    async with asyncio.timeout(LIMIT):
                        await act()
                except Exception as error:
                    error.add_note(f"in {act.__name__}")
                    self.failed.append(error)
                self.done[act.__name__] += 1

        await asyncio.gather(*[worker() for _ in range(AT_ONCE)])
        if self.failed:
            raise self.failed[0]
        await self.idle()

    async def idle(self) -> None:
        """Until the servers have seen the end of all."""
        async with asyncio.timeout(LIMIT):
            while any(server.connections for server in self.servers) or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(LINGERS)

    async def cycles(self, count: int) -> None:
        rest = iter(range(count))
        await self.workers(lambda: self.cycle if next(rest, None) is not None else None)

    async def mixed(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        acts = [self.echo, self.callbacks, self.fragments, self.abort, self.cancelled, self.errors, self.resets]
        acts.append(self.http)
        await self.workers(lambda: self.dice.choice(acts) if time.monotonic() < end else None)

    async def run(self, cycles: int, minutes: float) -> None:
        await self.begin()
        try:
            await self.mixed(min(10.0, 12 * minutes))
            await self.cycles(min(2000, cycles))
            before = Counted()
            await self.cycles(cycles)
            Counted().compare(before, f"{cycles} cycles")
            # The largest messages at once are what memory is highest for.
            await self.mixed(min(20.0, 20 * minutes))
            before = Counted()
            await self.mixed(60 * minutes)
            Counted().compare(before, f"{minutes:g} minutes of all", GROWTH)
            print(", ".join(f"{number} {name}" for name, number in sorted(self.done.items())))
        finally:
            for server in self.servers:
                await server.close(grace=1)


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=20_000, help="connect, echo and close (20000)")
    parser.add_argument("--minutes", type=float, default=2.0, help="of TLS, deflate, fragments, aborts, HTTP … (2)")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    if not os.path.exists("/proc/self/statm"):
        print("memory and descriptors are counted from /proc, which this system has not")
        sys.exit(77)
    logging.getLogger("firefly_ws").setLevel(logging.CRITICAL)
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    print(f"seed {seed}, {asked.loop}", flush=True)
    factory = uvloop.new_event_loop if asked.loop == "uvloop" else asyncio.new_event_loop
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(Soak(Path(folder), seed).run(asked.cycles, asked.minutes))


if __name__ == "__main__":
    main()
