"""Frames as values: made, compared, matched, shown, pickled; and the bytes of a Close."""

from __future__ import annotations

import copy
import pickle

import pytest
from every import for_each

from firefly_ws import (
    BinaryFrame,
    CloseCode,
    CloseFrame,
    CloseReason,
    ContinuationFrame,
    Frame,
    Opcode,
    PingFrame,
    PongFrame,
    TextFrame,
)
from firefly_ws._core.frames import close_payload

ALL = [
    TextFrame("héllo"),
    TextFrame(),
    BinaryFrame(b"\x00\xff"),
    ContinuationFrame(b"rest", fin=False),
    PingFrame(b"p"),
    PongFrame(b"q"),
    CloseFrame(1000, "bye"),
    CloseFrame(),
    Frame(2, b"plain", rsv1=True, rsv2=True, rsv3=True, fin=False),
]


def test_a_text_frame_has_its_text_and_its_bytes() -> None:
    frame = TextFrame("héllo")
    assert frame.text == frame.payload_as_utf8 == "héllo"
    assert frame.payload == "héllo".encode()
    assert len(frame) == 6
    assert (frame.opcode, frame.frame_type) == (1, Opcode.TEXT)
    assert (frame.fin, frame.rsv1, frame.rsv2, frame.rsv3, frame.is_control) == (True, False, False, False, False)
    assert TextFrame(b"bytes").text == "bytes"


def test_a_fragment_that_ends_within_a_character_has_bytes_and_no_text() -> None:
    frame = TextFrame(b"\xe2\x82", fin=False)
    assert frame.payload == b"\xe2\x82"
    with pytest.raises(UnicodeDecodeError):
        _ = frame.text


def test_a_binary_frame_has_its_data() -> None:
    assert BinaryFrame(b"abc").data == BinaryFrame(b"abc").payload == b"abc"
    assert BinaryFrame("text is encoded").data == b"text is encoded"


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a.b.c.")[::2]])
def test_a_payload_is_copied_so_that_the_frame_is_immutable(data: bytearray | memoryview) -> None:
    frame = BinaryFrame(data)
    if isinstance(data, bytearray):
        data[0] = 0
    assert frame.data == b"abc"
    assert type(frame.payload) is bytes


