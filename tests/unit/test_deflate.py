"""The codec of permessage-deflate alone, RFC 7692 §7.2: samples, thresholds, windows, bounds."""

from __future__ import annotations

import os
import random
import threading
import tracemalloc
import zlib

import pytest
from judge import BINARY, CONT, TEXT, Event, frame

from firefly_ws import BinaryFrame, ContinuationFrame, Frame, InflatesTooMuch
from firefly_ws._core.deflate import Deflate, FrameDeflate
from firefly_ws._core.probe import compress, events

HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 §7.2.3.1
HELLO_AGAIN = bytes.fromhex("f200110000")  # §7.2.3.2, by its window
JSON = b'{"id": 17, "name": "firefly", "tags": ["a", "b"], "text": "hello hello hello"}' * 4


def inflate(data: bytes, window: zlib._Decompress | None = None) -> bytes:
    """What zlib itself makes of a message."""
    one = zlib.decompressobj(-15) if window is None else window
    return one.decompress(data + b"\x00\x00\xff\xff")


def received(deflate: Deflate, *messages: bytes, limit: int | None = None) -> list[Event]:
    stream = b"".join(frame(BINARY, message, rsv=4) for message in messages)
    return events([stream], expect_masked=False, deflate=deflate, binary_limit=limit)


def packed(deflate: Deflate, payload: bytes) -> bytes:
    data = compress(deflate, payload)
    assert data is not None
    return data


# ---- compressing ---------------------------------------------------------------------------------------------------


def test_the_samples_of_the_rfc() -> None:
    deflate = Deflate(compress_takeover=True, threshold=0, level=6)
    assert packed(deflate, b"Hello") == HELLO
    assert packed(deflate, b"Hello") == HELLO_AGAIN
    assert received(Deflate(decompress_takeover=True), HELLO, HELLO_AGAIN) == [("binary", b"Hello")] * 2


def test_the_tail_is_cut() -> None:
    for takeover in (False, True):
        data = packed(Deflate(compress_takeover=takeover), JSON)
        assert not data.endswith(b"\x00\x00\xff\xff")
        assert inflate(data) == JSON


def test_below_the_threshold_a_message_goes_as_it_is() -> None:
    deflate = Deflate(threshold=64)
    assert compress(deflate, b"x" * 63) is None
    assert compress(deflate, b"x" * 64) is not None
    assert compress(Deflate(threshold=0), b"") is not None
    assert inflate(packed(Deflate(threshold=0), b"")) == b""


def test_compress_if_is_asked_above_the_threshold_only() -> None:
    asked = []

    def wanted(payload: bytes) -> bool:
        asked.append(payload)
        return payload[:1] == b"{"

    deflate = Deflate(threshold=10, compress_if=wanted)
    assert compress(deflate, b"{short}") is None
    assert compress(deflate, b"long but no JSON") is None
    assert compress(deflate, JSON) is not None
    assert asked == [b"long but no JSON", JSON]


@pytest.mark.parametrize("takeover", [False, True])
def test_what_a_message_goes_without_leaves_the_window_alone(takeover: bool) -> None:
    deflate = Deflate(compress_takeover=takeover, threshold=10)
    window = zlib.decompressobj(-15)
    assert inflate(packed(deflate, JSON), window) == JSON
    assert compress(deflate, b"short") is None
    assert inflate(packed(deflate, JSON), window) == JSON


def test_a_shared_compressor_gives_messages_that_stand_alone() -> None:
    """Without takeover all connections of a thread share one compressor: no message may refer to another one."""
    first, second = Deflate(threshold=0), Deflate(threshold=0)
    secret = os.urandom(2000)
    alone = packed(first, secret)
    for deflate in (first, second, first):
        data = packed(deflate, secret)
        assert inflate(data) == secret
        assert len(data) == len(alone)
        assert inflate(packed(deflate, JSON)) == JSON


