"""The attacks of many connections, and of many at one instant. Each gives what the attackers saw."""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
import socket
import ssl
import struct
import time
import zlib
from typing import Any

from benchmarks.attacks.wire import (
    BINARY,
    KIB,
    LIMIT,
    connect,
    cpu_seconds,
    frame,
    opened,
    read_frame,
    resident,
    upgrade,
)  # fmt: skip

Seen = dict[str, Any]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
LONGER = 15.0  # than any time-out for an unfinished handshake here but aiohttp's and picows' defaults of none


def endings(socks: list[socket.socket], limit: float) -> Seen:
    """Wait until all have been ended by the server, or for *limit* seconds; how they ended."""
    how: collections.Counter[str] = collections.Counter()
    began = last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, bytearray())
        while selector.get_map() and time.monotonic() - began < limit:
            for key, _ in selector.select(0.1):
                try:
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                except OSError:
                    data = b""
                answer = key.data
                answer += data
                if not data:
                    status = answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else ""
                    how[status if status not in ("", "101") else "ended"] += 1
                    selector.unregister(key.fileobj)
                    last = time.monotonic()
        left = len(selector.get_map())
    told = [f"{count} {what}" if what == "ended" else f"{count} got {what}" for what, count in how.items()]
    if told:
        told[-1] += f" after {last - began:.0f} s"
    if left:
        told.append(f"{left} still open after {limit:g} s")
    return {"saw": ", ".join(told)}


def idle_crowd(port: int, pid: int) -> Seen:
    """2,000 that are idle and 500 that send their head a byte at a time, while somebody new comes."""
    before = resident(pid)
    idle = [opened(port) for _ in range(2000)]
    each = (resident(pid) - before) / 2000
    slow = [connect(port) for _ in range(500)]
    for sock in slow:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    for _ in range(20):
        time.sleep(0.1)
        for sock in slow:
            sock.sendall(b"x")
    del idle
    return {"saw": f"all were let in, {each / KIB:.1f} KiB each"}


def silence(port: int, pid: int) -> Seen:
    return endings([connect(port) for _ in range(500)], LONGER)


def slow_heads(port: int, pid: int) -> Seen:
    """500 that send a byte a second of a head."""
    socks = [connect(port) for _ in range(500)]
    for sock in socks:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    for _ in range(3):
        time.sleep(1)
        for sock in socks:
            with contextlib.suppress(OSError):  # it was ended already
                sock.sendall(b"x")
    return endings(socks, LONGER - 3)


def unfinished_tls(port: int, pid: int) -> Seen:
    """200 that send half of their first message of TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    hello = outgoing.read()
    socks = [connect(port) for _ in range(200)]
    for sock in socks:
        sock.sendall(hello[: len(hello) // 2])
    return endings(socks, LONGER)


def handshake_flood(port: int, pid: int) -> Seen:
    """5,000 times: connect, ask for an upgrade, reset."""
    began = time.monotonic()
    for _ in range(5000):
        sock = connect(port)
        sock.sendall(upgrade())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
    # Behind them all: what was accepted has been dealt with.
    opened(port).close()
    seconds = time.monotonic() - began
    return {"saw": f"{5000 / seconds:,.0f} a second", "seconds": round(seconds, 2)}


def at_once(port: int, count: int) -> Seen:
    """*count* connects at one instant; when the last one was upgraded."""
    began = time.monotonic()
    waiting = set()
    done = failed = 0
    last = began
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            selector.register(sock, selectors.EVENT_WRITE)
            waiting.add(sock)
        while waiting and time.monotonic() - began < LIMIT:
            for key, events in selector.select(0.1):
                sock = key.fileobj  # type: ignore[assignment]
                try:
                    if events & selectors.EVENT_WRITE:
                        sock.send(upgrade())
                        selector.modify(sock, selectors.EVENT_READ)
                        continue
                    good = sock.recv(4096).startswith(b"HTTP/1.1 101")
                except OSError:
                    good = False
                done += good
                failed += not good
                selector.unregister(sock)
                waiting.discard(sock)
                last = time.monotonic()
    took = (last - began) * 1000
    lost = f", {failed + len(waiting)} failed" if failed or waiting else ""
    return {"saw": f"{done} upgraded, the last after {took:.0f} ms{lost}", "last_ms": round(took, 1)}


def five_hundred(port: int, pid: int) -> Seen:
    return at_once(port, 500)


def thousand(port: int, pid: int) -> Seen:
    return at_once(port, 1000)


def vanished(port: int, pid: int) -> Seen:
    """100 that are stopped with answers unread: no FIN, no Pong, nothing taken."""
    before = len(os.listdir(f"/proc/{pid}/fd"))
    socks = []
    for _ in range(100):
        sock = opened(port)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(frame(BINARY, bytes(64 * KIB)))
        socks.append(sock)
    # A stopped process reads nothing, and its kernel answers for it: so do these. An end behind bytes that nobody takes
    # does not arrive here; the server's open files tell.
    began = time.monotonic()
    while (left := len(os.listdir(f"/proc/{pid}/fd")) - before) > 5 and time.monotonic() - began < LONGER:
        time.sleep(0.1)
    gone = min(100, 100 - left)
    return {"saw": f"{'all' if gone > 94 else gone} dropped after {time.monotonic() - began:.0f} s"}


def descriptors(port: int, pid: int) -> Seen:
    """200 connections to a server that may have 64 open files."""
    socks = [connect(port) for _ in range(200)]
    for sock in socks:
        sock.sendall(upgrade())
    time.sleep(0.5)
    before = cpu_seconds(pid)
    time.sleep(2.5)
    busy = (cpu_seconds(pid) - before) / 2.5
    for sock in socks:
        sock.close()
    began = time.monotonic()
    opened(port).close()
    again = time.monotonic() - began
    return {"saw": f"waiting; {busy:.0%} CPU meanwhile, accepted again {again:.1f} s later", "cpu": busy}


def idle_deflate(port: int, pid: int) -> Seen:
    """500 that have sent and got a compressed message, and are idle."""
    packer = zlib.compressobj(wbits=-15)
    packed = (packer.compress(bytes(range(256)) * 16) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    before = resident(pid)
    socks = [opened(port, deflate=True) for _ in range(500)]
    for sock in socks:
        sock.sendall(frame(BINARY, packed, rsv1=True))
    for sock in socks:
        read_frame(sock)
    each = (resident(pid) - before) / 500 / KIB
    return {"saw": f"{each:.1f} KiB each", "kib_each": round(each, 1)}
