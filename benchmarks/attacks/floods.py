"""The attacks of one connection: what is sent, and how it is read. Each gives what the attacker saw."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

from benchmarks.attacks.wire import (
    BINARY,
    CONTINUATION,
    KIB,
    LIMIT,
    MIB,
    PING,
    TEXT,
    Flood,
    connect,
    frame,
    opened,
    read_frame,
    repeated,
)  # fmt: skip

GIB = 1024 * MIB
MILLION = 1_000_000
Seen = dict[str, Any]


def seen(flood: Flood) -> Seen:
    return {"saw": str(flood), "seconds": round(flood.seconds, 2)}


def ping_flood(port: int, pid: int) -> Seen:
    return seen(Flood(opened(port), repeated(frame(PING, b"x" * 8) * 1000, 14 * MILLION), read="none").run())


def ping_flood_read(port: int, pid: int) -> Seen:
    """With every Pong read: an answer for each, unless a newer Ping came before it could leave."""
    flood = Flood(opened(port), repeated(frame(PING, b"x" * 8) * 1000, 14 * MILLION)).run(expected=10 * MILLION)
    return seen(flood)


def messages(size: int, total: int) -> Iterator[bytes]:
    """Binary messages of *size*, until *total*."""
    return repeated(frame(BINARY, bytes(size)), total)


def never_read(port: int, pid: int) -> Seen:
    # Longer than write_timeout.
    return seen(Flood(opened(port), messages(64 * KIB, GIB), read="none", patience=40).run())


def byte_reader(port: int, pid: int) -> Seen:
    return seen(Flood(opened(port), messages(64 * KIB, GIB), read="byte", patience=8).run())


def all_read(port: int, pid: int) -> Seen:
    """A GiB there and back, by one who reads: no attack, but as much work as there can be."""
    size = 64 * KIB
    return seen(Flood(opened(port), messages(size, GIB)).run(expected=GIB // size * (size + 10)))


def empty_fragments(port: int, pid: int) -> Seen:
    empty = repeated(frame(CONTINUATION, fin=False) * 1000, 6 * MILLION)
    pieces = [frame(TEXT, fin=False), *empty, frame(CONTINUATION)]
    return seen(Flood(opened(port), pieces).run(expected=2))


def tiny_fragments(port: int, pid: int) -> Seen:
    pieces = [frame(TEXT, fin=False), *repeated(frame(CONTINUATION, b"x", fin=False) * 1000, 7 * MILLION)]
    return seen(Flood(opened(port), pieces).run(expected=2))


def tiny_frames(port: int, pid: int) -> Seen:
    return seen(Flood(opened(port), repeated(frame(TEXT, b"x") * 20_000, 7 * MILLION)).run(expected=3 * MILLION))


def tiny_frames_unread(port: int, pid: int) -> Seen:
    pieces = repeated(frame(TEXT, b"x") * 20_000, 7 * 20 * MILLION)
    return seen(Flood(opened(port), pieces, read="none").run())


def zeros_deflated(size: int) -> bytes:
    """*size* MiB of zeros as permessage-deflate sends them: a thousandth."""
    compressor = zlib.compressobj(9, wbits=-15)
    compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    again = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return (again * size)[:-4]


def bomb(port: int, pid: int) -> Seen:
    return seen(Flood(opened(port, deflate=True), [frame(BINARY, zeros_deflated(1024), rsv1=True)]).run(expected=4))


def bombs_in_a_row(port: int, pid: int) -> Seen:
    """2,000 messages that inflate to half a MiB each, from one MiB."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = (packer.compress(bytes(512 * KIB)) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    sock = opened(port, deflate=True)
    sending = Flood(sock.dup(), [frame(BINARY, packed, rsv1=True) * 2000], read="none", patience=LIMIT)
    thread = threading.Thread(target=sending.run)
    thread.start()
    sock.settimeout(LIMIT)
    answers, saw, began = 0, "", time.monotonic()
    try:
        while answers < 2000 and not saw:
            first, payload = read_frame(sock)
            answers += first >> 7
            if first & 0x0F == 8:
                saw = f"Close {int.from_bytes(payload[:2], 'big')}"
    except OSError as error:
        saw = str(error)
    thread.join()
    return {"saw": saw or f"{answers:,} answers", "seconds": round(time.monotonic() - began, 2)}


def endless_head(port: int, pid: int) -> Seen:
    pieces = [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", *repeated(b"X-Header: value\r\n" * 1000, 64 * MIB)]
    return seen(Flood(connect(port), pieces).run(expected=GIB))


def endless_line(port: int, pid: int) -> Seen:
    return seen(Flood(connect(port), [b"GET /", *repeated(b"x" * 65536, 64 * MIB)]).run(expected=GIB))


def endless_body(port: int, pid: int) -> Seen:
    head = b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [head, *repeated(b"10000\r\n" + bytes(65536) + b"\r\n", 256 * MIB)]
    return seen(Flood(connect(port), pieces).run(expected=GIB))


def pipelined(port: int, pid: int) -> Seen:
    """10,000 GETs in one write."""
    sock = connect(port)
    one = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sock.sendall(one)
    answer = len(sock.recv(65536))
    flood = Flood(sock, [one * 10_000]).run(expected=10_000 * answer)
    return seen(flood) | {"saw": f"{flood.got // answer:,} answers" if not flood.end else str(flood)}


def pipelined_unread(port: int, pid: int) -> Seen:
    one = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    return seen(Flood(connect(port), repeated(one * 1000, GIB), read="none").run())
