"""`python -m benchmarks.attacks.bystander PORT [tls]`: the well-behaved client. Says how long it waited at most.

One connection echoes every 10 ms; beside it somebody new connects, upgrades, echoes and leaves ten times a second. Ends
with its stdin. How late its own sleep ends tells how busy the machine was.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
import zlib

from benchmarks.attacks.wire import BINARY, LIMIT, TEXT, frame, opened, read_frame

PERIOD = 0.01
NEW = 0.1


def echo(sock: socket.socket) -> float:
    """Seconds that one echo took."""
    began = time.perf_counter()
    sock.sendall(frame(TEXT, b"well-behaved"))
    first, payload = read_frame(sock)
    while first == 0x89:  # a Ping of the server's own
        sock.sendall(frame(10, payload))
        first, payload = read_frame(sock)
    if (first, payload) != (0x81, b"well-behaved"):
        raise ConnectionError(f"no echo: {first:#x} {payload[:20]!r}")
    return time.perf_counter() - began


def leave(sock: socket.socket) -> None:
    sock.sendall(frame(8, b"\x03\xe8"))
    read_frame(sock)
    sock.close()


class Newcomers:
    """Somebody new ten times a second, until told to stop."""

    def __init__(self, port: int, tls: bool) -> None:
        self.waits: list[float] = []
        self.failed = 0
        self._port, self._tls = port, tls
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(NEW):
            began = time.perf_counter()
            try:
                sock = opened(self._port, tls=self._tls)
                echo(sock)
                self.waits.append(time.perf_counter() - began)
                leave(sock)
            except OSError:
                self.failed += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(LIMIT)


def warm_up(port: int, tls: bool) -> None:
    """What a server makes once is made before anything is counted."""
    packer = zlib.compressobj(wbits=-15)
    packed = (packer.compress(bytes(range(256)) * 256) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    for deflate in (False, True) * 10:
        sock = opened(port, deflate=deflate, tls=tls)
        echo_of = frame(BINARY, bytes(65536))
        sock.sendall(echo_of)
        read_frame(sock)
        if deflate:
            sock.sendall(frame(BINARY, packed, rsv1=True))
            read_frame(sock)
        leave(sock)


def main() -> None:
    port, tls = int(sys.argv[1]), sys.argv[2:] == ["tls"]
    sock = opened(port, tls=tls)
    warm_up(port, tls)
    for _ in range(20):
        echo(sock)
    print(json.dumps({"ready": True}), flush=True)
    newcomers = Newcomers(port, tls)
    waits: list[float] = []
    late = [0.0]
    ended = ""
    while True:
        began = time.perf_counter()
        if select.select([0], [], [], PERIOD)[0] and not os.read(0, 64):
            break
        late.append(time.perf_counter() - began - PERIOD)
        try:
            waits.append(echo(sock))
        except OSError as error:
            ended = str(error) or type(error).__name__
            break
    newcomers.stop()
    result = {
        "longest_ms": max(waits, default=0) * 1000,
        "echoes": len(waits),
        "ended": ended,
        "new_longest_ms": max(newcomers.waits, default=0) * 1000,
        "new": len(newcomers.waits),
        "new_failed": newcomers.failed,
        "machine_ms": max(late) * 1000,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
