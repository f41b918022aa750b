"""The parser alone: heads, lengths, reserved bits, mask direction, the order of fragments, its own limit."""

from __future__ import annotations

import pytest
from judge import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, frame

from firefly_ws import FrameTooBig, ProtocolError
from firefly_ws._core.parser import FrameSink, Parser
from firefly_ws._core.probe import frames


def client(*pieces: bytes, **how: int | None) -> list[tuple[int, bytes]]:
    return frames(pieces, expect_masked=False, **how)  # type: ignore[arg-type]


def refused(*pieces: bytes, **how: int | None) -> str:
    with pytest.raises(ProtocolError) as caught:
        client(*pieces, **how)
    assert caught.value.code == 1002
    return caught.value.message


def test_frames_come_with_their_first_byte_and_their_payload() -> None:
    assert client(b"\x81\x05Hello\x82\x00\x89\x01!") == [(0x81, b"Hello"), (0x82, b""), (0x89, b"!")]


def test_a_masked_frame_is_unmasked() -> None:
    assert frames([frame(TEXT, b"Hello", mask=KEY)], expect_masked=True) == [(0x81, b"Hello")]


def test_each_frame_has_its_own_mask() -> None:
    stream = frame(BINARY, b"one", mask=KEY) + frame(BINARY, b"two", mask=b"\xff\x00\xff\x00")
    assert frames([stream], expect_masked=True) == [(0x82, b"one"), (0x82, b"two")]


def test_a_zero_mask_is_a_mask() -> None:
    assert frames([frame(TEXT, b"Hello", mask=bytes(4))], expect_masked=True) == [(0x81, b"Hello")]


def test_nothing_is_nothing() -> None:
    assert client() == []
    assert client(b"", b"", b"") == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_every_form_of_a_length(size: int) -> None:
    data = bytes(size)
    assert client(frame(BINARY, data)) == [(0x82, data)]
    whole = frame(BINARY, data, mask=KEY)
    for cut in range(1, 15):
        assert frames([whole[:cut], whole[cut:]], expect_masked=True) == [(0x82, data)], cut


def test_a_head_may_come_in_any_pieces_behind_another_frame() -> None:
    stream = frame(PING, b"x", mask=KEY) + frame(BINARY, bytes(70000), mask=KEY)
    for start in range(7, 22):
        for end in range(start, 22):
            got = frames([stream[:start], stream[start:end], stream[end:]], expect_masked=True)
            assert got == [(0x89, b"x"), (0x82, bytes(70000))]


def test_empty_reads_between_the_bytes_change_nothing() -> None:
    stream = frame(TEXT, b"Hello")
    pieces = [piece for byte in stream for piece in (b"", bytes([byte]), b"")]
    assert client(*pieces) == [(0x81, b"Hello")]


@pytest.mark.parametrize(("bit", "reserved"), [(0x40, 0x30), (0x20, 0x50), (0x10, 0x60)])
def test_an_agreed_reserved_bit_passes_and_the_others_do_not(bit: int, reserved: int) -> None:
    assert client(bytes([0x81 | bit, 0]), reserved=reserved) == [(0x81 | bit, b"")]
    for other in {0x10, 0x20, 0x40} - {bit}:
        assert "no extension has agreed" in refused(bytes([0x81 | other, 0]), reserved=reserved)
        assert "no extension has agreed" in refused(bytes([0x81 | bit | other, 0]), reserved=reserved)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_no_extension_has_a_bit_on_a_control_frame(opcode: int) -> None:
    assert "on a control frame" in refused(frame(opcode, rsv=4), reserved=0x30)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_a_reserved_opcode_is_refused_by_name(opcode: int) -> None:
    assert refused(frame(opcode)) == f"opcode {opcode} is reserved"


def test_a_head_is_refused_before_its_length_is_there() -> None:
    assert "no extension" in refused(b"\xc1\x7f")
    assert "reserved" in refused(b"\x83\x7e")
    assert "continuation" in refused(b"\x80\x7e")
    assert "fragmented" in refused(b"\x09\x00")
    assert "more than 125" in refused(b"\x89\x7e")
    assert "is masked" in refused(b"\x81\xfe")


def test_the_first_byte_alone_is_not_judged() -> None:
    assert client(b"\xff") == []
    refused(b"\xff", b"\x00")


def test_the_mask_goes_one_way() -> None:
    assert refused(frame(TEXT, mask=KEY)) == "a server's frame is masked"
    with pytest.raises(ProtocolError, match="a client's frame is not masked"):
        frames([frame(TEXT)], expect_masked=True)


def test_the_order_of_fragments() -> None:
    assert client(frame(TEXT, fin=False) + frame(CONT, fin=False) + frame(CONT)) == [(1, b""), (0, b""), (0x80, b"")]
    assert "no message has begun" in refused(frame(CONT))
    assert "no message has begun" in refused(frame(TEXT) + frame(CONT))
    assert "no message has begun" in refused(frame(TEXT, fin=False), frame(CONT), frame(CONT))
    assert "has not ended" in refused(frame(TEXT, fin=False) + frame(BINARY))
    # The same where the first fragment came in parts, and so another way.
    assert "has not ended" in refused(frame(TEXT, b"xyz", fin=False)[:4], b"z" + frame(BINARY))


def test_control_frames_between_fragments_do_not_end_the_message() -> None:
    stream = frame(TEXT, fin=False) + frame(PING) + frame(PONG, b"x") + frame(CONT)
    assert [first for first, _ in client(stream)] == [0x01, 0x89, 0x8A, 0x80]


def test_lengths_are_in_their_shortest_form() -> None:
    for size, form in ((0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)):
        assert "shortest form" in refused(frame(BINARY, declared=size, length_form=form))


def test_a_length_has_63_bits() -> None:
    for length in (2**63, 2**64 - 1):
        assert "most significant bit" in refused(frame(BINARY, declared=length, length_form=64))
    assert client(frame(BINARY, declared=2**63 - 1)) == []


def test_a_frame_too_big_carries_its_facts() -> None:
    for length in (101, 126, 65536, 2**62):
        with pytest.raises(FrameTooBig) as caught:
            client(frame(BINARY, declared=length), max_frame_size=100)
        error = caught.value
        assert (error.size, error.limit, error.option, error.code) == (length, 100, "max_frame_size", 1009)
    assert client(frame(BINARY, bytes(100)), max_frame_size=100) == [(0x82, bytes(100))]
    assert client(frame(PING, bytes(125)), max_frame_size=100) == [(0x89, bytes(125))]


def test_a_frame_too_big_tells_its_size_however_it_is_cut() -> None:
    """The two bytes that announce a length in 16 bits were once taken for a length of 126."""
    head = frame(BINARY, declared=1000)
    for cut in range(1, len(head)):
        with pytest.raises(FrameTooBig) as caught:
            client(head[:cut], head[cut:], max_frame_size=100)
        assert caught.value.size == 1000


def test_no_frame_limit_is_no_limit() -> None:
    assert client(frame(BINARY, bytes(200_000)), max_frame_size=None) == [(0x82, bytes(200_000))]


def test_a_limit_of_nothing_lets_empty_frames_pass() -> None:
    assert client(frame(BINARY), max_frame_size=0) == [(0x82, b"")]
    with pytest.raises(FrameTooBig):
        client(frame(BINARY, b"x"), max_frame_size=0)


def test_a_parser_is_made_with_a_sink() -> None:
    Parser(FrameSink(), expect_masked=True)
    with pytest.raises(TypeError):
        Parser(object(), expect_masked=True)  # type: ignore[arg-type]