@for_each("name", ["opcode", "payload", "fin", "rsv1", "frame_type", "is_control"])
@for_each("frame", ALL)
def test_a_frame_is_immutable(frame: Frame, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(frame, name, 1)


def test_a_frame_takes_no_attributes() -> None:
    with pytest.raises(AttributeError):
        TextFrame("x").anything = 1  # type: ignore[attr-defined]


@for_each("kind", [TextFrame, BinaryFrame, ContinuationFrame, PingFrame, PongFrame])
@for_each("payload", [None, 17, 1.5, ["a"], object()])
def test_a_payload_is_bytes_like_or_text(kind: type[Frame], payload: object) -> None:
    with pytest.raises(TypeError, match=f"payload must be bytes-like, not {type(payload).__name__}"):
        kind(payload)  # type: ignore[arg-type]


@pytest.mark.parametrize("opcode", [-1, 3, 7, 11, 15, 16, 255])
def test_an_opcode_is_one_of_the_rfcs(opcode: int) -> None:
    with pytest.raises(ValueError, match=rf"opcode={opcode} is none of \[0, 1, 2, 8, 9, 10\]"):
        Frame(opcode)


@pytest.mark.parametrize("kind", [PingFrame, PongFrame])
def test_a_control_frame_has_at_most_125_bytes(kind: type[PingFrame] | type[PongFrame]) -> None:
    assert len(kind(bytes(125))) == 125
    with pytest.raises(ValueError, match=r"at most 125 bytes.*not fin=.* and 126 bytes"):
        kind(bytes(126))
    with pytest.raises(ValueError, match="final"):
        Frame(9, fin=False)


def test_a_close_frame_has_a_reason() -> None:
    assert CloseFrame(1000, "bye").reason == CloseReason(1000, "bye")
    assert CloseFrame(CloseCode.GOING_AWAY).reason == (1001, "")
    assert CloseFrame(CloseReason(4000, "ours")).reason == (4000, "ours")
    assert CloseFrame().reason is None
    assert CloseFrame(1000, "bye").payload == b"\x03\xe8bye"
    assert CloseFrame().payload == b""
    assert Frame(8, b"\x03\xe8bye") != CloseFrame(1001, "bye")


def test_frames_of_equal_content_are_equal_and_hash_alike() -> None:
    assert TextFrame("a") == TextFrame(b"a") == Frame(1, b"a")
    assert hash(TextFrame("a")) == hash(Frame(1, b"a"))
    assert TextFrame("a") != BinaryFrame(b"a")
    assert TextFrame("a") != TextFrame("a", fin=False)
    assert TextFrame("a") != TextFrame("a", rsv1=True)
    assert TextFrame("a") != TextFrame("b")
    assert TextFrame("a") != "a"
    assert len({TextFrame("a"), TextFrame("a"), Frame(1, b"a"), PingFrame(b"a")}) == 2


@pytest.mark.parametrize("first", range(len(ALL)))
def test_no_two_different_frames_are_equal(first: int) -> None:
    assert [index for index, other in enumerate(ALL) if other == ALL[first]] == [first]


def matched(frame: Frame) -> object:
    match frame:
        case TextFrame(text):
            return text
        case BinaryFrame(data):
            return data
        case CloseFrame(reason):
            return reason
        case PingFrame(payload) | PongFrame(payload) | ContinuationFrame(payload):
            return payload
    return None


def test_frames_can_be_matched() -> None:  # C5
    assert [matched(frame) for frame in ALL] == [
        "héllo", "", b"\x00\xff", b"rest", b"p", b"q", CloseReason(1000, "bye"), None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("frame", ALL, ids=repr)
def test_frames_survive_pickle_and_copy(frame: Frame) -> None:
    for other in (pickle.loads(pickle.dumps(frame)), copy.copy(frame), copy.deepcopy(frame)):
        assert other == frame
        assert (other.rsv1, other.rsv2, other.rsv3, other.fin) == (frame.rsv1, frame.rsv2, frame.rsv3, frame.fin)
    if type(frame) is not Frame:
        assert type(pickle.loads(pickle.dumps(frame))) is type(frame)


def test_a_frame_shows_what_it_is_and_not_all_of_it() -> None:
    assert repr(TextFrame("hi")) == "TextFrame(b'hi')"
    assert repr(BinaryFrame(b"hi", fin=False, rsv1=True)) == "BinaryFrame(b'hi', fin=False, rsv=100)"
    shown = repr(BinaryFrame(bytes(100_000)))
    assert len(shown) < 400
    assert "100000 bytes" in shown


# ---- the bytes of a Close ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_a_code_that_may_be_sent(code: int) -> None:
    assert close_payload(code, "ü") == code.to_bytes(2, "big") + "ü".encode()


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, 10**30])
def test_a_code_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match=f"code={code} may not be sent; allowed: 1000-1003, 1007-1014, 3000-4999"):
        close_payload(code)
    with pytest.raises(ValueError, match=f"code={code}"):
        CloseFrame(code)


@pytest.mark.parametrize("code", ["1000", 1000.0, True, b"x"])
def test_a_code_is_an_int(code: object) -> None:
    with pytest.raises(TypeError, match=r"code=.* must be an int"):
        close_payload(code)  # type: ignore[arg-type]


def test_a_reason_has_at_most_123_bytes() -> None:
    assert len(close_payload(1000, "x" * 123)) == 125
    assert len(close_payload(1000, "ü" * 61)) == 124
    with pytest.raises(ValueError, match="reason has 124 bytes of UTF-8, at most 123"):
        close_payload(1000, "x" * 124)
    with pytest.raises(ValueError, match="reason has 124 bytes"):
        close_payload(1000, "ü" * 62)
    with pytest.raises(TypeError, match="reason=b'x' must be a str"):
        close_payload(1000, b"x")  # type: ignore[arg-type]


def test_a_frame_is_changed_by_a_changed_copy() -> None:
    frame = TextFrame("hello", rsv2=True)
    assert frame.replace() == frame
    assert frame.replace() is not frame
    changed = frame.replace(payload=b"bye", fin=False, rsv1=True, rsv2=False)
    assert isinstance(changed, TextFrame)
    assert (changed.text, changed.fin, changed.rsv1, changed.rsv2, changed.rsv3) == ("bye", False, True, False, False)
    assert frame == TextFrame("hello", rsv2=True)
    assert BinaryFrame(b"").replace(payload="ä", rsv3=True) == BinaryFrame("ä".encode(), rsv3=True)
    with pytest.raises(TypeError, match="payload must be bytes-like, not int"):
        frame.replace(payload=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 125 bytes"):
        PingFrame(b"").replace(payload=bytes(126))