def test_with_takeover_compressors_are_not_shared() -> None:
    first, second = Deflate(compress_takeover=True), Deflate(compress_takeover=True)
    data = os.urandom(2000)
    one = packed(first, data)
    assert len(packed(second, data)) == len(one)
    assert len(packed(first, data)) < 100


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("takeover", [False, True])
def test_a_window_is_as_large_as_agreed(bits: int, takeover: bool) -> None:
    """A peer with a window of that size and no more inflates whatever we send."""
    deflate = Deflate(compress_bits=bits, compress_takeover=takeover, threshold=0)
    window = zlib.decompressobj(-bits)
    dice = random.Random(bits)
    for size in (0, 1, 500, 3000, 70_000):
        words = [dice.randbytes(7) for _ in range(40)]
        data = b"".join(dice.choice(words) for _ in range(size // 7))
        if not takeover:
            window = zlib.decompressobj(-bits)
        assert inflate(packed(deflate, data), window) == data


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("mem_level", [1, 8, 9])
def test_level_and_memory_are_zlibs(level: int, mem_level: int) -> None:
    deflate = Deflate(level=level, mem_level=mem_level, threshold=0)
    assert (deflate.level, deflate.mem_level) == (level, mem_level)
    for payload in (JSON, os.urandom(5000), b"a"):
        assert inflate(packed(deflate, payload)) == payload
    assert (len(packed(deflate, JSON)) < len(JSON)) == (level > 0)


def test_parameters_of_one_connection_are_not_anothers() -> None:
    small, large = Deflate(compress_bits=9, threshold=0), Deflate(compress_bits=15, threshold=0)
    data = os.urandom(2000) * 2  # repeats itself at a distance that only the large window reaches
    assert len(packed(large, data)) < 2200 < 4000 < len(packed(small, data))
    assert inflate(packed(small, data), zlib.decompressobj(-9)) == data


def test_a_compressor_is_shared_within_a_thread_only() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                data = os.urandom(300) + JSON
                assert inflate(packed(Deflate(threshold=0), data)) == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_codec_that_has_compressed_nothing_costs_nothing() -> None:
    tracemalloc.start()
    try:
        kept = [Deflate(compress_takeover=True, decompress_takeover=True) for _ in range(100)]
        assert tracemalloc.get_traced_memory()[0] < 100 * 1000
    finally:
        tracemalloc.stop()
    del kept


# ---- inflating -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("takeover", [False, True])
def test_our_own_messages_come_back(bits: int, takeover: bool) -> None:
    sender = Deflate(compress_bits=bits, compress_takeover=takeover, threshold=0)
    receiver = Deflate(decompress_bits=bits, decompress_takeover=takeover)
    payloads = [JSON, b"", os.urandom(1000), JSON, b"x", JSON * 50]
    got = received(receiver, *[packed(sender, payload) for payload in payloads])
    assert got == [("binary", payload) for payload in payloads]


def test_without_takeover_an_inflater_lives_for_one_message() -> None:
    assert received(Deflate(), HELLO, HELLO, HELLO_AGAIN) == [("binary", b"Hello")] * 2 + [("error", 1007)]


def test_with_takeover_the_window_is_kept_across_uncompressed_messages() -> None:
    stream = frame(TEXT, HELLO, rsv=4) + frame(BINARY, b"as it is") + frame(TEXT, HELLO_AGAIN, rsv=4)
    got = events([stream], expect_masked=False, deflate=Deflate(decompress_takeover=True))
    assert got == [("text", "Hello"), ("binary", b"as it is"), ("text", "Hello")]


@pytest.mark.parametrize("takeover", [False, True])
def test_inflating_is_bounded_as_it_goes(takeover: bool) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bomb.compress(bytes(50_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    assert len(data) < 60_000
    tracemalloc.start()
    try:
        got = received(Deflate(decompress_takeover=takeover), data[:-4], limit=100_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert got == [("error", 1009)]


def test_exactly_at_the_limit_is_fine() -> None:
    data = packed(Deflate(), bytes(10_000))
    assert received(Deflate(), data, limit=10_000) == [("binary", bytes(10_000))]
    assert received(Deflate(), data, limit=9_999) == [("error", 1009)]
    assert received(Deflate(), b"\x00", limit=0) == [("binary", b"")]


def test_the_limit_is_the_sum_over_fragments() -> None:
    data = packed(Deflate(), os.urandom(1000))
    for cut in (1, 100, 500, len(data) - 1):
        stream = frame(BINARY, data[:cut], rsv=4, fin=False) + frame(CONT, data[cut:])
        for limit, count in ((1000, 1000), (999, None)):
            got = events([stream], expect_masked=False, deflate=Deflate(), binary_limit=limit)
            assert got == [("error", 1009)] if count is None else len(got[0][1]) == count


def test_a_block_with_bfinal_ends_a_message_or_goes_on_in_it() -> None:
    """RFC 7692 §7.2.3.4: a peer may flush with BFINAL set, and pads with an empty byte."""

    def final(payload: bytes) -> bytes:
        one = zlib.compressobj(6, zlib.DEFLATED, -15)
        return one.compress(payload) + one.flush(zlib.Z_FINISH)

    assert received(Deflate(), final(b"Hello") + b"\x00") == [("binary", b"Hello")]
    assert received(Deflate(), final(b"Hello") + final(b" again") + b"\x00") == [("binary", b"Hello again")]
    assert received(Deflate(), final(b"Hello") + HELLO) == [("binary", b"HelloHello")]
    for takeover in (False, True):
        got = received(Deflate(decompress_takeover=takeover), final(b"Hello") + b"\x00", HELLO, final(b"x") + b"\x00")
        assert got == [("binary", b"Hello"), ("binary", b"Hello"), ("binary", b"x")]


def test_blocks_with_bfinal_are_bounded_too() -> None:
    one = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = one.compress(bytes(1000)) + one.flush(zlib.Z_FINISH)
    got = received(Deflate(), block * 100 + b"\x00", limit=100_000)
    assert got == [("binary", bytes(100_000))]
    assert received(Deflate(), block * 101 + b"\x00", limit=100_000) == [("error", 1009)]
    assert received(Deflate(), block * 5000 + b"\x00", limit=100_000) == [("error", 1009)]


@pytest.mark.slow
def test_many_blocks_with_bfinal_cost_no_square() -> None:
    """Each ends zlib's stream; what was behind it was copied for every one, which would outlast a test's time."""
    stream = b"\x03\x00" * 800_000 + HELLO
    assert received(Deflate(), stream) == [("binary", b"Hello")]


def test_which_limit_text_breaks_does_not_depend_on_its_pieces() -> None:
    one = zlib.compressobj(0, zlib.DEFLATED, -15)
    data = one.compress(b"abc\xff and more") + one.flush(zlib.Z_SYNC_FLUSH)
    stream = frame(TEXT, data[:-4], rsv=4)
    for limit, code in ((10, 1007), (4, 1007), (3, 1009)):
        for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
            assert events(pieces, expect_masked=False, deflate=Deflate(), text_limit=limit) == [("error", code)]


@pytest.mark.parametrize("data", [b"\x07", b"\xff\xff\xff", b"\x00\x05\x00\x00\x00Hello\x00", HELLO[:3] + b"\xfe" * 9])
def test_corrupt_data_is_1007(data: bytes) -> None:
    assert received(Deflate(), data) == [("error", 1007)]


def test_a_reference_behind_the_window_is_corrupt() -> None:
    assert received(Deflate(), HELLO_AGAIN) == [("error", 1007)]


def test_a_window_larger_than_agreed_is_corrupt_or_right_but_never_another_text() -> None:
    one = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = os.urandom(4000)
    data = (one.compress(block * 2) + one.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert received(Deflate(decompress_bits=9), data) in ([("error", 1007)], [("binary", block * 2)])


def test_the_parameters_can_be_read() -> None:
    deflate = Deflate(10, 11, True, False, 3, 4, 100)
    assert (deflate.compress_bits, deflate.decompress_bits) == (10, 11)
    assert (deflate.compress_takeover, deflate.decompress_takeover) == (True, False)
    assert (deflate.level, deflate.mem_level, deflate.threshold) == (3, 4, 100)


# ---- how many times as long ----------------------------------------------------------------------------------------

STRIDE = 65536


def judged(codec: Deflate, stream: bytes, size: int) -> object:
    """What becomes of a stream of one message that is read in pieces of *size*: its length, or the violation."""
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    (one,) = events(pieces, expect_masked=False, deflate=codec)
    return one if one[0] == "error" else len(one[1])


def test_the_ratio_of_a_message_is_the_same_however_it_is_read() -> None:
    noise = random.Random(1).randbytes(STRIDE)
    honest = b"".join(b'{"id": %d, "name": "firefly", "at": %d},' % (number, number * 7919) for number in range(8000))
    cases = {
        "zeros": (bytes(1 << 20), 100, ("error", 1009)),
        "zeros, at a ratio that nothing reaches": (bytes(1 << 20), 1100, 1 << 20),
        "zeros behind noise, which pays for some": (noise + bytes(20 * STRIDE), 10, ("error", 1009)),
        "as many as it pays for": (noise + bytes(8 * STRIDE), 10, 9 * STRIDE),
        "noise behind zeros comes too late": (bytes(2 * STRIDE) + noise * 9, 10, ("error", 1009)),
        "the longest that may have any ratio": (bytes(STRIDE - 1), 1, STRIDE - 1),
        "one byte more": (bytes(STRIDE), 1, ("error", 1009)),
        "what is compressed honestly": (honest, 60, len(honest)),
    }
    for name, (payload, ratio, expected) in cases.items():
        for takeover in (False, True):
            data = inflatable(payload)
            for cut in (len(data) // 2, len(data)):
                stream = frame(BINARY, data[:cut], rsv=4, fin=cut == len(data))
                stream += frame(CONT, data[cut:]) if cut < len(data) else b""
                for size in (len(stream), 7 if len(stream) < 20_000 else 1001):
                    codec = Deflate(decompress_takeover=takeover).bounded(ratio)
                    assert judged(codec, stream, size) == expected, (name, takeover, cut, size)


def inflatable(payload: bytes, *, final: bool = False) -> bytes:
    """A message's compressed payload; *final* ends each of zlib's streams, as RFC 7692 §7.2.3.4 allows."""
    if not final:
        one = zlib.compressobj(9, wbits=-15)
        return (one.compress(payload) + one.flush(zlib.Z_SYNC_FLUSH))[:-4]
    made = b""
    for at in range(0, len(payload), 100_000):
        one = zlib.compressobj(9, wbits=-15)
        made += one.compress(payload[at : at + 100_000]) + one.flush(zlib.Z_FINISH)
    return made + b"\0"


def test_each_message_has_a_ratio_of_its_own_and_streams_that_end_within_it_have_none() -> None:
    fits, bomb = inflatable(bytes(STRIDE - 1)), inflatable(bytes(2 * STRIDE))
    for takeover in (False, True):
        codec = Deflate(decompress_takeover=takeover).bounded(50)
        assert received(codec, fits, fits, fits, bomb) == [("binary", bytes(STRIDE - 1))] * 3 + [("error", 1009)]
    several = inflatable(bytes(300_000), final=True)
    assert received(Deflate().bounded(50), several) == [("error", 1009)]
    assert received(Deflate().bounded(2000), several) == [("binary", bytes(300_000))]


def test_who_is_refused_is_told_what_became_of_how_much() -> None:
    codec = FrameDeflate().bounded(100)
    packed = inflatable(bytes(1 << 20))
    with pytest.raises(InflatesTooMuch) as caught:
        codec.decode(wire(packed), None)
    error = caught.value
    assert (error.size, error.limit, error.option, error.code) == (STRIDE, 100, "max_inflate_ratio", 1009)
    assert 60 < error.compressed < 120
    assert error.close_text == str(error)
    assert str(error) == (
        f"{error.compressed} bytes inflate to 65536 and more, beyond max_inflate_ratio=100; "
        "raise it with .max_inflate_ratio(number)"
    )


def wire(payload: bytes, opcode: int = BINARY, *, fin: bool = True) -> Frame:
    """A compressed frame."""
    kind = BinaryFrame if opcode else ContinuationFrame
    return kind(payload, fin=fin).replace(rsv1=True)


def test_of_frames_that_are_compressed_each_for_itself_the_message_counts() -> None:
    fits = inflatable(bytes(STRIDE // 2))
    for takeover in (False, True):
        codec = FrameDeflate(decompress_takeover=takeover).bounded(50)
        for _ in range(3):
            assert len(codec.decode(wire(fits), None)[0].payload) == STRIDE // 2
        codec.decode(wire(fits, fin=False), None)
        with pytest.raises(InflatesTooMuch):
            codec.decode(wire(fits, 0), None)


def test_a_bounded_codec_has_the_parameters_of_the_one_it_is_made_of() -> None:
    for kind in (Deflate, FrameDeflate):
        codec = kind(10, 11, True, True, 3, 4, 99, None)
        made = codec.bounded(2)
        assert isinstance(made, kind)
        for name in ("compress_bits", "decompress_bits", "compress_takeover", "decompress_takeover", "level",
                     "mem_level", "threshold"):  # fmt: skip
            assert getattr(made, name) == getattr(codec, name), name
