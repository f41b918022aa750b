"""A message received piece by piece: whole characters, bounds, who wants it how, and what keeps its rest away."""

from __future__ import annotations

import asyncio
import itertools
import random
import zlib
from typing import Any

import pytest
from fakes import BYE, Log, Peer, turns
from hypothesis import given
from hypothesis import strategies as st
from judge import BINARY, CLOSE, CONT, PING, TEXT

from firefly_ws import ConnectionClosedError, ConnectionClosedOK, InvalidPayload, MessageTooBig, ProtocolError
from firefly_ws._core.deflate import Deflate
from firefly_ws.receiving import Receiving

KIB = 1024
DEFLATED = pytest.mark.parametrize("takeover", [None, False, True], ids=["plain", "pmd", "kept"])


def puller(*, takeover: bool | None = None, limit: int | None = 1000, **how: Any) -> Peer:
    """A peer of a connection that is read by asking, with a small limit for whole messages."""
    deflate = None if takeover is None else Deflate(decompress_takeover=takeover)
    return Peer(kind=Receiving, pull=True, deflate=deflate, limits={"max_message_size": limit}, **how)


class Packer:
    """What a peer does to the payloads of its messages."""

    def __init__(self, takeover: bool | None) -> None:
        self.takeover = takeover
        self.packer: Any = None

    def __call__(self, data: bytes) -> bytes:
        if self.takeover is None:
            return data
        if self.packer is None or not self.takeover:
            self.packer = zlib.compressobj(wbits=-15)
        return bytes((self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4])

    @property
    def rsv(self) -> int:
        return 0 if self.takeover is None else 4


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def read(connection: Any, **how: Any) -> list[Any]:
    return [piece async for piece in connection.receive_stream(**how)]


# ---- pieces --------------------------------------------------------------------------------------------------------


@DEFLATED
@pytest.mark.parametrize("one_frame", [True, False])
async def test_a_message_above_the_limit_is_received_in_pieces(takeover: bool | None, one_frame: bool) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    data = noise(300 * KIB)
    packed = pack(data)
    reader = asyncio.create_task(read(peer.connection))
    await turns()
    parts = [packed] if one_frame else [packed[at : at + 50_000] for at in range(0, len(packed), 50_000)]
    for number, part in enumerate(parts):
        fin, first = part is parts[-1], number == 0
        frame = peer.frame(BINARY if first else CONT, part, fin=fin, rsv=pack.rsv if first else 0)
        for at in range(0, len(frame), 7000):
            peer.feed(frame[at : at + 7000])
            await turns(2)
    peer.send(TEXT, b"behind")
    pieces = await reader
    assert b"".join(pieces) == data
    assert len(pieces) > 1
    assert await peer.connection.receive() == "behind"


@DEFLATED
async def test_pieces_come_as_they_come_and_control_frames_are_answered(takeover: bool | None) -> None:
    peer = puller(takeover=takeover)
    pack = zlib.compressobj(wbits=-15)

    def packed(data: bytes) -> bytes:
        return data if takeover is None else pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH)

    stream = peer.connection.receive_stream()
    beginning = asyncio.create_task(stream.__aenter__())
    await turns()
    peer.send(TEXT, packed(b"one"), fin=False, rsv=0 if takeover is None else 4)
    await beginning
    assert stream.is_text
    assert await anext(stream) == "one"
    waiting = asyncio.create_task(anext(stream))
    peer.send(PING, b"?")
    await turns()
    assert not waiting.done()
    peer.send(CONT, packed(b"two"), fin=False)
    assert await waiting == "two"
    peer.send(CONT, packed(b"three") if takeover is None else packed(b"three")[:-4])
    assert [piece async for piece in stream] == ["three"]
    assert peer.got == [("pong", b"?")]


@given(cuts=st.lists(st.integers(0, 60), max_size=6), takeover=st.sampled_from([None, False, True]))
def test_text_is_cut_between_characters_however_it_came(cuts: list[int], takeover: bool | None) -> None:
    text = "a€😀é" * 5 + "z"
    data = text.encode()

    async def main() -> None:
        peer, pack = puller(takeover=takeover, limit=3), Packer(takeover)
        packed = pack(data)
        reader = asyncio.create_task(read(peer.connection))
        await turns()
        places = sorted({0, len(packed), *(cut for cut in cuts if cut < len(packed))})
        for start, stop in itertools.pairwise(places):
            peer.send(CONT if start else TEXT, packed[start:stop], fin=stop == len(packed),
                      rsv=0 if start else pack.rsv)  # fmt: skip
            await turns(2)
        pieces = await reader
        assert all(pieces)
        assert "".join(pieces) == text

    asyncio.run(main())


