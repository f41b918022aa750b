"""The smallest thing that `firefly_ws.runtime` can look after: an echo server on asyncio; knows nothing of WebSocket.

Imported by the scripts of `test_scripts`, in processes of their own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import cast

from firefly_ws.runtime import Runtime, runtime_of


def say(*words: object) -> None:
    """Print a line that the test sees at once; in a signal's handler too, which may come while `print` flushes."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Server:
    """Open from `listen` until `close_gracefully` or `abort`; says what happens to it."""

    stubborn = False  # never ends by being asked

    def __init__(self) -> None:
        self.runtime: Runtime = runtime_of(asyncio.get_running_loop())
        self.ended = asyncio.Event()

    async def listen(self) -> Server:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(Echo, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.runtime.track(self)
        return self

    async def close_gracefully(self) -> None:
        if self.stubborn:
            say("asked")
            await asyncio.Event().wait()
        if not self.ended.is_set():
            say("closing")
            self._end()

    async def wait_closed(self) -> None:
        await self.ended.wait()

    def abort(self) -> None:
        say("aborting")
        self._end()

    def _end(self) -> None:
        self.server.close()
        self.runtime.untrack(self)
        self.ended.set()


class StubbornServer(Server):
    stubborn = True


async def listen() -> Server:
    return await Server().listen()


async def listen_stubbornly() -> Server:
    return await StubbornServer().listen()


async def behind_the_last_line() -> None:
    """Return once the main thread waits for the end of what is open. Its stack is all there is to see of that."""
    ident = threading.main_thread().ident
    assert ident is not None
    while True:
        frame = sys._current_frames()[ident]
        while frame is not None:
            if frame.f_code.co_name == "finish" and frame.f_globals["__name__"] == "firefly_ws.background":
                return
            frame = frame.f_back  # type: ignore[assignment]
        await asyncio.sleep(0.005)


async def say_ready() -> None:
    """Say "ready" when the script is behind its last line: the test's moment for a signal."""
    await behind_the_last_line()
    say("ready")
