"""Random streams of frames, most of them nearly valid, from a seed; knows the wire's form and no decoder.

The same seed always gives the same stream, on every machine.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from judge import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload, frame

__all__ = ["Case", "cut", "random_case"]

# Characters at the edges of RFC 3629 §4, and what is none.
# fmt: off
_PIECES = [
    b"a", b"z" * 30, "é".encode(), "€".encode(), "😀".encode(), "\ud7ff\ue000".encode(), "\U0010ffff".encode(), b"\x00",
]
_BROKEN = [
    b"\x80", b"\xc0\xaf", b"\xc3", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xe2\x82", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff",
]
# fmt: on
_CODES = [0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535]
_SIZES = [0, 1, 2, 5, 20, 124, 125, 126, 127, 200]


@dataclass(frozen=True)
class Case:
    """What reaches *role*, frame by frame; *options* are `judge.judge`'s keywords, *cuts* say how it is cut."""

    role: str
    parts: list[bytes]
    options: dict[str, Any] = field(default_factory=dict)
    cuts: int = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    def without(self, index: int) -> Case:
        return replace(self, parts=self.parts[:index] + self.parts[index + 1 :])


class _Sender:
    """One direction: its dice, its masks and its compressor."""

    def __init__(self, dice: random.Random, role: str, packed: bool, takeover: bool) -> None:
        self.dice = dice
        self.role = role
        self.packed = packed
        self.takeover = takeover
        self.compressor: Any = None

    def chance(self, one_in: int) -> bool:
        return self.dice.randrange(one_in) == 0

    def mask(self) -> bytes | None:
        if self.chance(200):
            return self.dice.randbytes(4) if self.role == "client" else None
        if self.role == "client":
            return None
        return self.dice.choice([self.dice.randbytes(4), bytes(4), b"\x00\xff\x00\xff"])

    def text(self) -> bytes:
        data = b"".join(self.dice.choices(_PIECES, k=self.dice.randrange(7)))
        if self.chance(12):
            at = self.dice.randrange(len(data) + 1)
            data = data[:at] + self.dice.choice(_BROKEN) + data[at:]
        return data

    def payload(self, opcode: int) -> bytes:
        if opcode == TEXT:
            return self.text()
        return self.dice.randbytes(self.dice.choice(_SIZES) if self.chance(2) else self.dice.randrange(40))

    def pack(self, payload: bytes) -> bytes:
        """The payload compressed, in one of the ways that RFC 7692 §7.2 allows, or none of them."""
        if self.chance(25):
            return self.dice.randbytes(self.dice.randrange(20))
        if self.compressor is None or not self.takeover or self.chance(8):
            self.compressor = zlib.compressobj(self.dice.choice([0, 1, 6, 9]), zlib.DEFLATED, -self.dice.randint(9, 15))
        flush = self.dice.choice([zlib.Z_SYNC_FLUSH] * 4 + [zlib.Z_FULL_FLUSH, zlib.Z_FINISH])
        data: bytes = self.compressor.compress(payload) + self.compressor.flush(flush)
        if flush == zlib.Z_FINISH:
            self.compressor = None
            return data + b"\x00"
        return data if self.chance(10) else data[:-4]

    def message(self) -> list[bytes]:
        opcode = self.dice.choice([TEXT, BINARY])
        payload = self.payload(opcode)
        rsv = 4 if self.packed and not self.chance(3) else 0
        if rsv:
            payload = self.pack(payload * self.dice.choice([1, 1, 1, 40]))
        marks = sorted(self.dice.randrange(len(payload) + 1) for _ in range(self.dice.choice([0, 0, 0, 1, 2, 4])))
        out = []
        for index, (start, end) in enumerate(zip([0, *marks], [*marks, len(payload)], strict=True)):
            last = index == len(marks)
            out.append(
                frame(
                    CONT if index else opcode,
                    payload[start:end],
                    fin=last if not self.chance(60) else not last,
                    rsv=rsv if not index else 4 if self.chance(40) else 0,
                    mask=self.mask(),
                    length_form=64 if self.chance(80) else None,
                )
            )
            if not last and self.chance(3):
                out.append(self.control())
        return out

    def control(self) -> bytes:
        size = self.dice.choice(_SIZES) if self.chance(4) else self.dice.randrange(12)
        rsv = 4 if self.packed and self.chance(30) else 0
        return frame(self.dice.choice([PING, PONG]), self.dice.randbytes(size), rsv=rsv, mask=self.mask())

    def close(self) -> bytes:
        if self.chance(3):
            return frame(CLOSE, self.dice.randbytes(self.dice.randrange(3)), mask=self.mask())
        reason = self.text()[:123]
        if self.chance(3):
            reason = reason[: self.dice.randrange(len(reason) + 1)]
        return frame(CLOSE, close_payload(self.dice.choice(_CODES), reason), mask=self.mask())

    def any_frame(self) -> bytes:
        """Any head at all over a small payload."""
        form = self.dice.choice([None, None, 16, 64])
        sizes = {
            None: [None],
            16: [None, 0, 125, 126, 65535],
            64: [None, 126, 65535, 65536, 2**63 - 1, 2**63, 2**64 - 1],
        }
        return frame(
            self.dice.randrange(16),
            self.dice.randbytes(self.dice.randrange(12)),
            fin=not self.chance(3),
            rsv=self.dice.choice([0, 0, 0, 4, 1, 2, 7]),
            mask=self.mask(),
            length_form=form,
            declared=self.dice.choice(sizes[form]),
        )


def random_case(seed: int) -> Case:
    """The case of *seed*."""
    dice = random.Random(seed)
    role = dice.choice(["server", "client"])
    packed, takeover = dice.choice([(False, False), (True, False), (True, True)])
    options: dict[str, Any] = {"deflate": True, "takeover": takeover} if packed else {}
    for name, some in (
        ("max_message_size", [None, 0, 1, 20, 125, 126, 200]),
        ("max_text_message_size", [5, 50]),
        ("max_binary_message_size", [5, 50]),
        ("max_frame_size", [0, 10, 125, 126, 200]),
        ("max_fragments", [1, 2, 3]),
    ):
        if dice.randrange(6) == 0:
            options[name] = dice.choice(some)
    sender = _Sender(dice, role, packed, takeover)
    parts: list[bytes] = []
    for _ in range(dice.randrange(1, 9)):
        kind = dice.randrange(16)
        if kind < 12:
            parts += sender.message()
        elif kind < 14:
            parts.append(sender.control())
        else:
            parts.append(sender.any_frame() if kind == 14 else sender.close())
    if dice.randrange(8) == 0:  # a byte that the network, or an attacker, has changed
        index = dice.randrange(len(parts))
        broken = bytearray(parts[index])
        broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        parts[index] = bytes(broken)
    if dice.randrange(8) == 0:
        parts[-1] = parts[-1][: dice.randrange(len(parts[-1]) + 1)]
    return Case(role, parts, options, dice.randrange(2**32))


def cut(data: bytes, seed: int, *, bytewise: bool) -> list[bytes]:
    """*data* in pieces: of a byte each, or at places of *seed*."""
    if bytewise:
        return [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(seed)
    marks = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randint(1, 8)))
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True) if start < end]
