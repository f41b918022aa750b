"""The corpus: named byte streams and what a receiver must make of each, written by hand from the RFCs' text.

Knows no decoder. The judge and the library are both held against it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from judge import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, Event, close_payload, frame

__all__ = ["Case", "cases"]

# fmt: off
# A case stands on as few lines as it can: what is sent, what must come of it, the limits.


class Case(NamedTuple):
    """A stream as it reaches *role*; *options* are `judge.judge`'s keywords."""

    role: str
    data: bytes
    events: list[Event]
    options: Mapping[str, Any] = MappingProxyType({})


Frame = Callable[..., bytes]
Table = dict[str, tuple[bytes, list[Event], dict[str, Any]]]

ERROR_1002: Event = ("error", 1002)
ERROR_1007: Event = ("error", 1007)
ERROR_1009: Event = ("error", 1009)


def cases() -> dict[str, Case]:
    """Every case, by name; those that hold for both roles are there twice."""
    corpus: dict[str, Case] = {}
    for role, key in (("server", KEY), ("client", None)):
        wrong = None if key else KEY

        def build(opcode: int, payload: bytes = b"", *, mask: bytes | None = key, **how: Any) -> bytes:
            return frame(opcode, payload, mask=mask, **how)

        for table in (_lengths(build), _heads(build, wrong), _fragments(build), _text(build), _closes(build),
                      _limits(build), _deflate(build)):
            for name, (data, events, options) in table.items():
                corpus[f"{role}: {name}"] = Case(role, data, events, options)
    corpus.update(_rfc_examples())
    return corpus


def _rfc_examples() -> dict[str, Case]:
    """RFC 6455 §5.7, byte for byte as printed."""
    kib = bytes(range(256))
    return {
        "rfc: a single-frame unmasked text message":
            Case("client", bytes.fromhex("810548656c6c6f"), [("text", "Hello")]),
        "rfc: a single-frame masked text message":
            Case("server", bytes.fromhex("818537fa213d7f9f4d5158"), [("text", "Hello")]),
        "rfc: a fragmented unmasked text message":
            Case("client", bytes.fromhex("010348656c80026c6f"), [("text", "Hello")]),
        "rfc: unmasked ping": Case("client", bytes.fromhex("890548656c6c6f"), [("ping", b"Hello")]),
        "rfc: masked pong": Case("server", bytes.fromhex("8a8537fa213d7f9f4d5158"), [("pong", b"Hello")]),
        "rfc: 256 bytes of binary": Case("client", bytes.fromhex("827e0100") + kib, [("binary", kib)]),
        "rfc: 64 KiB of binary":
            Case("client", bytes.fromhex("827f0000000000010000") + kib * 256, [("binary", kib * 256)]),
    }


def _lengths(build: Frame) -> Table:
    table: Table = {"nothing at all": (b"", [], {})}
    for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 63, 64, 124, 125, 126, 127, 128, 129, 255, 256, 65535, 65536, 65537):
        data = bytes(index * 7 & 0xFF for index in range(size))
        table[f"{size} bytes of binary"] = (build(BINARY, data), [("binary", data)], {})
        table[f"{size} bytes of text"] = (build(TEXT, b"z" * size), [("text", "z" * size)], {})
    for size in (0, 1, 124, 125):
        table[f"a ping of {size} bytes"] = (build(PING, b"p" * size), [("ping", b"p" * size)], {})
        table[f"a pong of {size} bytes"] = (build(PONG, b"q" * size), [("pong", b"q" * size)], {})
    whole = build(TEXT, b"Hello")
    for cut in range(len(whole)):
        table[f"a frame that ends behind byte {cut}"] = (whole[:cut], [], {})
    table["several frames in a row"] = (
        build(TEXT, b"one") + build(BINARY, b"two") + build(PING, b"3") + build(PONG) + build(TEXT),
        [("text", "one"), ("binary", b"two"), ("ping", b"3"), ("pong", b""), ("text", "")], {})
    return table


