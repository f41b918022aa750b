"""deflate-frame (draft-tyoshino-hybi-websocket-perframe-deflate-06): negotiated in both roles, its frames by bytes."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest

from firefly_ws import BinaryFrame, ContinuationFrame, DeflateFrame, Frame, InvalidPayload, TextFrame
from firefly_ws._core.deflate import FrameDeflate
from firefly_ws.extensions.deflate_frame import AgreedDeflateFrame
from firefly_ws.extensions.grammar import parse_items

DICE = random.Random(6)
TEXT = "hello, hello, firefly " * 20


def params(text: str) -> Any:
    return parse_items("deflate-frame" + (f"; {text}" if text else ""))[0].params


def answer(extension: DeflateFrame, offer: str) -> str | None:
    made = extension.answer(params(offer))
    return None if made is None else str(made).removeprefix("deflate-frame").removeprefix("; ")


def codec(agreed: AgreedDeflateFrame | None, is_client: bool, threshold: int | None = 0) -> FrameDeflate:
    assert agreed is not None
    made = agreed.codec(is_client, threshold)
    assert isinstance(made, FrameDeflate)
    return made


def inflated(window: Any, payload: bytes) -> bytes:
    """What zlib itself makes of a frame, its tail put back (§5.2)."""
    got: bytes = window.decompress(payload + b"\0\0\xff\xff")
    return got


def deflated(window: Any, payload: bytes) -> bytes:
    """A frame as another library would make it (§5.1)."""
    made: bytes = window.compress(payload) + window.flush(zlib.Z_SYNC_FLUSH)
    return made[:-4]


# --- negotiation


@pytest.mark.parametrize(
    ("ours", "offer", "answered"),
    [
        (DeflateFrame(), "", ""),
        (DeflateFrame(), "max_window_bits=10", "max_window_bits=10"),
        (DeflateFrame(), "no_context_takeover", "no_context_takeover"),
        (DeflateFrame(max_window_bits=9), "max_window_bits=10", "max_window_bits=9"),
        (DeflateFrame(max_window_bits=12, context_takeover=False), "", "max_window_bits=12; no_context_takeover"),
        (DeflateFrame(), "max_window_bits=15", ""),
        (DeflateFrame(), "max_window_bits=8", None),
        (DeflateFrame(), "max_window_bits=16", None),
        (DeflateFrame(), "max_window_bits", None),
        (DeflateFrame(), "max_window_bits=010", None),
        (DeflateFrame(), "max_window_bits=10; max_window_bits=10", None),
        (DeflateFrame(), "no_context_takeover=1", None),
        (DeflateFrame(), "no_context_takeover; no_context_takeover", None),
        (DeflateFrame(), "unknown", None),
    ],
)
def test_a_server_answers_with_what_holds_for_both(ours: DeflateFrame, offer: str, answered: str | None) -> None:  # F7
    assert answer(ours, offer) == answered


@pytest.mark.parametrize(
    ("ours", "offer"),
    [
        (DeflateFrame(), ""),
        (DeflateFrame(max_window_bits=10), "max_window_bits=10"),
        (DeflateFrame(context_takeover=False), "no_context_takeover"),
        (DeflateFrame(max_window_bits=9, context_takeover=False), "max_window_bits=9; no_context_takeover"),
    ],
)
def test_a_client_offers_what_it_was_given(ours: DeflateFrame, offer: str) -> None:
    assert ours.offers() == (params(offer),)


def test_an_answer_bounds_the_clients_frames_and_its_offer_the_servers() -> None:
    agreed = DeflateFrame(max_window_bits=12).confirm(params("max_window_bits=10; no_context_takeover"))
    made = codec(agreed, True)
    assert (made.compress_bits, made.compress_takeover) == (10, False)
    assert (made.decompress_bits, made.decompress_takeover) == (12, True)
    silent = codec(DeflateFrame(max_window_bits=12, context_takeover=False).confirm(()), True)
    assert (silent.compress_bits, silent.compress_takeover) == (12, False)
    assert (silent.decompress_bits, silent.decompress_takeover) == (12, False)


@pytest.mark.parametrize("wrong", ["max_window_bits=7", "max_window_bits=x", "no_context_takeover=0", "else=1"])
def test_a_client_refuses_an_answer_that_nobody_understands(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong.partition("=")[0]):
        DeflateFrame().confirm(params(wrong))


def test_a_client_bounded_to_eight_bits_sends_all_uncompressed() -> None:
    made = codec(DeflateFrame().confirm(params("max_window_bits=8")), True)
    frame = TextFrame(TEXT)
    assert made.encode(frame) == (frame,)


@pytest.mark.parametrize("is_client", [False, True])
def test_the_threshold_is_the_policys_unless_it_has_its_own(is_client: bool) -> None:
    assert codec(DeflateFrame().answer(()), is_client, 64).threshold == 64
    assert codec(DeflateFrame().answer(()), is_client, None).threshold == 0
    assert codec(DeflateFrame(threshold=7).answer(()), is_client, 64).threshold == 7


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"max_window_bits": 8}, "max_window_bits=8 must be an int from 9 to 15"),
        ({"level": 0}, "level=0 must be an int from 1 to 9"),
        ({"mem_level": 10}, "mem_level=10"),
        ({"threshold": -1}, "threshold=-1 must be an int, at least 0"),
        ({"name": "deflate"}, "name='deflate' must be one of deflate-frame, x-webkit-deflate-frame"),
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        DeflateFrame(**wrong)


@pytest.mark.parametrize("wrong", [{"context_takeover": 1}, {"compress_if": 5}, {"level": "6"}])
def test_a_value_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        DeflateFrame(**wrong)


# --- frames


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("takeover", [False, True])
def test_each_frame_is_compressed_for_itself_and_zlib_reads_it(bits: int, takeover: bool) -> None:  # F7
    made = FrameDeflate(bits, 15, takeover, True, threshold=0)
    window = zlib.decompressobj(-bits)
    frames: list[Frame] = [
        TextFrame(TEXT, fin=False),
        ContinuationFrame(TEXT, fin=False),
        ContinuationFrame(b""),
        BinaryFrame(DICE.randbytes(5000)),
        BinaryFrame(b"", rsv2=True),
    ]
    for frame in frames:
        (sent,) = made.encode(frame)
        assert sent.rsv1
        assert (type(sent), sent.fin, sent.rsv2) == (type(frame), frame.fin, frame.rsv2)
        assert not sent.payload.endswith(b"\0\0\xff\xff")
        if not takeover:
            window = zlib.decompressobj(-bits)
        assert inflated(window, sent.payload) == frame.payload


def test_the_context_lives_on_from_frame_to_frame_unless_that_was_refused() -> None:
    with_context, without = FrameDeflate(15, 15, True, True), FrameDeflate()
    for made in (with_context, without):
        sizes = [len(made.encode(TextFrame(TEXT))[0]) for _ in range(2)]
        assert (sizes[1] < sizes[0] / 2) == (made is with_context)


@pytest.mark.parametrize("takeover", [False, True])
def test_what_another_library_compresses_is_inflated_frame_by_frame(takeover: bool) -> None:
    window = zlib.compressobj(9, zlib.DEFLATED, -15)
    made = FrameDeflate(15, 15, False, takeover)
    for payload in [TEXT.encode(), b"", TEXT.encode(), DICE.randbytes(3000), b"x" * 100_000]:
        if not takeover:
            window = zlib.compressobj(9, zlib.DEFLATED, -15)
        frame = ContinuationFrame(deflated(window, payload), fin=False, rsv1=True)
        assert made.decode(frame, None) == (ContinuationFrame(payload, fin=False),)


def test_a_frame_without_the_bit_goes_as_it_is_both_ways() -> None:
    made = FrameDeflate(threshold=5, compress_if=lambda payload: payload != b"not this")
    for frame in (BinaryFrame(b"1234"), BinaryFrame(b"not this"), ContinuationFrame(b"")):
        assert made.encode(frame) == (frame,)
        assert made.decode(frame, 0) == (frame,)


def test_no_more_is_inflated_than_the_limit_and_one_byte() -> None:
    bomb = BinaryFrame(deflated(zlib.compressobj(9, zlib.DEFLATED, -15), bytes(10_000_000)), rsv1=True)
    for limit in (0, 1000, 9_999_999):
        (frame,) = FrameDeflate().decode(bomb, limit)
        assert len(frame) == limit + 1
    assert len(FrameDeflate().decode(bomb, 10_000_000)[0]) == 10_000_000


def test_what_does_not_inflate_is_the_peers_fault() -> None:
    with pytest.raises(InvalidPayload):
        FrameDeflate().decode(BinaryFrame(b"\xff\xff\xff", rsv1=True), None)
