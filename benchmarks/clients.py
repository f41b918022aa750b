"""`python -m benchmarks.clients NAME PORT SECONDS WARMUP SIZE`: one client, one binary message in flight, its rate.

Knows each library's client at its best settings; the server is the C one, which is faster than any of them.
"""

import asyncio
import ctypes
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

LARGEST = 32 * 1024 * 1024


def waited() -> float:
    """Seconds this process was ready and had to wait for a core, where the kernel tells."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class Meter:
    """Counts echoes and takes both clocks at the two ends of the measured window."""

    def __init__(self, seconds: float, warmup: float, size: int) -> None:
        self.payload = bytes(i * 131 + 7 & 255 for i in range(size))
        self.size = size
        self.count = 0
        self.over = False
        self._done = asyncio.get_running_loop().create_future()
        self._seconds, self._warmup = seconds, warmup
        self._began = (0, 0.0, 0.0, 0.0)

    def _now(self) -> tuple[int, float, float, float]:
        return self.count, time.perf_counter(), time.process_time(), waited()

    def begin(self) -> None:
        asyncio.get_running_loop().call_later(self._warmup, self._start)

    def _start(self) -> None:
        self._began = self._now()
        asyncio.get_running_loop().call_later(self._seconds, self._stop)

    def _stop(self) -> None:
        count, wall, cpu, wait = (now - then for now, then in zip(self._now(), self._began, strict=True))
        self.over = True
        if not self._done.done():
            result = {"mode": "client", "messages": count, "seconds": wall, "rate": count / wall}
            self._done.set_result(result | {"cpu_us": cpu / max(count, 1) * 1e6, "waited_share": wait / wall})

    def fail(self, size: int) -> None:
        if not self._done.done():
            self._done.set_exception(AssertionError(f"echo of {size} bytes instead of {self.size}"))

    async def result(self) -> dict[str, Any]:
        return await self._done


async def picows_client(url: str, meter: Meter) -> dict[str, Any]:
    import picows

    binary, payload, size = picows.WSMsgType.BINARY, meter.payload, meter.size

    class Client(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if len(frame.get_payload_as_memoryview()) != size:
                meter.fail(frame.payload_size)
            meter.count += 1
            if not meter.over:
                transport.send(binary, payload)

    transport, _ = await picows.ws_connect(Client, url, enable_auto_ping=False, max_frame_size=LARGEST)
    meter.begin()
    transport.send(binary, payload)
    result = await meter.result()
    transport.disconnect()
    return result


async def firefly_client(url: str, meter: Meter) -> dict[str, Any]:
    from firefly_ws import http_client

    payload, size = meter.payload, meter.size

    def on_message(frame: Any, connection: Any) -> None:
        if len(frame.payload) != size:
            meter.fail(len(frame.payload))
        meter.count += 1
        if not meter.over:
            connection.send_data(payload)

    connection = await http_client().websocket(url).max_message_size(LARGEST).on_message(on_message).connect()
    meter.begin()
    connection.send_data(payload)
    result = await meter.result()
    await connection.close()
    return result


async def websockets_client(url: str, meter: Meter) -> dict[str, Any]:
    from websockets.asyncio.client import connect

    options = {"compression": None, "ping_interval": None, "max_queue": None, "max_size": LARGEST, "proxy": None}
    async with connect(url, **options) as connection:
        meter.begin()
        while not meter.over:
            await connection.send(meter.payload)
            echo = await connection.recv()
            if len(echo) != meter.size:
                meter.fail(len(echo))
            meter.count += 1
        return await meter.result()


async def aiohttp_client(url: str, meter: Meter) -> dict[str, Any]:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=LARGEST, decode_text=False) as connection,
    ):
        meter.begin()
        while not meter.over:
            await connection.send_bytes(meter.payload)
            echo = await connection.receive()
            if len(echo.data) != meter.size:
                meter.fail(len(echo.data))
            meter.count += 1
        return await meter.result()


CLIENTS: dict[str, Callable[[str, Meter], Awaitable[dict[str, Any]]]] = {
    "firefly": firefly_client,
    "picows": picows_client,
    "websockets": websockets_client,
    "aiohttp": aiohttp_client,
}


async def measure(name: str, port: str, seconds: str, warmup: str, size: str) -> None:
    meter = Meter(float(seconds), float(warmup), int(size))
    print(json.dumps(await CLIENTS[name](f"ws://127.0.0.1:{port}/", meter)), flush=True)


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the runner
    uvloop.run(measure(*sys.argv[1:]))