def _heads(build: Frame, wrong: bytes | None) -> Table:
    table: Table = {}
    for rsv in range(1, 8):
        table[f"reserved bits {rsv:03b} on text"] = (build(TEXT, b"x", rsv=rsv), [ERROR_1002], {})
        table[f"reserved bits {rsv:03b} on a ping"] = (build(PING, b"x", rsv=rsv), [ERROR_1002], {})
    table["reserved bits on a close"] = (build(CLOSE, rsv=2), [ERROR_1002], {})
    table["reserved bits on a continuation"] = (
        build(TEXT, b"a", fin=False) + build(CONT, b"b", rsv=1), [ERROR_1002], {})
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        table[f"reserved opcode {opcode}"] = (build(opcode, b"x"), [ERROR_1002], {})
        table[f"reserved opcode {opcode} without payload"] = (build(opcode), [ERROR_1002], {})
    table["a reserved opcode behind a message"] = (
        build(TEXT, b"first") + build(3, b"x"), [("text", "first"), ERROR_1002], {})
    table["a reserved opcode between fragments"] = (
        build(TEXT, b"a", fin=False) + build(11, b"x") + build(CONT, b"b"), [ERROR_1002], {})
    for name, opcode in (("text", TEXT), ("ping", PING), ("close", CLOSE)):
        table[f"a {name} masked the wrong way round"] = (build(opcode, mask=wrong), [ERROR_1002], {})
    table["a mask the wrong way round in the second frame"] = (
        build(BINARY, b"fine") + build(BINARY, b"not", mask=wrong), [("binary", b"fine"), ERROR_1002], {})
    for size in (0, 1, 125):
        table[f"{size} bytes counted with 16 bits"] = (build(BINARY, b"x" * size, length_form=16), [ERROR_1002], {})
    for size in (0, 125, 126, 65535):
        table[f"{size} bytes counted with 64 bits"] = (build(BINARY, b"x" * size, length_form=64), [ERROR_1002], {})
    for length in (2**63, 2**63 + 5, 2**64 - 1):
        table[f"a length of {length:#x}"] = (build(BINARY, declared=length, length_form=64), [ERROR_1002], {})
    for length in (2**63 - 1, 2**32, 2**31):
        table[f"a length of {length:#x} above the limit"] = (
            build(BINARY, declared=length, length_form=64), [ERROR_1009], {})
    for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE)):
        table[f"a {name} in fragments"] = (build(opcode, b"", fin=False), [ERROR_1002], {})
        table[f"a {name} of 126 bytes"] = (build(opcode, b"\x03\xe8" + b"x" * 124), [ERROR_1002], {})
        table[f"a {name} of 65536 bytes"] = (build(opcode, declared=65536), [ERROR_1002], {})
        table[f"a short {name} counted with 16 bits"] = (build(opcode, b"", length_form=16), [ERROR_1002], {})
    return table


