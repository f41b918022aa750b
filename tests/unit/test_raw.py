"""Raw sessions: every frame as it came, nothing answered, and frames sent as they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cuts import cuts
from fakes import BYE, ROLES, Log, Peer, turns
from judge import BINARY, CLOSE, CONT, PING, PONG, TEXT

from firefly_ws import (
    BinaryFrame,
    CloseFrame,
    CloseReason,
    ConnectionClosedOK,
    ConnectionState,
    ContinuationFrame,
    Frame,
    FrameTooBig,
    PingFrame,
    PongFrame,
    TextFrame,
    http_client,
    http_server,
)
from firefly_ws._core.fragments import Stream
from firefly_ws.receiving import Receiving


def raw(**how: Any) -> Peer:
    """A peer of a raw session that is read by asking."""
    return Peer(kind=Receiving, pull=True, raw=True, **how)


async def frames(peer: Peer, count: int) -> list[Frame]:
    return [await peer.connection.receive_frame() for _ in range(count)]


@ROLES
async def test_every_frame_is_shown_as_it_came_and_nothing_is_answered(is_client: bool) -> None:  # C5, S7
    peer = raw(is_client=is_client)
    peer.feed(
        peer.frame(TEXT, b"a", fin=False),
        peer.frame(PING, b"p"),
        peer.frame(CONT, b"\xff"),
        peer.frame(PONG, b"q"),
        peer.frame(BINARY, b"whole"),
        peer.frame(CLOSE, BYE),
    )
    assert await frames(peer, 6) == [
        TextFrame("a", fin=False),
        PingFrame(b"p"),
        ContinuationFrame(b"\xff"),
        PongFrame(b"q"),
        BinaryFrame(b"whole"),
        CloseFrame(1000, "bye"),
    ]
    assert peer.got == []
    assert peer.connection.is_open


async def test_frames_are_the_same_however_the_bytes_were_cut() -> None:
    one = raw()
    data = b"".join(
        [
            one.frame(TEXT, b"x" * 200, fin=False),
            one.frame(PING, b"ping"),
            one.frame(CONT, b"y" * 7_000),
            one.frame(BINARY),
            one.frame(CLOSE, BYE),
        ]
    )
    expected = None
    for pieces in cuts(data):
        peer = raw()
        for piece in pieces:
            peer.feed(piece)
        got = await frames(peer, 5)
        expected = expected or got
        assert got == expected


async def test_on_message_gets_the_frames_where_there_is_no_reader() -> None:
    shown: list[Any] = []
    peer = Peer(raw=True, binary=lambda frame, connection: shown.append(frame))
    peer.feed(peer.frame(TEXT, b"a", fin=False), peer.frame(PING, b"p"), peer.frame(CONT, b"b"), peer.frame(CLOSE, BYE))
    assert shown == [TextFrame("a", fin=False), PingFrame(b"p"), ContinuationFrame(b"b"), CloseFrame(1000, "bye")]
    assert peer.got == []


async def test_frames_wait_for_an_async_callback_one_behind_the_other() -> None:
    release = asyncio.Event()
    shown: list[Any] = []

    async def on_message(frame: Any, connection: Any) -> None:
        shown.append(frame)
        await release.wait()

    peer = Peer(raw=True, binary=on_message)
    peer.feed(peer.frame(TEXT, b"a"), peer.frame(PING, b"p"), peer.frame(CLOSE, BYE))
    assert shown == [TextFrame("a")]
    release.set()
    await turns(6)
    assert shown == [TextFrame("a"), PingFrame(b"p"), CloseFrame(1000, "bye")]


async def test_on_frame_goes_along_with_a_raw_session() -> None:
    log = Log()
    peer = raw(**log.on("frame"))
    peer.send(TEXT, b"a", fin=False)
    assert log == [("frame", TextFrame("a", fin=False))]
    assert await frames(peer, 1) == [TextFrame("a", fin=False)]


@pytest.mark.parametrize("how", ["receive", "receive_text", "receive_data"])
async def test_messages_are_not_to_be_had(how: str) -> None:
    peer = raw()
    peer.send(TEXT, b"x")
    with pytest.raises(RuntimeError, match=r"raw session has frames.*receive_frame\(\)"):
        await getattr(peer.connection, how)()
    with pytest.raises(RuntimeError, match="incoming"):
        await anext(peer.connection.texts())
    assert await frames(peer, 1) == [TextFrame("x")]


async def test_a_pong_is_shown_and_ends_the_wait_of_our_ping() -> None:
    peer = raw()
    round_trip = peer.connection.ping(b"p")
    peer.send(PONG, b"p")
    assert await asyncio.wait_for(round_trip, 5) >= 0
    assert await frames(peer, 1) == [PongFrame(b"p")]


# ---- rules that hold all the same ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ((3, b""), "opcode 3"),
        ((CONT, b""), "no message has begun"),
        ((PING, bytes(126)), "126 bytes"),
    ],
)
async def test_a_broken_rule_of_framing_fails_a_raw_session(data: tuple[int, bytes], what: str) -> None:
    peer = raw()
    peer.send(*data)
    assert peer.got[0][:2] == ("close", 1002)
    assert what in str(peer.connection.error)


async def test_reserved_bits_are_refused_as_no_extension_is_agreed_on() -> None:
    peer = raw()
    peer.send(TEXT, b"x", rsv=4)
    assert peer.got[0][:2] == ("close", 1002)


@pytest.mark.parametrize(
    "limits",
    [{"max_frame_size": 10}, {"max_message_size": 10}, {"max_text_message_size": 10, "max_binary_message_size": 9}],
)
async def test_a_frame_is_bounded_by_its_limit_or_by_that_of_a_message(limits: dict[str, Any]) -> None:
    peer = raw(limits=limits)
    peer.send(TEXT, bytes(10), fin=False)
    assert peer.connection.is_open
    peer.send(CONT, bytes(11))
    assert peer.got[0][:2] == ("close", 1009)
    assert isinstance(peer.connection.error, FrameTooBig)
    assert "max_frame_size" in str(peer.connection.error)


async def test_reading_pauses_when_nobody_takes_the_frames() -> None:
    peer = raw(limits={"max_queue": 2})
    peer.feed(*[peer.frame(PING, b"%d" % number) for number in range(4)])
    assert not peer.transport.reading
    got = []
    for _ in range(4):
        got += await frames(peer, 1)
        await turns()
    assert got == [PingFrame(b"%d" % number) for number in range(4)]
    assert peer.transport.reading


# ---- sending -------------------------------------------------------------------------------------------------------


@ROLES
async def test_frames_leave_as_they_are(is_client: bool) -> None:  # C5, S7
    peer = raw(is_client=is_client)
    sent = [
        TextFrame("a", fin=False),
        PingFrame(b"p"),
        ContinuationFrame(b"b", fin=False),
        PongFrame(b"q"),
        ContinuationFrame(b"c"),
        BinaryFrame(b"d"),
    ]
    for frame in sent:
        await peer.connection.send_frame(frame)
    peer.connection.send(PingFrame(b"p"))  # again: nobody waits for its answer
    await turns()
    assert peer.got == [("ping", b"p"), ("pong", b"q"), ("text", "abc"), ("binary", b"d"), ("ping", b"p")]


async def test_text_that_is_no_utf8_leaves_as_it_is_and_only_in_a_raw_session() -> None:
    peer = raw()
    peer.connection.send_frame(TextFrame(b"\xff"))
    peer.connection.send(TextFrame(b"h\xc3\xa9"))
    await turns()
    assert b"".join(peer.transport.writes) == b"\x81\x01\xff\x81\x03h\xc3\xa9"
    assert peer.connection.messages_sent == 2
    with pytest.raises(UnicodeDecodeError):
        Peer().connection.send_frame(TextFrame(b"\xff"))


async def test_a_frame_with_reserved_bits_is_not_sent() -> None:
    peer = raw()
    with pytest.raises(ValueError, match="reserved bits"):
        peer.connection.send_frame(TextFrame("x", rsv1=True))
    assert peer.got == []


async def test_a_session_that_is_not_raw_names_raw_for_a_fragment() -> None:
    peer = Peer()
    with pytest.raises(ValueError, match=r"\.raw\(\)"):
        peer.connection.send_frame(TextFrame("x", fin=False))


async def test_a_fragment_does_not_go_into_the_middle_of_a_stream_but_a_ping_does() -> None:
    peer = raw()
    stream = Stream(peer.connection, True)
    stream.begin()
    stream.add("a" * 20_000)
    with pytest.raises(RuntimeError, match=r"send_stream\(\) is sending"):
        peer.connection.send_frame(TextFrame("x", fin=False))
    peer.connection.send_frame(PingFrame(b"p"))
    stream.finish()
    await turns()
    assert peer.got == [("ping", b"p"), ("text", "a" * 20_000)]


async def test_an_unknown_control_frame_cannot_even_be_made() -> None:
    with pytest.raises(ValueError, match="opcode=11"):
        Frame(11)


# ---- closing -------------------------------------------------------------------------------------------------------


async def test_the_close_of_the_peer_is_answered_by_the_user_and_tcp_ends() -> None:
    peer = raw()
    peer.send(CLOSE, BYE)
    (frame,) = await frames(peer, 1)
    assert peer.got == []
    await peer.connection.send_frame(frame)
    await turns()
    assert peer.got == [("close", 1000, "bye")]
    assert peer.connection.state is ConnectionState.CLOSED
    with pytest.raises(ConnectionClosedOK):
        await peer.connection.receive_frame()


async def test_our_close_frame_is_sent_as_it_is_and_the_peers_is_shown() -> None:
    peer = raw()
    peer.connection.send_frame(CloseFrame())
    assert peer.got == [("close", None, "")]
    assert peer.connection.close_sent == CloseReason(1005, "")
    peer.feed(peer.frame(TEXT, b"too late"), peer.frame(CLOSE, BYE))
    await turns()
    incoming = [frame async for frame in peer.connection.incoming]
    assert incoming == [CloseFrame(1000, "bye")]
    assert peer.connection.discarded == len("too late")
    with pytest.raises(ConnectionClosedOK):
        peer.connection.send_frame(PingFrame())


async def test_on_message_too_is_given_the_peers_close_behind_ours_and_nothing_else() -> None:  # C5
    shown: list[Any] = []
    peer = Peer(raw=True, binary=lambda frame, connection: shown.append(frame))
    peer.connection.send_frame(CloseFrame(1000))
    peer.feed(peer.frame(TEXT, b"too late"), peer.frame(CLOSE, BYE))
    await turns()
    assert shown == [CloseFrame(1000, "bye")]
    assert peer.connection.discarded == len("too late")


async def test_the_peers_close_behind_ours_waits_for_a_callback_that_is_pending() -> None:
    release = asyncio.Event()
    shown: list[Any] = []

    async def on_message(frame: Any, connection: Any) -> None:
        shown.append(frame)
        await release.wait()

    peer = Peer(raw=True, binary=on_message, close=lambda connection, reason: shown.append(reason))
    peer.send(TEXT, b"a")
    peer.connection.close()
    peer.send(CLOSE, BYE)
    await turns()
    assert shown == [TextFrame("a")]
    release.set()
    await turns(6)
    assert shown == [TextFrame("a"), CloseFrame(1000, "bye"), CloseReason(1000, "bye")]


async def test_a_close_that_the_user_never_answers_ends_tcp_after_close_timeout() -> None:
    peer = raw(limits={"close_timeout": 0.01})
    peer.send(CLOSE, BYE)
    assert await asyncio.wait_for(peer.connection.wait_closed(), 5) == (1000, "bye")
    assert peer.got == []
    assert peer.transport.ended == "abort"


async def test_close_is_the_usual_one() -> None:
    peer = raw()
    closed = peer.connection.close(1001, "away")
    peer.send(CLOSE, (1001).to_bytes(2, "big"))
    assert await asyncio.wait_for(closed, 5) == (1001, "")
    assert peer.got == [("close", 1001, "away")]


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xe8\xff"])
async def test_the_payload_of_a_close_is_not_judged(payload: bytes) -> None:
    peer = raw()
    peer.send(CLOSE, payload)
    (frame,) = await frames(peer, 1)
    assert frame.payload == payload
    assert peer.got == []
    peer.connection.close()
    await turns()
    assert peer.connection.is_closed


# ---- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["on_text", "on_binary", "on_ping", "on_pong"])
def test_raw_and_a_callback_for_messages_of_one_type_exclude_each_other(other: str) -> None:
    for builder in (http_server().websocket("/"), http_client().websocket("ws://host/")):
        getattr(builder, other)(print)
        with pytest.raises(ValueError, match=rf"raw\(\) and {other}\(\) exclude each other"):
            builder.raw()
    with pytest.raises(ValueError, match=rf"{other}\(\) and raw\(\) exclude each other"):
        getattr(http_server().websocket("/").raw(), other)(print)


def test_raw_excludes_extensions_values_and_services() -> None:
    class Service:
        def received(self, message: object, connection: object) -> None: ...

    def route() -> Any:
        return http_server().websocket("/")

    for begin in (
        lambda: route().raw().extensions(["permessage-deflate"]),
        lambda: route().extensions(["permessage-deflate"]).raw(),
        lambda: route().raw().on_message(print, type=dict),
        lambda: route().on_message(print, type=dict).raw(),
        lambda: route().raw().service(Service()),
        lambda: route().service(Service()).raw(),
        lambda: route().raw().discard(),
        lambda: route().discard().raw(),
    ):
        with pytest.raises(ValueError, match="exclude each other"):
            begin()
    assert route().extensions([]).raw().current().extensions == ()
    assert route().raw().current().extensions == ()


# ---- a connection that never opened ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "terminate"])
@pytest.mark.parametrize("pull", [False, True])
async def test_a_connection_that_never_opened_can_be_ended_and_tells_nobody(end: str, pull: bool) -> None:
    log = Log()
    peer = Peer(start=False, kind=Receiving, pull=pull, **log.on("accept", "close", "error"))
    waiting = peer.connection.wait_closed()
    getattr(peer.connection, end)()
    assert (await asyncio.wait_for(waiting, 5)).code == 1006
    assert (await asyncio.wait_for(peer.connection.wait_closed(), 5)).code == 1006
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    # What opens it after all is ended at once.
    peer.open(peer.frame(TEXT, b"x"))
    await turns()
    assert peer.transport.ended == "abort"
    assert log == []
