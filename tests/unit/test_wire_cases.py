"""Parser and messages are asked what the judge is asked, each stream cut in four ways, in both roles."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from every import for_each
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from judge import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, Event, close_payload, frame, judge
from wire_cases import Case, cases

from firefly_ws._core.deflate import Deflate
from firefly_ws._core.probe import compress, events

CORPUS = cases()
LIMITS = {"max_message_size", "max_text_message_size", "max_binary_message_size"}
PATIENT = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def decode(pieces: list[bytes], role: str, options: dict[str, Any]) -> list[Event]:
    """The library's events, under the judge's options."""
    given = dict(options)
    limit = given.pop("max_message_size", 1024 * 1024)
    text, binary = given.pop("max_text_message_size", None), given.pop("max_binary_message_size", None)
    deflate = None
    takeover = given.pop("takeover", False)
    if given.pop("deflate", False):
        deflate = Deflate(decompress_takeover=takeover)
    return events(
        pieces,
        expect_masked=role == "server",
        deflate=deflate,
        text_limit=limit if text is None else text,
        binary_limit=limit if binary is None else binary,
        max_frame_size=given.pop("max_frame_size", None),
        max_fragments=given.pop("max_fragments", 131072),
        **given,
    )


def ways(data: bytes, seed: int = 0, rounds: int = 3) -> Iterator[tuple[str, list[bytes]]]:
    yield "whole", [data]
    yield "a byte at a time", [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(seed)
    for _ in range(rounds if len(data) > 2 else 0):
        marks = sorted(dice.choices(range(len(data) + 1), k=dice.randint(1, 8)))
        pieces = [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]
        yield f"cut at {marks}", pieces


def agree(data: bytes, role: str, options: dict[str, Any], seed: int = 0) -> None:
    expected = judge(data, role, **options)
    for name, pieces in ways(data, seed):
        assert decode(pieces, role, options) == expected, name


def another(role: str) -> bytes:
    return frame(TEXT, b"another", mask=KEY if role == "server" else None)


@for_each("name", CORPUS)
def test_a_case_gives_its_events_whole_bytewise_cut_and_beside_other_frames(name: str) -> None:  # K4
    case: Case = CORPUS[name]
    options = dict(case.options)
    for way, pieces in ways(case.data, len(name)):
        assert decode(pieces, case.role, options) == case.events, way
    agree(case.data + another(case.role), case.role, options, len(name))
    if not LIMITS & options.keys():  # which the frame before might break
        # Heads begin at any offset of what was read, not only at its first byte.
        data, expected = another(case.role) + case.data, [("text", "another"), *case.events]
        assert decode([data], case.role, options) == expected
        assert decode([data[:5], data[5:]], case.role, options) == expected


@pytest.mark.parametrize("offset", range(8))
def test_a_mask_is_right_at_every_alignment(offset: int) -> None:
    """Masks are applied by words; what comes before shifts the payload against them."""
    before = frame(PING, b"p" * offset, mask=KEY)
    for size in (*range(70), 125, 126, 127, 1000, 4095, 4096, 4097, 65535, 65536):
        data = bytes((index * 31 + size) & 0xFF for index in range(size))
        stream = before + frame(BINARY, data, mask=b"\x01\x80\xfe\x7f")
        assert decode([stream], "server", {}) == [("ping", b"p" * offset), ("binary", data)], size


def test_a_mask_goes_on_where_a_read_ended() -> None:
    data = bytes(range(80))
    stream = frame(BINARY, data, mask=b"\x11\x22\x33\x44")
    for cut in range(1, len(stream)):
        for second in range(cut, len(stream), 7):
            pieces = [stream[:cut], stream[cut:second], stream[second:]]
            assert decode(pieces, "server", {}) == [("binary", data)], (cut, second)


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_text_is_checked_by_words_and_by_bytes_alike(character: str) -> None:
    for at in range(41):
        good = ("a" * at + character + "b" * (40 - at)).encode()
        agree(frame(TEXT, good, mask=KEY), "server", {}, at)
        for bad in (good[: at + 1] + good[at + 2 :], good[:at] + b"\x80" + good[at + 1 :]):
            agree(frame(TEXT, bad, mask=KEY, fin=False), "server", {}, at)
            agree(frame(TEXT, bad), "client", {}, at)


# ---- streams that nobody thought of --------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.text(alphabet="aé€😀\x00", max_size=40).map(str.encode),
    st.binary(max_size=12),
    st.sampled_from([b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f", b"a" * 130, b"\xe2\x82\xac" * 50]),
)
payloads = st.one_of(st.binary(max_size=40), st.sampled_from([bytes(125), bytes(126), bytes(300)]))
closes = st.one_of(
    st.just(b""),
    st.binary(max_size=4),
    st.builds(close_payload, st.sampled_from([1000, 1001, 1004, 1005, 1014, 1016, 2999, 3000, 4999, 5000]), texts),
)


@st.composite
def messages(draw: st.DrawFn, mask: st.SearchStrategy[bytes | None], packed: bool) -> bytes:
    """One message in any number of fragments, control frames between; its fragments need not respect anything."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(texts if opcode == TEXT else payloads)
    rsv = 0
    if packed and draw(st.booleans()):
        one = zlib.compressobj(draw(st.sampled_from([0, 1, 6, 9])), zlib.DEFLATED, -15)
        flush = draw(st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH]))
        payload = one.compress(payload) + one.flush(flush)
        payload = payload + b"\x00" if flush == zlib.Z_FINISH else payload[:-4]
        rsv = 4
        if draw(st.integers(0, 9)) == 0:
            payload = draw(st.binary(max_size=20))
    marks = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    pieces = [payload[start:end] for start, end in zip([0, *marks], [*marks, len(payload)], strict=True)]
    out = []
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        out.append(frame(opcode if index == 0 else CONT, piece, fin=last, rsv=0 if index else rsv, mask=draw(mask)))
        if not last and draw(st.integers(0, 3)) == 0:
            out.append(frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=5)), mask=draw(mask)))
    return b"".join(out)