def _fragments(build: Frame) -> Table:
    first, middle, last = build(TEXT, b"Hel", fin=False), build(CONT, b"l", fin=False), build(CONT, b"o")
    hello: Event = ("text", "Hello")
    return {
        "text in two fragments": (build(TEXT, b"Hel", fin=False) + build(CONT, b"lo"), [hello], {}),
        "text in three fragments": (first + middle + last, [hello], {}),
        "binary in three fragments": (
            build(BINARY, b"\x00\xff", fin=False) + build(CONT, b"\x80", fin=False) + build(CONT, b"\xc0"),
            [("binary", b"\x00\xff\x80\xc0")], {}),
        "empty fragments": (build(TEXT, fin=False) + build(CONT, fin=False) + build(CONT), [("text", "")], {}),
        "an empty first fragment": (build(BINARY, fin=False) + build(CONT, b"x"), [("binary", b"x")], {}),
        "an empty middle fragment": (first + build(CONT, fin=False) + build(CONT, b"lo"), [hello], {}),
        "an empty last fragment": (build(TEXT, b"Hello", fin=False) + build(CONT), [hello], {}),
        "a fragment in 16 bits and one in 64": (
            build(BINARY, b"a" * 300, fin=False) + build(CONT, b"b" * 70000),
            [("binary", b"a" * 300 + b"b" * 70000)], {}),
        "forty fragments": (
            build(TEXT, b"0", fin=False) + build(CONT, b"1", fin=False) * 38 + build(CONT, b"2"),
            [("text", "0" + "1" * 38 + "2")], {}),
        "a ping between fragments": (
            first + build(PING, b"now") + middle + last, [("ping", b"now"), hello], {}),
        "a pong between fragments": (first + build(PONG) + middle + last, [("pong", b""), hello], {}),
        "a ping and a pong between every fragment": (
            (build(PING, b"1") + build(PONG, b"2")).join([first, middle, last]),
            [("ping", b"1"), ("pong", b"2"), ("ping", b"1"), ("pong", b"2"), hello], {}),
        "a close between fragments": (first + build(CLOSE, close_payload(1001)) + last, [("close", 1001, "")], {}),
        "two messages in fragments": (
            (first + middle + last) + build(BINARY, b"a", fin=False) + build(CONT, b"b"),
            [hello, ("binary", b"ab")], {}),
        "a message that is never ended": (first + middle + build(PING), [("ping", b"")], {}),
        "a continuation at the start": (build(CONT, b"x"), [ERROR_1002], {}),
        "an unfinished continuation at the start": (build(CONT, b"x", fin=False), [ERROR_1002], {}),
        "a continuation behind a whole message": (
            build(TEXT, b"whole") + build(CONT, b"x"), [("text", "whole"), ERROR_1002], {}),
        "a continuation behind a finished one": (first + last + last, [("text", "Helo"), ERROR_1002], {}),
        "a continuation behind a ping": (build(PING) + build(CONT), [("ping", b""), ERROR_1002], {}),
        "text within text": (first + build(TEXT, b"lo"), [ERROR_1002], {}),
        "binary within text": (first + build(BINARY, b"lo"), [ERROR_1002], {}),
        "the start of a message within one": (first + first, [ERROR_1002], {}),
        "a ping, then text within text": (first + build(PING) + build(TEXT), [("ping", b""), ERROR_1002], {}),
    }


def _text(build: Frame) -> Table:
    table: Table = {}
    for point in (
        0x00, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xCFFF, 0xD000, 0xD7FF, 0xE000, 0xFDD0, 0xFFFD, 0xFFFF,
        0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF,
    ):
        character, name = chr(point), f"U+{point:04X}"
        data = character.encode()
        table[name] = (build(TEXT, data), [("text", character)], {})
        inside = f"abcdefgh{character}ijklmnop"
        table[f"{name} between ASCII"] = (build(TEXT, inside.encode()), [("text", inside)], {})
        for cut in range(1, len(data)):
            table[f"{name} cut behind byte {cut}"] = (
                build(TEXT, data[:cut], fin=False) + build(PING) + build(CONT, data[cut:]),
                [("ping", b""), ("text", character)], {})
            table[f"{name} without its end behind byte {cut}"] = (build(TEXT, b"a" + data[:cut]), [ERROR_1007], {})
            table[f"{name} with ASCII in place of byte {cut}"] = (
                build(TEXT, data[:cut] + b"a" + data[cut + 1 :]), [ERROR_1007], {})
    for name, bad, at in (
        ("a lone continuation byte 80", "80", 0), ("a lone continuation byte bf", "bf", 0),
        ("an overlong slash of two bytes", "c0af", 0), ("an overlong c1", "c1bf", 0),
        ("an overlong of three bytes", "e08080", 1), ("the largest overlong of three bytes", "e09fbf", 1),
        ("an overlong of four bytes", "f0808080", 1), ("the largest overlong of four bytes", "f08fbfbf", 1),
        ("the first surrogate", "eda080", 1), ("the last high surrogate", "edafbf", 1),
        ("the last surrogate", "edbfbf", 1), ("a surrogate pair", "eda080edb080", 1),
        ("U+110000", "f4908080", 1), ("a lead byte f5", "f5808080", 0), ("a lead byte f7", "f7bfbfbf", 0),
        ("five bytes", "f888808080", 0), ("six bytes", "fc8480808080", 0), ("fe", "fe", 0), ("ff", "ff", 0),
        ("a lead byte behind a lead byte", "c3c3", 1), ("a third byte that is none", "e282c2", 2),
        ("a fourth byte that is none", "f0908041", 3), ("a continuation byte too many", "c3a9a9", 2),
    ):
        data = bytes.fromhex(bad)
        table[f"not UTF-8: {name}"] = (build(TEXT, data), [ERROR_1007], {})
        table[f"not UTF-8 behind ASCII: {name}"] = (build(TEXT, b"0123456789abcdefg" + data), [ERROR_1007], {})
        # Up to the bad byte nothing is wrong; with it all is known, though frame and message go on.
        early = build(TEXT, b"ok" + data + b"more", fin=False)
        head = len(early) - len(data) - 6
        table[f"not UTF-8, the byte before: {name}"] = (early[: head + 2 + at], [], {})
        table[f"not UTF-8, at once: {name}"] = (early[: head + 2 + at + 1], [ERROR_1007], {})
    table["binary is not checked"] = (build(BINARY, b"\xff\xc0\x80"), [("binary", b"\xff\xc0\x80")], {})
    table["the state of UTF-8 ends with its message"] = (
        build(TEXT, "é".encode()) + build(TEXT, b"\xa9"), [("text", "é"), ERROR_1007], {})
    table["text ends within a character in its last fragment"] = (
        build(TEXT, b"a", fin=False) + build(CONT, b"\xe2\x82"), [ERROR_1007], {})
    table["a bad character across two fragments"] = (
        build(TEXT, b"\xed", fin=False) + build(CONT, b"\xa0", fin=False), [ERROR_1007], {})
    return table


