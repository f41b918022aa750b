"""Frames and handshakes as bytes, right and wrong ones, written down without the library; knows no socket.

What is tested here is other people's servers, with things our own client would never send.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from dataclasses import dataclass
from typing import Final

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Answer",
    "Frame",
    "accept_of",
    "close_frame",
    "frame",
    "new_key",
    "read_answer",
    "read_frame",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that came."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    masked: bool = False
    minimal: bool = True
    """Whether its length is written in as few bytes as can be (§5.2)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an HTTP answer."""

    status: int
    line: str
    headers: dict[str, str]
    """Names in lower case; what comes several times is joined with commas."""


def new_key() -> str:
    """A Sec-WebSocket-Key (§4.1)."""
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """The Sec-WebSocket-Accept that belongs to *key* (§4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True, length: int | None = None
) -> bytes:
    """A frame as a client sends it; *length* 2 or 8: that many bytes of extended length, needed or not."""
    size = len(payload)
    wide = length if length is not None else 0 if size < 126 else 2 if size < 65536 else 8
    first, masked = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if mask else 0
    if wide == 0:
        head = struct.pack("!BB", first, masked | size)
    elif wide == 2:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    stream = int.from_bytes((key * (size // 4 + 1))[:size])
    return head + key + (int.from_bytes(payload) ^ stream).to_bytes(size)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A Close frame with any code."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def read_frame(data: bytearray) -> Frame | None:
    """Take a frame from the front of *data*; ``None`` while it is not all there."""
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    minimal = True
    if size > 125:
        wide = 2 if size == 126 else 8
        if len(data) < 2 + wide:
            return None
        size, at = int.from_bytes(data[2 : 2 + wide]), 2 + wide
        minimal = size > (125 if wide == 2 else 65535)
    masked = bool(data[1] & 0x80)
    start = at + 4 * masked
    if len(data) < start + size:
        return None
    payload = bytes(data[start : start + size])
    if masked:
        payload = bytes(byte ^ data[at + i % 4] for i, byte in enumerate(payload))
    found = Frame(data[0] & 15, payload, bool(data[0] & 0x80), data[0] >> 4 & 7, masked, minimal)
    del data[: start + size]
    return found


def read_answer(data: bytearray) -> Answer | None:
    """Take the head of an answer from the front of *data*; ``None`` while it is not all there.

    Raises ``ValueError`` for what is no HTTP.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    del data[: end + 4]
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        raise ValueError(f"the answer is no HTTP: {first[:60]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(int(rest[:3]), first, headers)
