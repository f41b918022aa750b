"""`python -m benchmarks.keepalive VARIANT CONNECTIONS INTERVAL`: what it costs to look after silent connections.

The server's connections as they are, on transports in memory: what the kernel would take for the Pings and Pongs is not
in the figures. They open one by one over a whole interval, so that what is due is spread evenly, and CPU time is
taken over the next one. Each Ping is answered by a Pong, whose parsing counts. Variant `firefly-none` has no
ping_interval: what the connections, and the measurement itself, take without it.
"""

import asyncio
import ctypes
import gc
import json
import signal
import sys
import time
from typing import Any

import uvloop

from benchmarks.clients import waited
from benchmarks.deflate_memory import pss
from firefly_ws import WebSocketPolicy
from firefly_ws._core.connection import Connection
from firefly_ws._core.delivery import Callbacks
from firefly_ws._core.limits import Limits
from firefly_ws._core.protocol import Protocol
from firefly_ws._core.steps import Steps
from firefly_ws.turns import turn_of

TURN = 0.05  # seconds: so often some are opened, and the Pings that have come are answered


class Peers:
    """All the other ends: they answer Pings, and say nothing else."""

    def __init__(self) -> None:
        self.pings = 0
        self._asked: list[tuple[Protocol, bytes]] = []

    def pinged(self, protocol: Protocol, data: bytes) -> None:
        self.pings += 1
        self._asked.append((protocol, data))

    def answer(self) -> None:
        asked, self._asked = self._asked, []
        for protocol, data in asked:
            # A Pong with the Ping's payload and a mask of zeros (RFC 6455 §5.5.3).
            protocol.data_received(bytes((0x8A, 0x80 | data[1])) + bytes(4) + data[2:])


class Wire(asyncio.Transport):
    """A transport that takes everything at once."""

    __slots__ = ("_peers", "_protocol")

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self._peers.pinged(self._protocol, bytes(data))

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


async def measure(variant: str, count: int, interval: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    peers = Peers()
    limits = Limits(WebSocketPolicy(ping_interval=None if variant == "firefly-none" else interval))
    callbacks, steps, turn = Callbacks(), Steps(loop), turn_of(loop)
    connections: list[Connection] = []

    def open_one() -> None:
        connections.append(Connection(limits, callbacks, steps, turn, False))
        Protocol(connections[-1]).open(Wire(peers))

    async def until(end: float, each: Any) -> None:
        while (now := loop.time()) < end:
            each(now)
            peers.answer()
            await asyncio.sleep(TURN)

    def open_those_due(now: float) -> None:
        for _ in range(min(int((now - begun) / interval * count) + 1, count) - len(connections)):
            open_one()

    gc.collect()
    before = pss()
    begun = loop.time()
    await until(begun + interval, open_those_due)
    while len(connections) < count:
        open_one()
    peers.pings = 0
    cpu, wall, wait = time.process_time(), time.perf_counter(), waited()
    await until(loop.time() + interval, lambda now: None)
    cpu, wall, wait = time.process_time() - cpu, time.perf_counter() - wall, waited() - wait
    gc.collect()
    result = {
        "mode": "keepalive",
        "connections": count,
        "interval": interval,
        "cpu_ms": cpu / wall * 1000,
        "pings": peers.pings / wall,
        "idle_kib": (pss() - before) / count / 1024,
        "waited_share": wait / wall,
    }
    for connection in connections:
        connection.terminate()
    await asyncio.sleep(0)
    return result


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the runner
    print(json.dumps(uvloop.run(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))), flush=True)