def _closes(build: Frame) -> Table:
    reason = "Ende gut, alles gut ✓"
    table: Table = {
        "a close without a code": (build(CLOSE), [("close", None, "")], {}),
        "a close of one byte": (build(CLOSE, b"\x03"), [ERROR_1002], {}),
        "a close with a reason": (build(CLOSE, close_payload(1000, reason)), [("close", 1000, reason)], {}),
        "a close of 125 bytes": (build(CLOSE, close_payload(3000, "x" * 123)), [("close", 3000, "x" * 123)], {}),
        "a close whose reason is not UTF-8": (build(CLOSE, close_payload(1000, b"\xff")), [ERROR_1007], {}),
        "a close whose reason ends within a character": (
            build(CLOSE, close_payload(1000, b"ok\xe2\x82")), [ERROR_1007], {}),
        "a close whose reason is a surrogate": (build(CLOSE, close_payload(1000, b"\xed\xa0\x80")), [ERROR_1007], {}),
        "nothing counts behind a close": (
            build(CLOSE, close_payload(1000)) + build(TEXT, b"late") + b"\xff\xff", [("close", 1000, "")], {}),
        "a message before a close": (
            build(TEXT, b"last") + build(CLOSE, close_payload(1000)), [("text", "last"), ("close", 1000, "")], {}),
    }
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        table[f"close {code}"] = (build(CLOSE, close_payload(code)), [("close", code, "")], {})
    for code in (0, 1, 125, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32768, 65535):
        table[f"close {code} is for nobody to send"] = (build(CLOSE, close_payload(code, "x")), [ERROR_1002], {})
    return table


