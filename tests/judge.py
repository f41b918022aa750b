"""The judge: a slow and obvious RFC 6455 and RFC 7692 decoder; knows a whole byte stream, and nothing of the library.

It reads every byte by itself, so that what it says of a stream does not depend on how the stream was cut.
`judge` tells what a receiver must make of a stream, `frame` builds any frame, valid or broken.

A head is judged from its second byte on; size limits wait for the whole head.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["BINARY", "CLOSE", "CONT", "KEY", "PING", "PONG", "TEXT", "Event", "close_payload", "frame", "judge"]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = bytes.fromhex("37fa213d")
"""The masking key of the examples in RFC 6455 §5.7."""

Event = tuple[object, ...]

# RFC 3629 §4: the first byte of a character, and what each byte behind it may be.
_TAIL = (0x80, 0xBF)
_CHARACTERS = [
    ((0x00, 0x7F), []),
    ((0xC2, 0xDF), [_TAIL]),
    ((0xE0, 0xE0), [(0xA0, 0xBF), _TAIL]),
    ((0xE1, 0xEC), [_TAIL, _TAIL]),
    ((0xED, 0xED), [(0x80, 0x9F), _TAIL]),
    ((0xEE, 0xEF), [_TAIL, _TAIL]),
    ((0xF0, 0xF0), [(0x90, 0xBF), _TAIL, _TAIL]),
    ((0xF1, 0xF3), [_TAIL, _TAIL, _TAIL]),
    ((0xF4, 0xF4), [(0x80, 0x8F), _TAIL, _TAIL]),
]


class _Violation(Exception):
    """The peer broke a rule; the close code it gets."""

    def __init__(self, code: int) -> None:
        self.code = code


class _Ended(Exception):
    """The stream has no more bytes."""


class _Utf8:
    """Says of each byte whether it can stand there."""

    def __init__(self) -> None:
        self.expected: list[tuple[int, int]] = []

    def check(self, byte: int) -> None:
        if self.expected:
            low, high = self.expected[0]
            if not low <= byte <= high:
                raise _Violation(1007)
            self.expected = self.expected[1:]
            return
        for (low, high), behind in _CHARACTERS:
            if low <= byte <= high:
                self.expected = list(behind)
                return
        raise _Violation(1007)

    def end(self) -> None:
        if self.expected:
            raise _Violation(1007)


class _Inflater:
    """One direction's inflater: a byte in, its output byte by byte, so that what is wrong first is found first."""

    def __init__(self, takeover: bool) -> None:
        self.takeover = takeover
        self.reset()

    def reset(self) -> None:
        self.zlib = zlib.decompressobj(-15)

    def inflate(self, byte: int) -> Iterator[int]:
        if self.zlib.eof:  # a block with BFINAL set has ended; what follows is a new stream (RFC 7692 §7.2.3.4)
            self.zlib = zlib.decompressobj(-15)
        data = bytes([byte])
        while True:
            try:
                out = self.zlib.decompress(data, 1)
            except zlib.error:
                raise _Violation(1007) from None
            if not out:
                return
            yield out[0]
            data = self.zlib.unconsumed_tail

    def end(self) -> Iterator[int]:
        """The message has ended: put back the four bytes that the sender has cut off (§7.2.2)."""
        for byte in b"\x00\x00\xff\xff":
            yield from self.inflate(byte)
        if not self.takeover:
            self.reset()


class _Head(NamedTuple):
    fin: bool
    rsv: int
    opcode: int
    length: int
    key: bytes | None


class _Stream:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if len(self.data) - self.at < count:
            raise _Ended
        self.at += count
        return self.data[self.at - count : self.at]

    def payload(self, head: _Head) -> Iterator[int]:
        """The payload's bytes, unmasked, as far as they are there."""
        for index in range(head.length):
            byte = self.take(1)[0]
            yield byte if head.key is None else byte ^ head.key[index % 4]


