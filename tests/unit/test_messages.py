"""Frames to messages: fragments, sizes, UTF-8, Close payloads, and whose memory a payload is."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from judge import BINARY, CLOSE, CONT, KEY, PING, TEXT, Event, close_payload, frame

from firefly_ws._core.deflate import Deflate
from firefly_ws._core.probe import compress, events


def server(*pieces: bytes, **how: object) -> list[Event]:
    return events(pieces, expect_masked=True, **how)  # type: ignore[arg-type]


def masked(opcode: int, payload: bytes = b"", **how: object) -> bytes:
    return frame(opcode, payload, mask=KEY, **how)  # type: ignore[arg-type]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_one_byte_messages_leave_the_interpreters_own_bytes_alone() -> None:
    """CPython has each one-byte bytes object once; unmasking in place in it would change it for everybody."""
    for value in range(256):
        data = bytes([value])
        stream = masked(BINARY, data) + frame(BINARY, data, mask=b"\xff\xff\xff\xff")
        assert server(stream) == [("binary", data)] * 2
        assert server(*bytewise(stream)) == [("binary", data)] * 2
        first, second = frame(BINARY, data, fin=False, mask=KEY), frame(CONT, data, mask=KEY)
        assert server(first + second) == [("binary", data * 2)]
        assert server(masked(PING, data)) == [("ping", data)]
    assert [bytes([value])[0] for value in range(256)] == list(range(256))
    assert bytes((97, 98, 0, 255)) == b"a" + b"b" + b"\x00" + b"\xff"


def test_one_character_messages_leave_the_interpreters_own_strings_alone() -> None:
    for value in range(128):
        character = chr(value)
        stream = masked(TEXT, character.encode()) + frame(TEXT, character.encode(), mask=b"\x7f\x7f\x7f\x7f")
        assert server(stream) == [("text", character)] * 2
        assert server(*bytewise(stream)) == [("text", character)] * 2
    assert [ord(chr(value)) for value in range(256)] == list(range(256))


def test_an_inflated_byte_that_grows_is_not_the_interpreters_own() -> None:
    """A part of a compressed message that inflates to one byte is that shared object; more is appended to it."""
    one = zlib.compressobj(0, zlib.DEFLATED, -15)
    parts = [one.compress(letter) + one.flush(zlib.Z_SYNC_FLUSH) for letter in (b"a", b"b", b"c")]
    parts[-1] = parts[-1][:-4]
    stream = masked(BINARY, parts[0], rsv=4, fin=False) + masked(CONT, parts[1], fin=False) + masked(CONT, parts[2])
    assert server(stream, deflate=Deflate()) == [("binary", b"abc")]
    assert (bytes([97]), bytes([98]), bytes([99])) == (b"a", b"b", b"c")
    assert (b"a"[0], b"b"[0], b"c"[0]) == (97, 98, 99)


def test_empty_messages() -> None:
    assert server(masked(TEXT) + masked(BINARY)) == [("text", ""), ("binary", b"")]
    stream = masked(BINARY, fin=False) + masked(CONT)
    assert server(stream) == server(*bytewise(stream)) == [("binary", b"")]


def test_a_message_in_many_fragments_is_one() -> None:
    pieces = [bytes([index & 0xFF]) * (index % 7) for index in range(500)]
    stream = masked(BINARY, pieces[0], fin=False)
    stream += b"".join(masked(CONT, piece, fin=False) for piece in pieces[1:-1]) + masked(CONT, pieces[-1])
    assert server(stream) == [("binary", b"".join(pieces))]


def test_a_growing_message_of_small_fragments_costs_no_square() -> None:
    count = 20_000
    stream = masked(BINARY, b"x" * 50, fin=False) + masked(CONT, b"x" * 50, fin=False) * count + masked(CONT)
    assert server(stream) == [("binary", b"x" * 50 * (count + 1))]


def test_a_declared_length_takes_no_memory() -> None:
    heads = [masked(BINARY, declared=2**40), masked(BINARY, declared=10**9, fin=False)]
    tracemalloc.start()
    try:
        for head in heads:
            assert server(head + b"some bytes of it") == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_pong_or_ping_within_a_message_keeps_its_own_payload() -> None:
    stream = masked(TEXT, b"Hel", fin=False) + masked(PING, b"between") + masked(CONT, b"lo")
    expected = [("ping", b"between"), ("text", "Hello")]
    assert server(stream) == expected
    assert server(*bytewise(stream)) == expected


# ---- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 10, 1000])
def test_each_type_has_its_limit(size: int) -> None:
    text, binary = masked(TEXT, b"x" * size), masked(BINARY, b"x" * size)
    assert server(text + binary, text_limit=size, binary_limit=size) == [("text", "x" * size), ("binary", b"x" * size)]
    if size:
        assert server(binary + text, text_limit=size - 1) == [("binary", b"x" * size), ("error", 1009)]
        assert server(text + binary, binary_limit=size - 1) == [("text", "x" * size), ("error", 1009)]


def test_a_limit_holds_by_the_head_alone() -> None:
    assert server(masked(BINARY, declared=11), binary_limit=10) == [("error", 1009)]
    assert server(masked(BINARY, b"x" * 6, fin=False) + masked(CONT, declared=5), binary_limit=10) == [("error", 1009)]
    # The sum does not overflow.
    stream = masked(BINARY, b"x", fin=False) + masked(CONT, declared=2**63 - 1)
    assert server(stream, binary_limit=10) == [("error", 1009)]


def test_control_frames_count_for_no_limit() -> None:
    stream = masked(TEXT, b"ab", fin=False) + masked(PING, b"x" * 100) + masked(CONT, b"c")
    assert server(stream, text_limit=3, max_fragments=2) == [("ping", b"x" * 100), ("text", "abc")]


def test_fragments_are_counted_a_message() -> None:
    three = masked(TEXT, b"1", fin=False) + masked(CONT, b"2", fin=False) + masked(CONT, b"3")
    assert server(three * 3, max_fragments=3) == [("text", "123")] * 3
    assert server(three, max_fragments=2) == [("error", 1009)]
    assert server(masked(TEXT), max_fragments=1) == [("text", "")]


def test_a_message_at_the_limit_and_one_fragment_more() -> None:
    ten = masked(BINARY, b"x" * 10, fin=False)
    assert server(ten + masked(CONT), binary_limit=10) == [("binary", b"x" * 10)]
    assert server(ten + masked(CONT, b"y"), binary_limit=10) == [("error", 1009)]


# ---- text ----------------------------------------------------------------------------------------------------------


def test_text_fails_at_the_first_bad_byte_of_an_unfinished_frame() -> None:
    stream = masked(TEXT, b"good \xff", declared=1000)
    assert server(stream) == [("error", 1007)]
    assert server(stream[:-1]) == []
    assert server(*bytewise(stream)) == [("error", 1007)]


def test_a_character_may_be_cut_anywhere() -> None:
    data = "aé€😀z".encode()
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            stream = (
                masked(TEXT, data[:first], fin=False)
                + masked(CONT, data[first:second], fin=False)
                + masked(CONT, data[second:])
            )
            assert server(stream) == [("text", "aé€😀z")]


def test_text_ends_with_a_whole_character() -> None:
    assert server(masked(TEXT, b"\xe2\x82")) == [("error", 1007)]
    assert server(masked(TEXT, b"a", fin=False) + masked(CONT, b"\xf0\x9f\x98")) == [("error", 1007)]
    assert server(masked(TEXT, b"\xf0\x9f", fin=False) + masked(CONT)) == [("error", 1007)]


def test_text_of_every_width() -> None:
    for text in ("ascii " * 100, "é" * 300, "€uro" * 100, "😀" * 100, "mixed é€😀 " * 50, "\x00\x7f\x80"):
        stream = masked(TEXT, text.encode())
        assert server(stream) == server(*bytewise(stream)) == [("text", text)]


# ---- Close ---------------------------------------------------------------------------------------------------------


def test_a_close_is_the_last_event() -> None:
    stream = masked(CLOSE, close_payload(1001, "going")) + masked(TEXT, b"late")
    assert server(stream) == [("close", 1001, "going")]
    assert server(*bytewise(stream)) == [("close", 1001, "going")]


def test_a_close_without_a_code_has_none() -> None:
    assert server(masked(CLOSE)) == [("close", None, "")]


@pytest.mark.parametrize("payload", [b"\x03", close_payload(999), close_payload(1005), close_payload(5000)])
def test_half_a_code_or_one_that_nobody_may_send_is_a_violation(payload: bytes) -> None:
    assert server(masked(CLOSE, payload)) == [("error", 1002)]


def test_a_close_reason_is_utf8() -> None:
    assert server(masked(CLOSE, close_payload(1000, b"\xc3"))) == [("error", 1007)]
    assert server(masked(CLOSE, close_payload(1000, "ü€😀"))) == [("close", 1000, "ü€😀")]


# ---- memory that is used again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32767, 32768, 40000, 262144, 300_000])
def test_large_messages_that_are_kept_keep_their_bytes(size: int) -> None:
    """Memory of large messages that nobody has kept serves the next one, of those alone."""
    contents = [bytes([index]) * size for index in range(1, 9)]
    stream = b"".join(masked(BINARY, one) for one in contents)
    got = server(stream)
    again = server(*[stream[at : at + 10_000] for at in range(0, len(stream), 10_000)])
    assert [data for _, data in got] == contents
    assert [data for _, data in again] == contents
    assert len({id(data) for _, data in got + again}) == 16


def test_the_hash_of_reused_memory_is_that_of_its_new_bytes() -> None:
    kept = {}
    for value in range(20):
        content = bytes([value]) * 65536
        for _, data in server(masked(BINARY, content)):
            hash(data)
            assert data == content
            if value % 2:
                kept[data] = value
        del data
    assert {key[0]: value for key, value in kept.items()} == {value: value for value in range(1, 20, 2)}
    assert all(kept[bytes([value]) * 65536] == value for value in range(1, 20, 2))


def test_compressed_and_plain_messages_may_alternate() -> None:
    deflate = Deflate(threshold=0)
    packed = compress(deflate, b"compressed " * 100)
    assert packed is not None
    stream = (masked(TEXT, packed, rsv=4) + masked(TEXT, b"plain")) * 3
    expected = [("text", "compressed " * 100), ("text", "plain")] * 3
    assert server(stream, deflate=deflate) == expected
    assert server(*bytewise(stream), deflate=deflate) == expected