def _limits(build: Frame) -> Table:
    ten = {"max_message_size": 10}
    return {
        "a message at the limit": (build(BINARY, b"x" * 10), [("binary", b"x" * 10)], ten),
        "a message above the limit": (build(BINARY, b"x" * 11), [ERROR_1009], ten),
        "text above the limit, by its head alone": (build(TEXT, declared=11), [ERROR_1009], ten),
        "fragments at the limit": (
            build(TEXT, b"12345", fin=False) + build(CONT, b"67890", fin=False) + build(CONT),
            [("text", "1234567890")], ten),
        "fragments above the limit": (
            build(TEXT, b"12345", fin=False) + build(CONT, declared=6), [ERROR_1009], ten),
        "the limit starts anew with each message": (
            build(BINARY, b"x" * 10) * 2, [("binary", b"x" * 10)] * 2, ten),
        "control frames do not count": (
            build(TEXT, b"12345", fin=False) + build(PING, b"x" * 20) + build(CONT, b"67890"),
            [("ping", b"x" * 20), ("text", "1234567890")], ten),
        "a limit of nothing": (
            build(TEXT) + build(TEXT, b"x"), [("text", ""), ERROR_1009], {"max_message_size": 0}),
        "no limit": (
            build(BINARY, b"x" * 70000), [("binary", b"x" * 70000)], {"max_message_size": None}),
        "the limit of text": (
            build(BINARY, b"x" * 10) + build(TEXT, b"x" * 4), [("binary", b"x" * 10), ERROR_1009],
            {"max_message_size": 10, "max_text_message_size": 3}),
        "the limit of binary": (
            build(TEXT, b"x" * 11) + build(BINARY, b"x" * 12), [("text", "x" * 11), ERROR_1009],
            {"max_message_size": 10, "max_text_message_size": 11, "max_binary_message_size": 11}),
        "a frame at its limit": (
            build(BINARY, b"x" * 200, fin=False) + build(CONT, b"y" * 200), [("binary", b"x" * 200 + b"y" * 200)],
            {"max_frame_size": 200}),
        "a frame above its limit": (build(BINARY, declared=201), [ERROR_1009], {"max_frame_size": 200}),
        "a control frame above the limit of frames": (
            build(PING, b"x" * 125), [("ping", b"x" * 125)], {"max_frame_size": 10}),
        "as many fragments as allowed": (
            build(TEXT, b"1", fin=False) + build(CONT, b"2", fin=False) + build(CONT, b"3"), [("text", "123")],
            {"max_fragments": 3}),
        "one fragment too many": (
            build(TEXT, b"1", fin=False) + build(CONT, b"2", fin=False) * 3, [ERROR_1009], {"max_fragments": 3}),
    }