@st.composite
def any_frame(draw: st.DrawFn, mask: st.SearchStrategy[bytes | None]) -> bytes:
    """Any head at all over a small payload."""
    payload = draw(st.binary(max_size=20))
    form = draw(st.sampled_from([None, None, None, 16, 64]))
    return frame(
        draw(st.integers(0, 15)),
        payload,
        fin=draw(st.booleans()),
        rsv=draw(st.sampled_from([0, 0, 0, 4, 1, 7])),
        mask=draw(st.one_of(mask, mask, mask, st.sampled_from([None, KEY]))),
        length_form=form,
        declared=draw(st.one_of(st.none(), st.sampled_from([0, 126, 65535, 65536, 2**63 - 1, 2**63, 2**64 - 1])))
        if form == 64
        else None,
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, bytes, dict[str, Any]]:
    role = draw(st.sampled_from(["server", "client"]))
    mask: st.SearchStrategy[bytes | None] = st.binary(min_size=4, max_size=4) if role == "server" else st.none()
    packed = draw(st.booleans())
    control = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=mask)
    close = st.builds(frame, st.just(CLOSE), closes.filter(lambda one: len(one) <= 125), mask=mask)
    whole = messages(mask, packed)
    parts = draw(st.lists(st.one_of(whole, whole, whole, whole, control, any_frame(mask), close), max_size=8))
    data = b"".join(parts)
    if draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    options: dict[str, Any] = {}
    if packed:
        options = {"deflate": True, "takeover": draw(st.booleans())}
    for name, some in (
        ("max_message_size", [None, 0, 1, 20, 125, 126, 127]),
        ("max_text_message_size", [5, 50]),
        ("max_binary_message_size", [5, 50]),
        ("max_frame_size", [0, 10, 100, 125, 126, 200]),
        ("max_fragments", [1, 2, 3]),
    ):
        if draw(st.integers(0, 3)) == 0:
            options[name] = draw(st.sampled_from(some))
    return role, data, options


@PATIENT
@given(streams(), st.integers(0, 2**32))
# A length in 16 bits that could be 7: an error of form, however it is cut, before one of size.
@example(("client", frame(BINARY, b"x" * 5, length_form=16), {"max_frame_size": 100}), 0)
# Text that is not UTF-8 just below its limit, inflated in one go with what is above it.
@example(("client", bytes.fromhex("c10c000600f9ff00000000800000"), {"deflate": True, "max_message_size": 5}), 0)
def test_any_stream_is_judged_alike(stream: tuple[str, bytes, dict[str, Any]], seed: int) -> None:
    role, data, options = stream
    agree(data, role, options, seed)


@pytest.mark.slow
@settings(PATIENT, max_examples=5000)
@given(streams(), st.integers(0, 2**32))
def test_thousands_of_streams_are_judged_alike(stream: tuple[str, bytes, dict[str, Any]], seed: int) -> None:
    role, data, options = stream
    agree(data, role, options, seed)


@PATIENT
@given(st.binary(max_size=60), st.sampled_from(["server", "client"]), st.booleans(), st.integers(0, 2**32))
def test_any_bytes_are_judged_alike(data: bytes, role: str, deflate: bool, seed: int) -> None:
    agree(data, role, {"deflate": deflate}, seed)


@PATIENT
@given(st.lists(texts, max_size=5), st.integers(9, 15), st.booleans(), st.sampled_from(["server", "client"]))
def test_what_one_end_compresses_the_judge_inflates(
    payloads: list[bytes], bits: int, takeover: bool, role: str
) -> None:
    one = Deflate(compress_bits=bits, compress_takeover=takeover, threshold=0)
    key = KEY if role == "server" else None
    stream = b"".join(frame(BINARY, compress(one, payload) or b"", rsv=4, mask=key) for payload in payloads)
    expected: list[Event] = [("binary", payload) for payload in payloads]
    assert judge(stream, role, deflate=True, takeover=takeover) == expected
    assert decode([stream], role, {"deflate": True, "takeover": takeover}) == expected