class _Judge:
    """Limits and agreements of one direction, and the message that is under way."""

    def __init__(
        self,
        data: bytes,
        masked: bool,
        deflate: bool,
        takeover: bool,
        text_limit: int | None,
        binary_limit: int | None,
        frame_limit: int | None,
        fragment_limit: int | None,
    ) -> None:
        self.stream = _Stream(data)
        self.masked = masked
        self.deflate = deflate
        self.inflater = _Inflater(takeover)
        self.limits = {TEXT: text_limit, BINARY: binary_limit}
        self.frame_limit = frame_limit
        self.fragment_limit = fragment_limit
        self.opcode: int | None = None  # of the unfinished message
        self.compressed = False
        self.fragments = 0
        self.message = bytearray()
        self.utf8 = _Utf8()

    def events(self) -> Iterator[Event]:
        while True:
            head = self.head()
            if head.opcode >= 8:
                event = self.control(head)
                yield event
                if event[0] == "close":
                    return
            else:
                self.data_frame(head)
                if head.fin:
                    yield self.end_of_message()

    def head(self) -> _Head:
        first, second = self.stream.take(2)
        fin, rsv, opcode = bool(first & 0x80), first >> 4 & 7, first & 15
        masked, short = bool(second & 0x80), second & 0x7F
        if opcode not in (CONT, TEXT, BINARY, CLOSE, PING, PONG):  # §5.2
            raise _Violation(1002)
        if rsv and not (rsv == 4 and self.deflate and opcode < 8):  # only RSV1, and only by agreement
            raise _Violation(1002)
        if opcode >= 8 and (not fin or short > 125):  # §5.5
            raise _Violation(1002)
        if opcode == CONT and self.opcode is None:  # §5.4
            raise _Violation(1002)
        if opcode in (TEXT, BINARY) and self.opcode is not None:  # §5.4
            raise _Violation(1002)
        if masked != self.masked:  # §5.1
            raise _Violation(1002)
        length = short
        if short == 126:
            length = int.from_bytes(self.stream.take(2), "big")
            if length < 126:  # "the minimal number of bytes MUST be used", §5.2
                raise _Violation(1002)
        if short == 127:
            length = int.from_bytes(self.stream.take(8), "big")
            if length >= 2**63 or length < 65536:
                raise _Violation(1002)
        key = self.stream.take(4) if masked else None
        if opcode < 8 and self.frame_limit is not None and length > self.frame_limit:
            raise _Violation(1009)
        # RSV1 belongs on the first frame of a message (RFC 7692 §6.1); other extensions have it on each, so that this
        # is a rule of messages, and comes behind those of frames.
        if rsv and opcode == CONT:
            raise _Violation(1002)
        return _Head(fin, rsv, opcode, length, key)

    def control(self, head: _Head) -> Event:
        payload = bytes(self.stream.payload(head))
        if head.opcode != CLOSE:
            return ("ping" if head.opcode == PING else "pong", payload)
        if not payload:
            return ("close", None, "")
        if len(payload) == 1:  # §5.5.1
            raise _Violation(1002)
        code = int.from_bytes(payload[:2], "big")
        # §7.4 and the registry: what may stand on the wire.
        if code not in (1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)):
            raise _Violation(1002)
        utf8 = _Utf8()
        for byte in payload[2:]:
            utf8.check(byte)
        utf8.end()
        return ("close", code, payload[2:].decode())

    def data_frame(self, head: _Head) -> None:
        if head.opcode != CONT:
            self.opcode = head.opcode
            self.compressed = head.rsv == 4
            self.fragments = 0
            self.message = bytearray()
            self.utf8 = _Utf8()
        self.fragments += 1
        if self.fragment_limit is not None and self.fragments > self.fragment_limit:
            raise _Violation(1009)
        if not self.compressed:
            self.check_size(len(self.message) + head.length)  # what was declared is enough to know
        for byte in self.stream.payload(head):
            self.arrived(self.inflater.inflate(byte) if self.compressed else [byte])

    def arrived(self, data: Iterable[int]) -> None:
        for byte in data:
            self.check_size(len(self.message) + 1)
            if self.opcode == TEXT:
                self.utf8.check(byte)
            self.message.append(byte)

    def check_size(self, size: int) -> None:
        assert self.opcode is not None
        limit = self.limits[self.opcode]
        if limit is not None and size > limit:
            raise _Violation(1009)

    def end_of_message(self) -> Event:
        if self.compressed:
            self.arrived(self.inflater.end())
        opcode, self.opcode = self.opcode, None
        if opcode == TEXT:
            self.utf8.end()
            return ("text", self.message.decode())
        return ("binary", bytes(self.message))


def judge(
    data: bytes,
    role: str,
    *,
    deflate: bool = False,
    takeover: bool = False,
    max_message_size: int | None = 1024 * 1024,
    max_text_message_size: int | None = None,
    max_binary_message_size: int | None = None,
    max_frame_size: int | None = None,
    max_fragments: int | None = 131072,
) -> list[Event]:
    """What a receiver in *role* ("server" or "client") must make of *data*, in order.

    ``("text", str)``, ``("binary", bytes)``, ``("ping", bytes)``, ``("pong", bytes)``,
    ``("close", code or None, reason)``, and last, if a rule was broken, ``("error", close code)``.
    Nothing follows a Close or an error; an unfinished frame at the end is no event.
    *deflate* is whether permessage-deflate was agreed on, *takeover* whether the sender keeps its window.
    """
    if role not in ("server", "client"):
        raise ValueError(f"role={role!r} must be 'server' or 'client'")
    text_limit = max_message_size if max_text_message_size is None else max_text_message_size
    binary_limit = max_message_size if max_binary_message_size is None else max_binary_message_size
    one = _Judge(data, role == "server", deflate, takeover, text_limit, binary_limit, max_frame_size, max_fragments)
    events: list[Event] = []
    try:
        for event in one.events():
            events.append(event)
    except _Violation as violation:
        events.append(("error", violation.code))
    except _Ended:
        pass
    return events


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    length_form: int | None = None,
    declared: int | None = None,
) -> bytes:
    """Any frame. *rsv* is 0 to 7 (RSV1 is 4), *mask* four bytes or None.

    *length_form* (7, 16 or 64) forces that many bits for the length, shortest form or not;
    *declared* is a length to state in place of the payload's own.
    """
    length = len(payload) if declared is None else declared
    form = length_form or (7 if length < 126 else 16 if length < 65536 else 64)
    masked = 0 if mask is None else 0x80
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        head += bytes([masked | length])
    else:
        head += bytes([masked | (126 if form == 16 else 127)]) + length.to_bytes(form // 8, "big")
    if mask is None:
        return head + payload
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def close_payload(code: int, reason: str | bytes = b"") -> bytes:
    """The payload of a Close frame (§5.5.1), with any code and any bytes for a reason."""
    return code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason)
