"""Chains of extensions, with codecs made up for the purpose: order, bits, bounds, and what a codec may not do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from fakes import ROLES, Log, Peer, turns
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import BINARY, CONT, PING, TEXT
from judge import frame as frame_of

from firefly_ws import BinaryFrame, ContinuationFrame, Frame, InvalidPayload, PingFrame, ProtocolError, QueueOverflow
from firefly_ws._core.chain import Chain
from firefly_ws._core.deflate import Deflate, FrameDeflate
from firefly_ws._core.probe import frames
from firefly_ws.extensions.fragment import AgreedFragment
from firefly_ws.streaming import send_stream


class Mark:
    """Adds a letter on the way out, takes it off on the way in."""

    def __init__(self, letter: bytes, rsv: str = "") -> None:
        self.letter, self.rsv = letter, rsv

    def bits(self, on: bool) -> dict[str, bool]:
        return {self.rsv: on} if self.rsv else {}

    def encode(self, frame: Frame) -> list[Frame]:
        return [frame.replace(payload=frame.payload + self.letter, **self.bits(True))]  # type: ignore[arg-type]

    def decode(self, frame: Frame, limit: int | None) -> list[Frame]:
        assert frame.payload.endswith(self.letter), frame
        return [frame.replace(payload=frame.payload[: -len(self.letter)], **self.bits(False))]  # type: ignore[arg-type]


class Same:
    """Changes nothing, but for the method that is overwritten."""

    def __init__(
        self,
        encode: Callable[[Frame], Any] = lambda frame: [frame],
        decode: Callable[[Frame, int | None], Any] = lambda frame, limit: [frame],
    ) -> None:
        self.encode, self.decode = encode, decode


def chain(*codecs: Any, rsv: Iterable[int] = ()) -> Chain:
    bits = [*rsv, *([0] * len(codecs))]
    return Chain((f"x-{at}", bits[at], codec) for at, codec in enumerate(codecs))


def wire(peer: Peer) -> list[tuple[int, bytes]]:
    """The frames that a connection has sent: first byte and payload."""
    peer.connection.flush()
    got: list[tuple[int, bytes]] = frames([b"".join(peer.transport.writes)], expect_masked=peer.is_client, reserved=0)
    return got


# --- order and bits


@ROLES
async def test_what_is_sent_passes_the_chain_in_order_and_what_comes_the_other_way_round(is_client: bool) -> None:
    log = Log()
    peer = Peer(is_client=is_client, chain=chain(Mark(b"1"), Mark(b"2")), **log.on("text", "binary"))
    peer.connection.send("out")
    peer.connection.send(b"")
    assert wire(peer) == [(0x81, b"out12"), (0x82, b"12")]
    peer.send(TEXT, b"in12")
    peer.send(BINARY, b"12")
    assert log == [("text", "in"), ("binary", b"")]


async def test_claimed_bits_are_set_on_the_wire_and_cleared_for_the_next() -> None:
    log = Log()
    peer = Peer(chain=chain(Mark(b"1", "rsv2"), Mark(b"2", "rsv3"), rsv=[2, 1]), **log.on("message"))
    peer.connection.send("out")
    assert wire(peer) == [(0xB1, b"out12")]
    peer.send(TEXT, b"in12", rsv=3)
    assert [(one.payload, one.rsv2, one.rsv3) for _, one in log] == [(b"in", False, False)]


async def test_a_bit_that_nobody_has_claimed_is_the_peers_violation() -> None:
    log = Log()
    peer = Peer(chain=chain(Mark(b"1"), rsv=[2]), **log.on("text", "error"))
    peer.send(TEXT, b"in1", rsv=4)
    assert isinstance(peer.connection.error, ProtocolError)
    assert peer.connection.close_sent is not None
    assert peer.connection.close_sent.code == 1002


async def test_control_frames_pass_by_on_both_ways() -> None:
    log = Log()
    peer = Peer(chain=chain(Mark(b"1")), **log.on("ping", "text"))
    peer.connection.ping(b"out")
    peer.send(TEXT, b"begun1", fin=False)
    peer.send(PING, b"in")
    peer.send(CONT, b" and ended1")
    assert log == [("ping", b"in"), ("text", "begun and ended")]
    assert wire(peer) == [(0x89, b"out"), (0x8A, b"in")]


async def test_frames_are_seen_by_on_frame_as_on_the_wire() -> None:
    log = Log()
    peer = Peer(chain=chain(Mark(b"1")), **log.on("frame", "text"))
    peer.send(TEXT, b"in1")
    assert [(kind, getattr(what, "payload", what)) for kind, what in log] == [("frame", b"in1"), ("text", "in")]


async def test_one_frame_may_become_several_and_several_one() -> None:
    log, kept = Log(), list[bytes]()

    def join(frame: Frame, limit: int | None) -> Iterable[Frame]:
        kept.append(frame.payload)
        if frame.fin:
            yield BinaryFrame(b"".join(kept))

    def split(frame: Frame) -> Iterable[Frame]:
        yield BinaryFrame(frame.payload[:1], fin=False)
        yield ContinuationFrame(frame.payload[1:])

    peer = Peer(chain=chain(Same(split, join)), **log.on("binary"))
    peer.connection.send(b"out")
    assert wire(peer) == [(0x02, b"o"), (0x80, b"ut")]
    peer.send(BINARY, b"i", fin=False)
    peer.send(CONT, b"n")
    assert log == [("binary", b"in")]


async def test_a_frame_that_comes_in_pieces_is_decoded_when_it_is_whole() -> None:
    log = Log()
    peer = Peer(chain=chain(Mark(b"1")), **log.on("binary", "ping"))
    data = peer.frame(BINARY, b"x" * 300 + b"1") + peer.frame(PING, b"p") + peer.frame(TEXT, b"1")
    for at in range(len(data)):
        peer.feed(data[at : at + 1])
    assert log == [("binary", b"x" * 300), ("ping", b"p")]


# --- bounds


@pytest.mark.parametrize("limit", ["max_message_size", "max_binary_message_size"])
async def test_a_message_may_grow_on_its_way_but_not_at_its_end(limit: str) -> None:
    log = Log()
    letters = Mark(b"12345")
    peer = Peer(chain=chain(letters), limits={limit: 100}, **log.on("binary", "error"))
    peer.send(BINARY, b"x" * 100 + b"12345")
    assert log == [("binary", b"x" * 100)]
    peer.send(BINARY, b"x" * 101 + b"12345")
    assert peer.connection.close_sent is not None
    assert peer.connection.close_sent.code == 1009
    assert f"at least 101 bytes exceeds {limit}=100" in str(peer.connection.error)


async def test_what_no_extension_could_shrink_is_refused_by_its_head() -> None:
    peer = Peer(chain=chain(Same()), limits={"max_message_size": 1000}, binary=print)
    peer.feed(peer.frame(BINARY, bytes(1000 + 125 + 4097))[:8])
    assert "exceeds max_message_size=1000" in str(peer.connection.error)


async def test_fragments_on_the_way_are_summed_up() -> None:
    peer = Peer(chain=chain(Same(decode=lambda frame, limit: [])), limits={"max_message_size": 1000}, binary=print)
    peer.send(BINARY, bytes(3000), fin=False)
    peer.send(CONT, bytes(2000), fin=False)
    assert peer.connection.error is None
    peer.send(CONT, bytes(1000), fin=False)
    assert "at least 6000 bytes exceeds max_message_size=1000" in str(peer.connection.error)


async def test_an_extension_that_makes_too_much_of_a_message_is_stopped_on_the_way() -> None:
    made = []

    def swell(frame: Frame, limit: int | None) -> Iterable[Frame]:
        yield frame.replace(fin=False)
        while True:
            made.append(limit)
            yield ContinuationFrame(bytes(1000), fin=False)

    peer = Peer(chain=chain(Same(decode=swell)), limits={"max_message_size": 1000}, binary=print)
    peer.send(BINARY, b"")
    assert made == [1000 + 125 + 4096] * 6
    assert peer.connection.close_sent is not None
    assert peer.connection.close_sent.code == 1009


async def test_the_limit_that_decode_is_told_is_what_the_message_has_left() -> None:
    told = list[Any]()

    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        told.append(limit)
        return [frame]

    for most, expected in [(0, [4096, 4086, 4096]), (None, [None, None, None])]:
        told.clear()
        peer = Peer(chain=chain(Same(decode=decode)), limits={"max_message_size": most}, binary=print)
        peer.send(BINARY, b"", fin=False)
        if most is None:
            peer.send(CONT, b"x" * 10)
            peer.send(BINARY, b"")
            assert told == expected
        else:
            assert told == expected[:1]


async def test_a_flood_of_small_frames_leaves_the_loop_to_others() -> None:
    log = Log()
    peer = Peer(chain=chain(Same(decode=lambda frame, limit: [])), **log.on("text"))
    peer.feed(peer.frame(BINARY, b"") * 5000)
    assert peer.connection.discarded == 0
    assert not peer.transport.reading
    await turns(10)
    assert peer.transport.reading


async def test_a_send_that_the_outbox_has_no_room_for_never_reaches_the_codecs() -> None:
    seen = list[Frame]()

    def encode(frame: Frame) -> list[Frame]:
        seen.append(frame)
        return [frame]

    peer = Peer(chain=chain(Same(encode)), limits={"max_write_buffer": 1000, "write_high_water": 100,
                                                   "write_low_water": 10})  # fmt: skip
    peer.transport.stuck = True
    peer.connection.send(bytes(600))
    with pytest.raises(QueueOverflow):
        peer.connection.send(bytes(600))
    assert len(seen) == 1
    assert peer.connection.is_open


# --- what a codec may not do

WRONG: dict[str, tuple[Any, str]] = {
    "raises": (lambda *_: 1 / 0, "division by zero"),
    "returns nothing": (lambda *_: None, "returned None; it must return frames, as in \\[frame\\]"),
    "returns one frame": (lambda frame, *_: frame, "it must return frames"),
    "returns bytes": (lambda frame, *_: frame.payload, "among its frames; each must be a Frame"),
    "returns strings": (lambda *_: ["x"], "returned 'x' among its frames"),
    "makes a ping": (lambda *_: [PingFrame()], "an extension makes data frames only"),
    "sets a bit": (lambda frame, *_: [frame.replace(rsv3=True)], "reserved bits 001; 000 are claimed"),
    "continues nothing": (lambda *_: [ContinuationFrame(b"")], "a continuation frame, and no message has begun"),
    "begins twice": (lambda *_: [BinaryFrame(b"", fin=False), BinaryFrame(b"")], "the one before has not ended"),
}


async def coroutine(*_: Any) -> list[Frame]:
    return []


WRONG["is a coroutine"] = (coroutine, "it must return frames")


@pytest.mark.parametrize("why", WRONG)
async def test_a_codec_that_fails_on_the_way_in_ends_the_connection_with_1011(
    why: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, text = WRONG[why]
    log = Log()
    peer = Peer(chain=chain(Mark(b"0"), Same(decode=wrong)), **log.on("text", "error", "close"))
    with caplog.at_level(logging.ERROR, "firefly_ws"):
        peer.send(TEXT, b"in0")
    assert "the extension x-1 failed" in caplog.text
    assert peer.connection.close_sent == (1011, "")
    peer.send(TEXT, b"more0")
    peer.eof()
    await turns()
    ((kind, error), (last, _)) = log
    assert (kind, last) == ("error", "close")
    assert not isinstance(error, ProtocolError)
    with pytest.raises(type(error), match=text):
        raise error
    assert error.__notes__ == ["raised by the extension x-1"]


@pytest.mark.parametrize("why", WRONG)
async def test_a_codec_that_fails_on_the_way_out_raises_from_the_send_and_ends_the_connection(why: str) -> None:
    wrong, text = WRONG[why]
    log = Log()
    peer = Peer(chain=chain(Same(encode=wrong), Mark(b"1")), **log.on("error"))
    with pytest.raises(Exception, match=text) as raised:
        peer.connection.send("out")
    assert wire(peer) == [(0x88, b"\x03\xf3")]
    assert peer.connection.messages_sent == 0
    peer.lose()
    assert log == [("error", raised.value)]


async def test_messages_before_a_failing_codec_are_handed_over_first() -> None:
    log = Log()

    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        if frame.payload == b"bad":
            raise RuntimeError("bad")
        return [frame]

    peer = Peer(chain=chain(Same(decode=decode)), **log.on("text"))
    peer.connection.pause_reading()
    peer.connection.resume_reading()
    peer.feed(peer.frame(TEXT, b"1"), peer.frame(TEXT, b"2"), peer.frame(TEXT, b"bad"), peer.frame(TEXT, b"3"))
    await turns()
    assert log == [("text", "1"), ("text", "2")]
    assert isinstance(peer.connection.error, RuntimeError)


async def test_a_codec_may_blame_the_peer() -> None:
    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        raise InvalidPayload("the checksum is wrong")

    peer = Peer(chain=chain(Same(decode=decode)), text=print)
    peer.send(TEXT, b"in")
    assert peer.connection.close_sent == (1007, "the checksum is wrong")


async def test_a_codec_that_makes_more_than_may_wait_is_stopped() -> None:
    def swell(frame: Frame) -> Iterable[Frame]:
        yield frame.replace(fin=False)
        while True:
            yield ContinuationFrame(b"", fin=False)

    peer = Peer(chain=chain(Same(encode=swell)), limits={"max_write_buffer": 10_000})
    with pytest.raises(QueueOverflow):
        peer.connection.send("out")
    assert peer.connection.close_sent == (1011, "")


async def test_what_comes_behind_our_close_is_counted_and_not_decoded() -> None:
    seen = list[Frame]()

    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        seen.append(frame)
        return [frame]

    peer = Peer(chain=chain(Same(decode=decode)), text=print)
    peer.connection.close()
    whole = peer.frame(TEXT, b"x" * 10)
    peer.feed(whole, whole[:8])
    peer.feed(whole[8:])
    assert not seen
    assert peer.connection.discarded == 20


@pytest.mark.parametrize("codec", [object(), 5, "identity"])
def test_a_codec_without_its_methods_is_refused_at_once(codec: Any) -> None:
    with pytest.raises(TypeError, match=r"x-0: codec\(\) returned .* it must have the methods encode and decode"):
        chain(codec)


# --- what is there, in any order that works

# What each claims, whether frames must come back whole, and whether it cuts them.
BUILT: dict[str, tuple[int, bool, bool, Callable[[], Any]]] = {
    "permessage-deflate": (4, False, False, lambda: Deflate(threshold=5)),
    "with takeover": (4, False, False, lambda: Deflate(15, 15, True, True, threshold=0)),
    "deflate-frame": (4, True, False, lambda: FrameDeflate(10, 10, True, True, threshold=5)),
    "deflate-frame alone": (4, True, False, lambda: FrameDeflate(threshold=0)),
    "fragment": (0, False, True, lambda: AgreedFragment(7).codec(True, None)),
    "fragment by bytes": (0, False, True, lambda: AgreedFragment(1).codec(True, None)),
    "mark": (2, True, False, lambda: Mark(b"!", "rsv2")),
    "late mark": (1, True, False, lambda: Mark(b"??", "rsv3")),
}


@st.composite
def legal_chains(draw: st.DrawFn) -> list[str]:
    picked: list[str] = []
    bits, whole = 0, False
    for name in draw(st.permutations(list(BUILT))):
        rsv, per_frame, cuts, _ = BUILT[name]
        if draw(st.booleans()) and not bits & rsv and not (whole and cuts):
            picked.append(name)
            bits |= rsv
            whole |= per_frame
    return picked


messages = st.lists(
    st.one_of(st.binary(max_size=60), st.text(max_size=40), st.binary(max_size=3).map(lambda data: data * 300)),
    max_size=8,
)


def built(names: list[str]) -> Chain:
    return Chain([(name, BUILT[name][0], BUILT[name][3]()) for name in names])


@settings(max_examples=150, deadline=None)
@given(names=legal_chains(), sent=messages, fragments=st.booleans(), data=st.data())
async def test_any_chain_gives_back_any_messages_however_they_are_cut(
    names: list[str], sent: list[str | bytes], fragments: bool, data: st.DataObject
) -> None:  # F7
    got = list[Any]()
    ours = Peer(is_client=True, chain=built(names))
    theirs = Peer(chain=built(names), text=lambda text, _: got.append(text), binary=lambda data, _: got.append(data))
    for message in sent:
        if fragments:
            await send_stream(ours.connection, [message[:3], message[3:]], text=isinstance(message, str))
        else:
            ours.connection.send(message)
    ours.connection.flush()
    stream = b"".join(ours.transport.writes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        theirs.feed(stream[start:end])
    await turns(20)  # many small frames are more than one turn's work
    assert got == sent
    assert theirs.connection.error is None


def test_the_judge_and_the_codec_see_the_same_frame() -> None:
    """A deflated frame made by hand, of the RFC's sample (§7.2.3.1)."""
    hello = bytes.fromhex("f248cdc9c90700")
    (frame,) = Deflate().decode(BinaryFrame(hello, rsv1=True), None)
    assert frame == BinaryFrame(b"Hello")
    assert frames([frame_of(BINARY, hello, rsv=4)], expect_masked=False, reserved=0) == [(0xC2, hello)]