async def test_a_whole_message_is_one_piece_and_an_empty_one_none() -> None:
    peer = puller()
    peer.feed(peer.frame(TEXT, b"whole"), peer.frame(BINARY), peer.frame(TEXT, b"x" * 5000))
    assert await read(peer.connection) == ["whole"]
    async with peer.connection.receive_stream() as stream:
        assert stream.is_text is False
        assert [piece async for piece in stream] == []
    assert "".join(await read(peer.connection)) == "x" * 5000


async def test_what_has_come_of_a_message_is_handed_over_to_who_begins_in_its_middle() -> None:
    peer = puller()
    peer.send(TEXT, "half €".encode()[:-1], fin=False)
    stream = peer.connection.receive_stream()
    assert await anext(stream) == "half "
    peer.send(CONT, "€".encode()[-1:])
    assert [piece async for piece in stream] == ["€"]


async def test_a_transport_that_reads_into_a_message_goes_on_behind_what_was_handed_over() -> None:
    peer = puller(limit=None)
    frame = peer.frame(BINARY, noise(600 * KIB))
    peer.feed(frame[:70_000])
    place: Any = peer.protocol._get_buffer()
    reader = asyncio.create_task(read(peer.connection))
    await turns()
    at = 70_000
    while at < len(frame):
        size = min(len(place), len(frame) - at, 90_000)
        place[:size] = frame[at : at + size]
        peer.protocol._buffer_updated(size)
        at += size
        await turns()
        place = peer.protocol._get_buffer()
    assert b"".join(await reader) == noise(600 * KIB)


# ---- bounds --------------------------------------------------------------------------------------------------------


async def test_reading_pauses_while_pieces_are_not_read() -> None:
    peer = puller()
    data = noise(900 * KIB)
    frame = peer.frame(BINARY, data)
    fed = 0
    while peer.transport.reading and fed < len(frame):
        peer.feed(frame[fed : fed + 64 * KIB])
        fed += 64 * KIB
    assert fed == 5 * 64 * KIB
    stream = peer.connection.receive_stream()
    got = b""
    async for piece in stream:
        got += piece
        await turns(2)
        if peer.transport.reading and fed < len(frame):
            peer.feed(frame[fed : fed + 64 * KIB])
            fed += 64 * KIB
    assert got == data


@pytest.mark.parametrize("takeover", [False, True])
async def test_a_few_compressed_bytes_are_inflated_piece_by_piece(takeover: bool) -> None:
    peer = puller(takeover=takeover)
    peer.send(BINARY, Packer(takeover)(bytes(50_000_000)), rsv=4)
    size = largest = 0
    async for piece in peer.connection.receive_stream():
        size += len(piece)
        largest = max(largest, len(piece))
    assert size == 50_000_000
    assert largest <= 128 * KIB


async def test_a_stream_of_finished_blocks_is_inflated() -> None:
    blocks = b"".join(_finished(noise(3000)[at : at + 30]) for at in range(0, 3000, 30))
    peer = puller(takeover=False)
    peer.send(BINARY, blocks + b"\0", rsv=4)
    assert b"".join(await read(peer.connection)) == noise(3000)
    peer.send(BINARY, blocks[:300] + b"\0", rsv=4)
    assert len(await peer.connection.receive()) > 100