def _deflate(build: Frame) -> Table:
    agreed, takeover = {"deflate": True}, {"deflate": True, "takeover": True}
    hello: Event = ("text", "Hello")
    sample = bytes.fromhex("f248cdc9c90700")

    def packed(data: bytes, level: int = 6) -> bytes:
        one = zlib.compressobj(level, zlib.DEFLATED, -15)
        return (one.compress(data) + one.flush(zlib.Z_SYNC_FLUSH))[:-4]

    zeros = packed(bytes(20000))
    second = bytes.fromhex("f200110000")
    return {
        # RFC 7692 §7.2.3, byte for byte as printed.
        "deflate: one compressed frame": (build(TEXT, sample, rsv=4), [hello], agreed),
        "deflate: two compressed fragments": (
            build(TEXT, sample[:3], rsv=4, fin=False) + build(CONT, sample[3:]), [hello], agreed),
        "deflate: the window is shared": (
            build(TEXT, sample, rsv=4) + build(TEXT, second, rsv=4), [hello, hello], takeover),
        "deflate: the window is not shared": (build(TEXT, sample, rsv=4) * 2, [hello, hello], agreed),
        "deflate: a sender that does not share a shared window": (
            build(TEXT, sample, rsv=4) * 2, [hello, hello], takeover),
        "deflate: a stored block": (
            build(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4), [hello], agreed),
        "deflate: a block with BFINAL": (build(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4), [hello], agreed),
        "deflate: blocks with and without BFINAL in a message of fragments": (
            build(TEXT, bytes.fromhex("f348cdc9c90700 f248cdc9c907000000ffff"), rsv=4, fin=False)
            + build(CONT, bytes.fromhex("f348cdc9c90700"), fin=False) + build(CONT, sample),
            [("text", "Hello" * 4)], agreed),
        "deflate: a reference behind a block with BFINAL": (
            build(TEXT, bytes.fromhex("f348cdc9c90700") + second, rsv=4), [ERROR_1007], agreed),
        "deflate: two blocks in one message": (
            build(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700"), rsv=4), [hello], agreed),
        "deflate: an empty message": (build(TEXT, b"\x00", rsv=4), [("text", "")], agreed),
        "deflate: an empty message of 02 00": (build(BINARY, b"\x02\x00", rsv=4), [("binary", b"")], agreed),

        "deflate: a message behind one with BFINAL": (
            build(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4) + build(TEXT, sample, rsv=4), [hello, hello],
            takeover),
        "deflate: the window of one without takeover is gone": (
            build(TEXT, sample, rsv=4) + build(TEXT, second, rsv=4), [hello, ERROR_1007], agreed),
        "deflate: a message that is not compressed": (
            build(TEXT, b"Hello") + build(TEXT, sample, rsv=4), [hello, hello], agreed),
        "deflate: an uncompressed message leaves the window as it is": (
            build(TEXT, sample, rsv=4) + build(BINARY, b"between") + build(TEXT, second, rsv=4),
            [hello, ("binary", b"between"), hello], takeover),
        "deflate: a byte a fragment, pings between": (
            build(TEXT, sample[:1], rsv=4, fin=False) + build(PING)
            + b"".join(build(CONT, bytes([byte]), fin=False) + build(PING) for byte in sample[1:]) + build(CONT),
            [("ping", b"")] * 7 + [hello], agreed),
        "deflate: an empty first fragment": (
            build(TEXT, rsv=4, fin=False) + build(CONT, sample), [hello], agreed),
        "deflate: RSV1 on a continuation": (
            build(TEXT, sample[:3], rsv=4, fin=False) + build(CONT, sample[3:], rsv=4), [ERROR_1002], agreed),
        "deflate: RSV1 on a continuation of an uncompressed message": (
            build(TEXT, b"a", fin=False) + build(CONT, b"b", rsv=4), [ERROR_1002], agreed),
        "deflate: RSV1 on a ping": (build(PING, rsv=4), [ERROR_1002], agreed),
        "deflate: RSV1 on a close": (build(CLOSE, rsv=4), [ERROR_1002], agreed),
        "deflate: RSV2": (build(TEXT, sample, rsv=2), [ERROR_1002], agreed),
        "deflate: RSV1 and RSV3": (build(TEXT, sample, rsv=5), [ERROR_1002], agreed),
        "deflate: not agreed on": (build(TEXT, sample, rsv=4), [ERROR_1002], {}),
        "deflate: a block type that does not exist": (build(BINARY, b"\x07", rsv=4), [ERROR_1007], agreed),
        "deflate: a stored block with a wrong length": (
            build(BINARY, bytes.fromhex("000500000048656c6c6f00"), rsv=4), [ERROR_1007], agreed),
        "deflate: corrupt data in a frame that goes on": (
            build(BINARY, b"\x07", rsv=4, declared=50), [ERROR_1007], agreed),
        "deflate: text that is not UTF-8": (build(TEXT, packed(b"ab\xff"), rsv=4), [ERROR_1007], agreed),
        "deflate: text that ends within a character": (
            build(TEXT, packed(b"ab\xe2\x82"), rsv=4), [ERROR_1007], agreed),
        "deflate: a character across two fragments": (
            build(TEXT, packed("é✓😀".encode(), 0)[:7], rsv=4, fin=False)
            + build(CONT, packed("é✓😀".encode(), 0)[7:]), [("text", "é✓😀")], agreed),
        "deflate: 64 KiB": (
            build(BINARY, packed(bytes(range(256)) * 256), rsv=4), [("binary", bytes(range(256)) * 256)], agreed),
        "deflate: inflated to the limit": (
            build(BINARY, zeros, rsv=4), [("binary", bytes(20000))], agreed | {"max_message_size": 20000}),
        "deflate: inflated above the limit": (
            build(BINARY, zeros, rsv=4), [ERROR_1009], agreed | {"max_message_size": 19999}),
        "deflate: a small frame far above the limit": (
            build(BINARY, zeros, rsv=4), [ERROR_1009], agreed | {"max_message_size": 1000}),
        "deflate: above the limit in a message that goes on": (
            build(BINARY, zeros, rsv=4, fin=False), [ERROR_1009], agreed | {"max_message_size": 1000}),
        "deflate: a compressed frame longer than its message": (
            build(BINARY, packed(b"x" * 10, 0), rsv=4), [("binary", b"x" * 10)],
            agreed | {"max_message_size": 10}),
        "deflate: a frame above its limit": (
            build(BINARY, b"", rsv=4, declared=200), [ERROR_1009], agreed | {"max_frame_size": 100}),
    }
