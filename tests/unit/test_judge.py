"""The judge judged: against the corpus, against expectations written out, and against other people's encoders."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from every import for_each
from judge import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, Event, close_payload, frame, judge
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from wire_cases import Case, cases

CORPUS = cases()


def test_the_corpus_covers_both_roles_well() -> None:
    assert len(CORPUS) >= 240
    assert {case.role for case in CORPUS.values()} == {"server", "client"}


@for_each("name", CORPUS)
def test_the_judge_agrees_with_the_corpus(name: str) -> None:
    case: Case = CORPUS[name]
    assert judge(case.data, case.role, **case.options) == case.events


@for_each("name", [name for name, case in CORPUS.items() if len(case.data) < 120])
@pytest.mark.slow
def test_a_shorter_stream_gives_the_beginning_of_the_same_events(name: str) -> None:
    case = CORPUS[name]
    before: list[Event] = []
    for end in range(len(case.data) + 1):
        events = judge(case.data[:end], case.role, **case.options)
        assert events[: len(before)] == before
        before = list(events)
    assert before == case.events


def test_hello_by_hand() -> None:
    assert frame(TEXT, b"Hello") == b"\x81\x05Hello"
    assert frame(TEXT, b"Hello", mask=KEY) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert judge(b"\x81\x05Hello", "client") == [("text", "Hello")]


def test_frames_by_hand() -> None:
    assert frame(PING) == b"\x89\x00"
    assert frame(CONT, b"a", fin=False, rsv=7) == b"\x70\x01a"
    assert frame(BINARY, b"a", length_form=16) == b"\x82\x7e\x00\x01a"
    assert frame(BINARY, b"a", length_form=64) == b"\x82\x7f" + bytes(7) + b"\x01a"
    assert frame(BINARY, declared=2**64 - 1) == b"\x82\x7f" + b"\xff" * 8
    assert frame(CLOSE, close_payload(1000, "ok")) == b"\x88\x04\x03\xe8ok"
    assert frame(PONG, bytes(126))[:4] == b"\x8a\x7e\x00\x7e"
    assert frame(BINARY, bytes(65536))[:10] == b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"


def test_a_role_must_be_a_role() -> None:
    with pytest.raises(ValueError, match="role='peer'"):
        judge(b"", "peer")


@pytest.mark.slow
def test_every_beginning_of_two_bytes_is_judged_by_what_unicode_has() -> None:
    characters = [chr(point).encode() for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    leads = {character[0] for character in characters}
    beginnings = {character[:2] for character in characters if len(character) > 1}
    for first in range(256):
        for second in range(256):
            data = bytes([first, second])
            valid = data in beginnings or (first < 0x80 and second in leads)
            assert judge(frame(TEXT, data, fin=False), "client") == ([] if valid else [("error", 1007)]), data.hex()


@pytest.mark.parametrize("seed", range(20))
def test_random_text_is_judged_as_python_decodes_it(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        data = "".join(
            chr(chance.choice([65, 0xE9, 0x7FF, 0x20AC, 0xFFFF, 0x1F600, 0x10FFFF])) for _ in range(chance.randrange(8))
        ).encode()
        if data and chance.random() < 0.5:
            at = chance.randrange(len(data))
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        try:
            expected: Event = ("text", data.decode())
        except UnicodeDecodeError:
            expected = ("error", 1007)
        assert judge(frame(TEXT, data, mask=KEY), "server") == [expected], data.hex()


def test_every_close_code_is_judged_as_the_registry_says() -> None:
    sendable = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, *range(3000, 5000)}
    for code in [*range(5100), *range(5100, 65536, 97), 65535]:
        expected = ("close", code, "") if code in sendable else ("error", 1002)
        assert judge(frame(CLOSE, struct.pack("!H", code)), "client") == [expected]


def _their_frames(chance: random.Random, role: str, extensions: list[PerMessageDeflate]) -> tuple[bytes, list[Event]]:
    """A stream written by the websockets package, and what was put into it."""
    stream = bytearray()
    expected: list[Event] = []
    for _ in range(chance.randrange(1, 8)):
        size = chance.choice([0, 1, 5, 125, 126, 200, 1000, 30000])
        text = "".join(chance.choice("abc é✓😀") for _ in range(size))
        data = text.encode()
        opcode = chance.choice([Opcode.TEXT, Opcode.BINARY])
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(3)))
        parts = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for index, part in enumerate(parts):
            one = Frame(Opcode.CONT if index else opcode, part, fin=index == len(parts) - 1)
            stream += one.serialize(mask=role == "server", extensions=extensions)
            if one.fin:
                expected.append(("text", text) if opcode is Opcode.TEXT else ("binary", data))
            if chance.random() < 0.3:
                stream += Frame(Opcode.PING, b"?").serialize(mask=role == "server", extensions=extensions)
                expected.append(("ping", b"?"))
    if chance.random() < 0.5:
        stream += Frame(Opcode.CLOSE, Close(1001, "genug").serialize()).serialize(mask=role == "server")
        expected.append(("close", 1001, "genug"))
    return bytes(stream), expected


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("deflate", ["none", "takeover", "no takeover"])
def test_what_websockets_writes_the_judge_reads(role: str, deflate: str) -> None:
    for seed in range(2):
        chance = random.Random(seed)
        takeover = deflate == "takeover"
        extensions = [] if deflate == "none" else [PerMessageDeflate(not takeover, not takeover, 15, 15)]
        stream, expected = _their_frames(chance, role, extensions)
        assert judge(stream, role, deflate=bool(extensions), takeover=takeover) == expected


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("flush", ["Z_SYNC_FLUSH", "Z_FULL_FLUSH", "Z_FINISH"])
def test_what_zlib_writes_the_judge_reads(level: int, flush: str) -> None:
    one = zlib.compressobj(level, zlib.DEFLATED, -15)
    data = bytes(random.Random(level).choices(b"abcdef\x00\xff", k=5000))
    packed = one.compress(data) + one.flush(getattr(zlib, flush))
    packed = packed + b"\x00" if flush == "Z_FINISH" else packed.removesuffix(b"\x00\x00\xff\xff")
    stream = frame(BINARY, packed[:100], rsv=4, fin=False, mask=KEY) + frame(CONT, packed[100:], mask=KEY)
    assert judge(stream * 2, "server", deflate=True) == [("binary", data)] * 2


def test_a_window_is_shared_over_messages_only_where_that_was_agreed() -> None:
    one = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = bytes(random.Random(1).choices(b"abcdefghijklmnopqrstuvwxyz", k=2000))
    stream = b""
    for _ in range(3):
        packed = one.compress(data) + one.flush(zlib.Z_SYNC_FLUSH)
        stream += frame(BINARY, packed[:-4], rsv=4)
    assert judge(stream, "client", deflate=True, takeover=True) == [("binary", data)] * 3
    assert judge(stream, "client", deflate=True) == [("binary", data), ("error", 1007)]


def test_a_declared_length_takes_no_memory() -> None:
    stream = frame(BINARY, b"abc", declared=2**40)
    assert judge(stream, "client", max_message_size=None) == []
    assert judge(stream, "client", max_message_size=2**40 - 1) == [("error", 1009)]