def _finished(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush(zlib.Z_FINISH)


@DEFLATED
@pytest.mark.parametrize("size", [400, 5000])
async def test_max_size_bounds_all_pieces(takeover: bool | None, size: int) -> None:
    log = Log()
    peer = puller(takeover=takeover, **log.on("error"))
    pack = Packer(takeover)
    peer.send(TEXT, pack(b"x" * size), rsv=pack.rsv)
    with pytest.raises(MessageTooBig, match=r"max_size=300; raise it with receive_stream\(max_size=\.\.\.\)") as info:
        await read(peer.connection, max_size=300)
    assert info.value.limit == 300
    await turns()
    assert peer.got[0][:2] == ("close", 1009)
    peer.lose()
    await turns()
    assert log == [("error", info.value)]
    with pytest.raises(ConnectionClosedError):
        await peer.connection.receive()


async def test_exactly_max_size_is_allowed() -> None:
    peer = puller()
    peer.send(TEXT, b"x" * 5000)
    assert "".join(await read(peer.connection, max_size=5000)) == "x" * 5000


@pytest.mark.parametrize(("value", "kind"), [(-1, ValueError), (True, TypeError), ("1", TypeError), (1.5, TypeError)])
async def test_a_bad_max_size_is_refused_by_the_call(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="max_size="):
        puller().connection.receive_stream(value)


async def test_max_fragments_does_not_bound_a_stream() -> None:
    peer = Peer(kind=Receiving, pull=True, limits={"max_fragments": 2})
    reader = asyncio.create_task(read(peer.connection))
    await turns()
    for number in range(5):
        peer.send(CONT if number else TEXT, b"x", fin=number == 4)
    assert "".join(await reader) == "xxxxx"


# ---- who wants it how ----------------------------------------------------------------------------------------------


@DEFLATED
async def test_receive_refuses_what_is_above_the_limit_behind_what_came_before(takeover: bool | None) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    peer.feed(peer.frame(TEXT, b"before"), peer.frame(BINARY, pack(noise(5000)), rsv=pack.rsv), peer.frame(TEXT, b"x"))
    await turns()
    assert peer.connection.is_open
    assert await peer.connection.receive() == "before"
    reader = asyncio.create_task(peer.connection.receive())
    await turns()
    assert peer.got[0][:2] == ("close", 1009)
    peer.lose()
    with pytest.raises(ConnectionClosedError) as info:
        await reader
    assert isinstance(info.value.__cause__, MessageTooBig)


@DEFLATED
async def test_a_reader_that_waits_for_a_whole_message_refuses_at_once(takeover: bool | None) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    reader = asyncio.create_task(peer.connection.receive())
    await turns()
    peer.send(BINARY, pack(noise(5000)), rsv=pack.rsv)
    await turns()
    assert peer.got[0][:2] == ("close", 1009)
    peer.lose()
    with pytest.raises(ConnectionClosedError):
        await reader


@DEFLATED
async def test_a_message_begun_in_pieces_can_be_received_as_a_whole(takeover: bool | None) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    packed = pack(b"together")
    claim = asyncio.create_task(anext(peer.connection.receive_stream()))
    await turns()
    claim.cancel()
    await turns()
    claim = asyncio.create_task(anext(peer.connection.receive_stream()))
    await turns()
    peer.send(TEXT, packed[:3], fin=False, rsv=pack.rsv)
    claim.cancel()
    await turns()
    whole = asyncio.create_task(peer.connection.receive())
    await turns()
    peer.send(CONT, packed[3:])
    peer.send(TEXT, b"next")
    assert await whole == "together"
    assert await peer.connection.receive() == "next"


async def test_a_cancelled_receive_leaves_the_pieces_to_a_stream() -> None:
    peer = puller()
    claim = asyncio.create_task(anext(peer.connection.receive_stream()))
    await turns()
    peer.send(TEXT, b"one ", fin=False)
    claim.cancel()
    await turns()
    whole = asyncio.create_task(peer.connection.receive())
    await turns()
    whole.cancel()
    await turns()
    peer.send(CONT, b"two")
    assert "".join(await read(peer.connection)) == "one two"


@DEFLATED
@pytest.mark.parametrize("late", [False, True])
async def test_the_rest_of_a_stream_that_is_left_is_given_up(takeover: bool | None, late: bool) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    packed = pack(noise(5000))
    peer.send(BINARY, packed[:3000], fin=False, rsv=pack.rsv)
    async with peer.connection.receive_stream() as stream:
        assert await anext(stream)
    with pytest.raises(RuntimeError, match="given up"):
        await anext(stream)
    following = asyncio.create_task(peer.connection.receive()) if late else None
    await turns()
    peer.feed(peer.frame(CONT, packed[3000:]), peer.frame(BINARY, pack(noise(500)), rsv=pack.rsv))
    assert await (following or peer.connection.receive()) == noise(500)


async def test_what_is_received_next_gives_up_a_stream_that_was_broken_off() -> None:
    peer = puller()
    peer.feed(peer.frame(TEXT, b"x" * 5000, fin=False), peer.frame(CONT, b"y"), peer.frame(TEXT, b"next"))
    async for _ in (stream := peer.connection.receive_stream()):
        break
    assert await peer.connection.receive() == "next"
    with pytest.raises(RuntimeError, match="given up"):
        await anext(stream)


async def test_two_readers_are_told_of_each_other() -> None:
    peer = puller()
    first = asyncio.create_task(read(peer.connection), name="the first")
    await turns()
    with pytest.raises(RuntimeError, match=r"receive\(\): task 'the first' is waiting in receive_stream\(\)"):
        await peer.connection.receive()
    peer.send(TEXT, b"x")
    assert await first == ["x"]


async def test_streams_are_for_connections_that_are_read_by_asking() -> None:
    peer = Peer(kind=Receiving, text=lambda text, connection: None)
    with pytest.raises(RuntimeError, match=r"receive_stream\(\): the messages of this connection go to its callback"):
        peer.connection.receive_stream()


# ---- what keeps the rest away --------------------------------------------------------------------------------------


@DEFLATED
async def test_text_that_is_none_fails_where_it_is_found(takeover: bool | None) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    stream = peer.connection.receive_stream()
    first = asyncio.create_task(anext(stream))
    await turns()
    if takeover is None:
        peer.send(TEXT, b"good", fin=False)
        peer.send(CONT, b"bad \xff", fin=False)
        assert await first == "good"
        first = asyncio.create_task(anext(stream))
    else:
        peer.send(TEXT, pack(b"good bad \xff"), rsv=4)
    with pytest.raises(InvalidPayload, match="not UTF-8"):
        await first
    await turns()
    assert peer.got[0][:2] == ("close", 1007)


@DEFLATED
async def test_text_that_ends_within_a_character_fails_at_its_end(takeover: bool | None) -> None:
    peer, pack = puller(takeover=takeover), Packer(takeover)
    peer.send(TEXT, pack(b"x" * 2000 + b"\xe2\x82"), rsv=pack.rsv)
    stream = peer.connection.receive_stream()
    got = ""
    while len(got) < 2000:
        got += await anext(stream)
    assert got == "x" * 2000
    with pytest.raises(InvalidPayload, match="ends within a character"):
        await anext(stream)
    await turns()
    assert peer.got[0][:2] == ("close", 1007)


async def test_what_does_not_inflate_fails() -> None:
    peer = puller(takeover=False)
    reader = asyncio.create_task(read(peer.connection))
    await turns()
    peer.send(BINARY, b"\xff\xff\xff\xff", rsv=4)
    with pytest.raises(InvalidPayload, match="does not inflate"):
        await reader
    await turns()
    assert peer.got[0][:2] == ("close", 1007)


@pytest.mark.parametrize("how", ["close", "peer", "lost", "violation"])
async def test_an_end_in_the_middle_is_raised_behind_the_pieces_that_came(how: str) -> None:
    peer = puller()
    peer.send(BINARY, bytes(5000), fin=False)
    if how == "close":
        peer.connection.close()
    elif how == "peer":
        peer.send(CLOSE, BYE)
    elif how == "violation":
        peer.send(TEXT, b"no continuation")
    peer.lose()
    await turns()
    stream = peer.connection.receive_stream()
    assert await anext(stream) == bytes(5000)
    with pytest.raises(ConnectionClosedOK if how == "peer" else ConnectionClosedError) as info:
        await anext(stream)
    assert isinstance(info.value.__cause__, ProtocolError if how == "violation" else type(None))
    with pytest.raises(type(info.value)):
        await read(peer.connection)


async def test_a_reserved_bit_on_a_continuation_is_a_violation_also_in_a_stream() -> None:
    peer = puller(takeover=False)
    peer.send(BINARY, bytes(5000), fin=False)
    peer.send(CONT, b"x", rsv=4)
    await turns()
    assert peer.got[0][:2] == ("close", 1002)


async def test_a_message_that_ends_after_our_close_is_dropped() -> None:
    peer = puller()
    peer.send(BINARY, bytes(5000), fin=False)
    peer.connection.close()
    peer.send(CONT, bytes(5000))
    peer.send(CLOSE, BYE)
    await turns()
    peer.lose()
    with pytest.raises(ConnectionClosedOK):
        await read(peer.connection)
    assert peer.connection.discarded >= 5000


async def test_a_whole_message_may_consist_of_streams_that_end_within_it() -> None:
    """A block with BFINAL ends zlib's stream and not the message (RFC 7692 §7.2.3.4), wherever it is cut."""
    dice = random.Random(7692)
    for takeover in (False, True):
        peer = puller(takeover=takeover, limit=100 * KIB)
        for _ in range(40):
            texts = [dice.choice("abc") * dice.choice((1, 2, 500, 9000)) for _ in range(dice.randint(1, 5))]
            parts = []
            for text in texts:
                one = zlib.compressobj(wbits=-15)
                parts.append(one.compress(text.encode()) + one.flush(dice.choice((zlib.Z_FINISH, zlib.Z_SYNC_FLUSH))))
            # Some parts share a frame.
            frames = [b""]
            for part in parts:
                frames[-1] += part
                if dice.random() < 0.6:
                    frames.append(b"")
            frames.append(b"\x00")
            for number, payload in enumerate(frames):
                last = number == len(frames) - 1
                peer.send(CONT if number else TEXT, payload, fin=last, rsv=0 if number else 4)
            assert await peer.connection.receive() == "".join(texts)
